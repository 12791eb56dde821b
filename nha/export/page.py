"""avatar.html: the avatar in one file that a browser shows without server and network.

three.js and the scripts are part of the file. `deps/three` makes the copy of three.js that the package holds.
"""

from __future__ import annotations

import html
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import torch
from markupsafe import Markup

from nha.avatar.base import HeadAvatar
from nha.core.finite import TRAIN_AGAIN
from nha.core.json_file import json_text
from nha.core.system import atomic_path
from nha.core.types import Camera, HeadParams
from nha.export.page_data import page_data
from nha.export.rig import Rig, expression_reach
from nha.export.textures import Textures

_TEMPLATE, _THREE = "avatar.html.jinja", "three.min.js"
_SCRIPTS = ("avatar_model.js", "avatar_edges.js", "avatar_page.js", "avatar_controls.js")
_N_SLIDERS = 12
# Range of an expression's slider to either side, in root mean squares of the coefficient in the video, and at least.
_SLIDER_DEVIATIONS, _SMALLEST_RANGE = 3.0, 0.5


def write_page(
    path: Path,
    avatar: HeadAvatar,
    rig: Rig,
    frames: HeadParams,
    textures: Textures,
    camera: Camera,
    *,
    frame_rate: float,
    comment: str,
) -> None:
    """Write the file atomically.

    Args:
        path: the .html file.
        avatar: the avatar.
        rig: its rig, with all expression coefficients that are used.
        frames: [N] poses that are played, corrected.
        textures: baked maps, which the published model shows; the blend model has its own.
        camera: [1], the camera of the video.
        frame_rate: frames per second of the animation.
        comment: units and licence of the head model.
    """
    content = page_data(avatar, rig, frames, textures) | {
        "frameRate": frame_rate,
        "sliders": _sliders(avatar, rig, frames),
        "camera": {
            "intrinsics": camera.intrinsics[0].tolist(),
            "extrinsics": camera.extrinsics[0].tolist(),
            "size": list(camera.image_size),
        },
    }
    folder = resources.files("nha.export") / "templates"

    def read(name: str) -> str:
        return (folder / name).read_text("utf-8")

    template = jinja2.Environment(autoescape=True).from_string(read(_TEMPLATE))
    page = template.render(
        title="Head avatar",
        comment=Markup(html.escape(comment).replace("--", "- -")),
        three_licence=read("three.LICENSE"),
        content=Markup(
            json_text(content, "the page that was to be written", TRAIN_AGAIN).replace("<", "\\u003c")
        ),
        three=Markup(read(_THREE)),
        scripts=[Markup(read(name)) for name in _SCRIPTS],
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _sliders(avatar: HeadAvatar, rig: Rig, frames: HeadParams) -> list[list[Any]]:
    """Name, minimum and maximum of the expressions that the frames use most."""
    chosen = list(rig.morphs.expression)
    deviation = frames.expr[:, chosen].square().mean(0).sqrt()
    reach = expression_reach(avatar.head)[chosen]
    order = torch.argsort(deviation * reach, descending=True, stable=True)[:_N_SLIDERS].tolist()
    ranges = [max(_SMALLEST_RANGE, round(_SLIDER_DEVIATIONS * float(deviation[i]), 2)) for i in order]
    return [[rig.morphs.names[i], -size, size] for i, size in zip(order, ranges, strict=True)]
