"""The tables of avatar.html: everything from which its script poses and colours the head, as one compressed block.

The block is a sequence of little-endian arrays, each at a multiple of four bytes; a list names them with type, shape
and position. Images are PNG files whose bytes stand for offset + byte * scale, per image and channel.
"""

from __future__ import annotations

import base64
import gzip
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nha.avatar.base import HeadAvatar
from nha.avatar.blend_avatar import BlendAvatar
from nha.avatar.drive import LANDMARK_PAIRS
from nha.core.types import HeadParams
from nha.export.glb_file import encode_png
from nha.export.glb_mesh import SplitMesh, split_at_seams
from nha.export.rig import Morphs, Rig, pose_feature_of
from nha.export.textures import Textures
from nha.head import joint_limits
from nha.head.model import HeadModel
from nha.nets.blend_textures import BlendTexture
from nha.render.antialias import EdgeTable
from nha.render.shading import SH_FACTORS

_INT16_STEPS = 32767


@dataclass
class Block:
    """Arrays in one block of bytes, under construction."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    content: bytearray = field(default_factory=bytearray)

    def add(self, name: str, values: np.ndarray | Tensor, dtype: type = np.float32) -> None:
        """Append an array as float32, int16, uint8, uint16 or uint32."""
        if isinstance(values, Tensor):
            values = values.detach().cpu().numpy()
        table = np.ascontiguousarray(values.astype(dtype))
        self.content += b"\0" * (-len(self.content) % 4)
        self.entries.append(
            {"name": name, "type": table.dtype.name, "size": table.size, "start": len(self.content)}
        )
        self.content += table.tobytes()

    def encoded(self) -> str:
        """The block, compressed by gzip, in base64."""
        return base64.b64encode(gzip.compress(bytes(self.content), mtime=0)).decode()


@torch.no_grad()
def page_data(avatar: HeadAvatar, rig: Rig, frames: HeadParams, textures: Textures) -> dict[str, Any]:
    """The content of the page's data element.

    Args:
        avatar: the avatar.
        rig: its rig, with all expression coefficients that are used.
        frames: [N] poses that are played, corrected.
        textures: baked maps, which the published model shows; the blend model has its own.
    """
    head, block, mesh = avatar.head, Block(), split_at_seams(avatar.head)
    _add_mesh(block, head, rig, mesh)
    _add_morphs(block, rig.morphs)
    _add_skeleton(block, head, rig)
    _add_frames(block, rig, frames)
    content: dict[str, Any] = {
        "expressions": list(rig.morphs.names[: len(rig.morphs.expression)]),
        "correctives": list(rig.morphs.corrective),
        "shapes": rig.morphs.shapes,
        "parents": list(rig.parents),
        "limits": {
            "neck": np.radians(joint_limits.NECK_LIMITS_DEG).tolist(),
            "jaw": np.radians(joint_limits.JAW_LIMITS_DEG).tolist(),
            "eyes": np.radians(joint_limits.EYES_LIMITS_DEG).tolist(),
        },
        "blend": None,
        "maps": [_plain_map(texture) for texture in textures],
    }
    if isinstance(avatar, BlendAvatar):
        content["blend"] = _add_blend(block, avatar)
        content["maps"] = [blend_map(map_) for map_ in (avatar.head_texture, avatar.mouth_texture)]
    return content | {"arrays": block.entries, "data": block.encoded()}


# --- geometry ---------------------------------------------------------------------------------------------


def _add_mesh(block: Block, head: HeadModel, rig: Rig, mesh: SplitMesh) -> None:
    block.add("rest", rig.rest)
    block.add("influences", rig.influences, np.uint8)
    block.add("weights", rig.weights)
    block.add("faces", head.faces, np.uint32)
    block.add("faceMap", head.face_uvmap, np.uint8)
    block.add("neighbours", EdgeTable.from_faces(head.faces).neighbours + 1, np.uint32)  # 0 for an open edge
    block.add("vertex", mesh.vertex, np.uint32)
    block.add("uvs", mesh.uvs)
    for number, corners in enumerate(mesh.corners):
        block.add(f"corners{number}", corners, np.uint32)
    eyeball = torch.zeros(head.n_vertices, dtype=torch.long, device=head.faces.device)
    for number, side in ((1, "left"), (2, "right")):
        eyeball[head.hard_labels[:, head.part(f"{side}_eyeball")] > 0] = number
    block.add("eyeball", eyeball, np.uint8)


def _add_morphs(block: Block, morphs: Morphs) -> None:
    """The vertices that each target moves, and their displacements in steps of the target's largest / 32767."""
    deltas = morphs.deltas.cpu().numpy()
    scales = np.abs(deltas).max((1, 2), initial=0) / _INT16_STEPS
    rows = [delta.any(1).nonzero()[0] for delta in deltas]
    steps = [
        np.rint(delta[row] / scale) if len(row) else np.zeros((0, 3))
        for delta, row, scale in zip(deltas, rows, scales, strict=True)
    ]
    block.add("morphStart", np.cumsum([0, *map(len, rows)]), np.uint32)
    block.add("morphRows", np.concatenate([np.zeros(0, int), *rows]), np.uint32)
    block.add("morphSteps", np.concatenate([np.zeros((0, 3)), *steps]), np.int16)
    block.add("morphScales", scales)


