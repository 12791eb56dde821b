"""Neural head avatars from monocular videos.

    import nha

    dataset = nha.preprocess("talk.mp4", "out/dataset", scale=512)
    tracking = nha.track(dataset, "out/tracking", head="procedural")
    avatar = nha.train(dataset, tracking, "out/avatar", config="demo")
    image = avatar.render(tracking.params(10), tracking.camera(10)).rgb01  # [1, 3, H, W]

The names below are imported when they are first used. Importing this package loads no other library, configures no
logging and starts no threads.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# The packages of these names are loaded before the functions of the same names take their place as attributes; Python
# does not set the attributes again when modules of the packages are imported.
import nha.export
import nha.preprocess

del export, preprocess  # noqa: F821 - set by the two imports

if TYPE_CHECKING:
    from nha.api import (
        evaluate,
        export,
        make,
        optimize_avatar,
        preprocess,
        reenact,
        track,
        train,
    )
    from nha.avatar.avatar import NeuralHeadAvatar
    from nha.avatar.base import HeadAvatar
    from nha.avatar.blend_avatar import BlendAvatar
    from nha.avatar.open import load_avatar
    from nha.core.errors import UserError
    from nha.core.types import Camera, HeadParams
    from nha.data.tracked_video import Tracking, load_tracking
    from nha.head.load import load_head

__version__ = "0.1.0"

_MODULES = {
    "BlendAvatar": "nha.avatar.blend_avatar",
    "Camera": "nha.core.types",
    "HeadAvatar": "nha.avatar.base",
    "HeadParams": "nha.core.types",
    "NeuralHeadAvatar": "nha.avatar.avatar",
    "Tracking": "nha.data.tracked_video",
    "UserError": "nha.core.errors",
    "evaluate": "nha.api",
    "export": "nha.api",
    "load_avatar": "nha.avatar.open",
    "load_head": "nha.head.load",
    "load_tracking": "nha.data.tracked_video",
    "make": "nha.api",
    "optimize_avatar": "nha.api",
    "preprocess": "nha.api",
    "reenact": "nha.api",
    "track": "nha.api",
    "train": "nha.api",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'nha' has no attribute '{name}'")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
