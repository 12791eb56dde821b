"""The blend model's images and weights as files, for engines that blend textures in a shader of their own.

PNG files beside avatar.glb, and blend_textures.json with what a shader needs besides them.
"""

from __future__ import annotations

import base64
from pathlib import Path

import torch

from nha.avatar.blend_avatar import BlendAvatar
from nha.core.finite import TRAIN_AGAIN
from nha.core.json_file import write_json
from nha.core.system import atomic_path
from nha.core.types import Camera, HeadParams
from nha.export.page_data import blend_map
from nha.export.textures import MAPS
from nha.render.shading import SH_FACTORS

BLEND_FILE = "blend_textures.json"
_MEANING = {
    "maps": "for each material of avatar.glb its images: 'images' of size x size texels lie below each other in the "
    "PNG file; a value is offset + scale * byte (0..255), with offset and scale [image][channel]",
    "colour": "(sum of the mean's images + sum over k of weights[k] * basis image k) * light, clamped to 0..1, in sRGB "
    "values; sampled bilinearly without mipmaps at the UVs of avatar.glb",
    "light": "1 + sum of light[j] * (x, y, z, xy, xz, yz, x^2 - y^2, 3 z^2 - 1)[j], of the unit normal in the camera's "
    "axes: x right, y down, z to the camera",
    "weights": "of the basis images in each frame [frame][map][k], as the video's camera sees the head; the first "
    "frame is the neutral pose where there is no tracking",
}


@torch.no_grad()
def write_blend_files(folder: Path, avatar: BlendAvatar, frames: HeadParams, camera: Camera) -> list[Path]:
    """Write the images and their weights atomically.

    Args:
        folder: the output folder.
        avatar: the avatar.
        frames: [N] poses of the animation, corrected.
        camera: [1], the camera of the video.

    Returns:
        The paths.
    """
    written, maps = [], {}
    for name, texture in zip(MAPS, (avatar.head_texture, avatar.mouth_texture), strict=True):
        maps[name] = {}
        for kind, image in blend_map(texture).items():
            if image is None:
                continue
            path = folder / f"blend_{name}_{kind}.png"
            with atomic_path(path) as temporary:
                temporary.write_bytes(base64.b64decode(image.pop("png")))
            maps[name][kind] = {"file": path.name, "images": len(image["offset"]), **image}
            written.append(path)
    weights = torch.stack(avatar.basis_weights(avatar.scaled_drive(frames, camera)), 1)  # [N, 2, K]
    light = avatar.light * avatar.light.new_tensor(SH_FACTORS[1:])[:, None]
    content = {"meaning": _MEANING, "maps": maps, "light": light.tolist(), "weights": weights.tolist()}
    path = folder / BLEND_FILE
    write_json(path, content, TRAIN_AGAIN, indent=None)
    return [*written, path]