def _add_skeleton(block: Block, head: HeadModel, rig: Rig) -> None:
    """Joints at rest for expression coefficients of 0, their change with the coefficients, the bind pose's feature."""
    chosen = [head.n_shape + k for k in rig.morphs.expression]
    directions = head.joint_directions[chosen].double()  # [E, 5, 3]
    expression = rig.morphs.bind[: len(chosen)]
    block.add("joints", rig.joints - torch.einsum("e,ejc->jc", expression, directions))
    block.add("jointDirections", directions)
    block.add("bindFeature", pose_feature_of(head, rig.bind)[0, list(rig.morphs.corrective)])


def _add_frames(block: Block, rig: Rig, frames: HeadParams) -> None:
    block.add("frameExpressions", frames.expr[:, list(rig.morphs.expression)])
    block.add("frameRotations", frames.rotation)
    block.add("frameTranslations", frames.translation)
    block.add("frameNecks", joint_limits.neck_angles(frames.neck))
    block.add("frameJaws", joint_limits.jaw_angles(frames.jaw))
    block.add("frameEyes", joint_limits.eyes_angles(frames.eyes))


# --- blend model ------------------------------------------------------------------------------------------


def _add_blend(block: Block, avatar: BlendAvatar) -> dict[str, Any]:
    """The tables from pose to weights, and the light; returns what is not an array."""
    head, drive = avatar.head, avatar.drive
    pairs = torch.tensor(LANDMARK_PAIRS).reshape(-1)
    corners = head.landmark_corners[pairs.to(head.faces.device)]  # [2 pairs, 3]
    static = avatar.rest_offsets(avatar.shapes.new_zeros(1, len(avatar.shapes)))[0]
    block.add("landmarkCorners", corners, np.uint32)
    block.add("landmarkBarycentric", head.landmark_barycentric[pairs.to(head.faces.device)])
    block.add("landmarkOffsets", static[corners.reshape(-1)])
    for name in ("mean", "scale", "low", "high"):
        block.add(f"drive_{name}", getattr(drive, name))
    used = drive.names["expression"].start  # neither shapes nor colours depend on the coefficients
    block.add("shapeWeights", (avatar.shape_weights * avatar.driven)[:, :used])
    network = avatar.texture_weights
    for name, layer, used_inputs in (
        ("hidden", network.hidden, avatar.coloured),
        ("output", network.output, 1),
    ):
        block.add(f"{name}Weight", layer.weight * used_inputs)
        block.add(f"{name}Bias", layer.bias)
    factors = avatar.light.new_tensor(SH_FACTORS[1:])
    return {
        "drive": used,
        "hidden": network.hidden.out_features,
        "basis": avatar.head_texture.n_basis,
        "light": (avatar.light * factors[:, None]).cpu().tolist(),
    }


# --- images -----------------------------------------------------------------------------------------------


def _plain_map(texture: np.ndarray) -> dict[str, Any]:
    return {"mean": _image(texture, np.zeros((1, 3)), np.full((1, 3), 1 / 255)), "basis": None}


def blend_map(texture: BlendTexture) -> dict[str, Any]:
    """The mean ("mean") and the basis images ("basis", None without any) of a texture."""
    mean, basis = texture.mean()[None], texture.basis_images()
    return {"mean": two_level_image(mean), "basis": quantised_image(basis) if len(basis) else None}


def two_level_image(image: Tensor) -> dict[str, Any]:
    """An image [1, 3, R, R] as two below each other, whose sum it is: steps of 8 bits, and what they leave.

    Single texels of a learned image lie far outside 0..1; with 8 bits they would make the steps of all others coarse.
    """
    low, high = image.amin((2, 3), keepdim=True), image.amax((2, 3), keepdim=True)
    scale = (high - low).clamp_min(1e-9) / 255
    coarse = low + ((image - low) / scale).round() * scale
    return quantised_image(torch.cat([coarse, image - coarse]))


def quantised_image(images: Tensor) -> dict[str, Any]:
    """Images [K, 3, R, R] below each other as one PNG of 8 bits, with offset and scale of each image and channel."""
    values = images.permute(0, 2, 3, 1).cpu().double().numpy()  # [K, R, R, 3]
    low, high = values.min((1, 2)), values.max((1, 2))  # [K, 3]
    scale = np.maximum(high - low, 1e-9) / 255
    steps = np.rint((values - low[:, None, None]) / scale[:, None, None]).astype(np.uint8)
    return _image(steps.reshape(-1, *steps.shape[2:]), low, scale)


def _image(rgb: np.ndarray, offset: np.ndarray, scale: np.ndarray) -> dict[str, Any]:
    return {
        "png": base64.b64encode(encode_png(rgb)).decode(),
        "size": rgb.shape[1],
        "offset": offset.tolist(),
        "scale": scale.tolist(),
    }
