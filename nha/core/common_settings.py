"""Settings that several commands share, so that their defaults and help texts are stated once."""

from __future__ import annotations

from typing import Any

from nha.core.config import setting


def checkpoint_setting(section: str) -> Any:
    """The avatar of a command that takes one."""
    return setting(
        section=section,
        option="avatar",
        main=True,
        help="Checkpoint of the avatar, ours or published.",
        aliases=("checkpoint_file",),
    )


def checkpoint_head_setting() -> Any:
    """The head model for an avatar's checkpoint."""
    return setting(None, help="Head model; none takes the one that the avatar was trained with.")


def device_setting(section: str | None = None) -> Any:
    """The device of the computations."""
    return setting("auto", section=section, help="auto, cpu or cuda.")


def raster_backend_setting() -> Any:
    """The raster backend, see `nha.render.rasterize`."""
    return setting("auto", option="backend", help="Rasteriser: auto, numba, triton, reference or pytorch3d.")
