"""One binary glTF file: skinned mesh, morph targets, baked textures, optionally an animation and the camera.

Metres, +y up; at rest the head looks along +z, as glTF wants it, so that the model's coordinates are written as they
are. UVs have v down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pygltflib as gl
import torch
from torch import Tensor

from nha.core.conventions import FLAME_JOINTS
from nha.core.mesh import vertex_normals
from nha.core.rotations import quaternion
from nha.core.types import Camera
from nha.export.bake import MAPS
from nha.export.glb_file import GlbFile, png_of
from nha.export.rig import Motion, Rig
from nha.export.split import SplitMesh, split_at_seams
from nha.head.model import HeadModel

_NEAR_METRES = 0.01


@dataclass(frozen=True)
class Clip:
    """An animation: motion of N moments at times_s [N], ascending from 0."""

    motion: Motion
    times_s: np.ndarray


def write_glb(
    path: Path,
    head: HeadModel,
    rig: Rig,
    stand: Motion,
    textures: tuple[np.ndarray, np.ndarray],
    *,
    clip: Clip | None = None,
    camera: Camera | None = None,
    about: str = "",
) -> None:
    """Write the file, whole or not at all.

    stand: [1], how the rig stands where nothing is played; textures: uint8 [R, R, 3] of head and mouth; camera: [1];
    about: copyright line.
    """
    file = GlbFile(about)
    joints = _add_joints(file, rig, stand)
    mesh = _add_mesh(file, head, rig, stand, textures)
    file.gltf.skins.append(
        gl.Skin(
            name="head",
            joints=joints,
            skeleton=joints[0],
            inverseBindMatrices=file.accessor(_inverse_bind(rig.joints)),
        )
    )
    body = file.node(gl.Node(name="head", mesh=mesh, skin=0))
    roots = [joints[0], body]
    if camera is not None:
        roots.append(_add_camera(file, camera))
    file.gltf.scenes.append(gl.Scene(name="avatar", nodes=roots))
    if clip is not None:
        _add_animation(file, clip, joints, body)
    file.save(path)


# --- skeleton ---------------------------------------------------------------------------------------------


def _add_joints(file: GlbFile, rig: Rig, stand: Motion) -> list[int]:
    turns, places = _xyzw(stand.rotations[0]), _float32(stand.translations[0])
    ids = [
        file.node(gl.Node(name=name, rotation=turn.tolist(), translation=place.tolist(), children=[]))
        for name, turn, place in zip(FLAME_JOINTS, turns, places, strict=True)
    ]
    for j, parent in enumerate(rig.parents):
        if parent >= 0:
            file.gltf.nodes[ids[parent]].children.append(ids[j])
    return ids


def _inverse_bind(joints: Tensor) -> np.ndarray:
    """[5, 16], column by column: the joints' rest places moved to the origin."""
    matrices = np.tile(np.eye(4, dtype=np.float32), (len(joints), 1, 1))
    matrices[:, 3, :3] = -_float32(joints)  # the last column, as glTF stores columns one after the other
    return matrices.reshape(-1, 16)


def _xyzw(rotations: Tensor) -> np.ndarray:
    """Rotation matrices [..., 3, 3] as glTF's quaternions [..., 4]."""
    return _float32(quaternion(rotations)[..., [1, 2, 3, 0]])


def _float32(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy().astype(np.float32)


# --- mesh -------------------------------------------------------------------------------------------------


def _add_mesh(
    file: GlbFile, head: HeadModel, rig: Rig, stand: Motion, textures: tuple[np.ndarray, np.ndarray]
) -> int:
    split = split_at_seams(head)
    attributes = gl.Attributes(**_attributes(file, head, rig, split, stand))
    targets = [
        gl.Attributes(POSITION=file.accessor(_float32(delta)[split.vertex], gl.ARRAY_BUFFER, bounds=True))
        for delta in rig.morphs.deltas
    ]
    uv_map = head.face_uvmap.cpu().numpy()
    index_type = np.uint16 if len(split.vertex) < 2**16 - 1 else np.uint32
    primitives = []
    for number, (name, texture) in enumerate(zip(MAPS, textures, strict=True)):
        corners = split.faces[uv_map == number].reshape(-1).astype(index_type)
        if len(corners):
            primitives.append(
                gl.Primitive(
                    attributes=attributes,
                    indices=file.accessor(corners, gl.ELEMENT_ARRAY_BUFFER),
                    material=file.material(name, png_of(texture)),
                    targets=targets,
                    mode=gl.TRIANGLES,
                )
            )
    named = bool(targets)
    file.gltf.meshes.append(
        gl.Mesh(
            name="head",
            primitives=primitives,
            weights=_float32(stand.weights[0]).tolist() if named else [],
            extras={"targetNames": list(rig.morphs.names)} if named else {},
        )
    )
    return len(file.gltf.meshes) - 1


def _attributes(file: GlbFile, head: HeadModel, rig: Rig, split: SplitMesh, stand: Motion) -> dict[str, int]:
    shown = rig.rest + torch.tensordot(stand.weights[0], rig.morphs.deltas, 1)
    normals = vertex_normals(shown[None], head.faces)[0]
    weights = _float32(rig.weights)
    weights /= weights.sum(1, keepdims=True)
    values = {
        "POSITION": _float32(rig.rest)[split.vertex],
        "NORMAL": _float32(normals)[split.vertex],
        "TEXCOORD_0": np.stack([split.uvs[:, 0], 1 - split.uvs[:, 1]], 1).astype(np.float32),
        "JOINTS_0": rig.influences.cpu().numpy().astype(np.uint8)[split.vertex],
        "WEIGHTS_0": weights[split.vertex],
    }
    return {
        name: file.accessor(table, gl.ARRAY_BUFFER, bounds=name == "POSITION")
        for name, table in values.items()
    }


# --- camera and animation ---------------------------------------------------------------------------------


def _add_camera(file: GlbFile, camera: Camera) -> int:
    """The tracker's camera [1]; glTF's has its principal point in the middle of the picture."""
    height, width = camera.image_size
    focal_x, focal_y = float(camera.intrinsics[0, 0, 0]), float(camera.intrinsics[0, 1, 1])
    perspective = gl.Perspective(
        aspectRatio=width / height * focal_y / focal_x,
        yfov=2 * math.atan(height / (2 * focal_y)),
        znear=_NEAR_METRES,
    )
    file.gltf.cameras.append(gl.Camera(name="video", type=gl.PERSPECTIVE, perspective=perspective))
    rotation, translation = camera.extrinsics[0, :, :3], camera.extrinsics[0, :, 3]
    # our camera has x left and looks along +z, glTF's has x right and looks along -z
    turned = rotation @ torch.diag(rotation.new_tensor([-1.0, 1.0, -1.0]))
    place = -(rotation @ translation)
    node = gl.Node(
        name="video", camera=0, rotation=_xyzw(turned).tolist(), translation=_float32(place).tolist()
    )
    return file.node(node)


def _add_animation(file: GlbFile, clip: Clip, joints: list[int], body: int) -> None:
    times = file.accessor(clip.times_s.astype(np.float32), bounds=True)
    animation = gl.Animation(name="video", channels=[], samplers=[])

    def add(node: int, path: str, values: np.ndarray) -> None:
        animation.samplers.append(
            gl.AnimationSampler(input=times, output=file.accessor(values), interpolation="LINEAR")
        )
        target = gl.AnimationChannelTarget(node=node, path=path)
        animation.channels.append(gl.AnimationChannel(sampler=len(animation.samplers) - 1, target=target))

    turns, places = _xyzw(clip.motion.rotations), _float32(clip.motion.translations)
    for j, node in enumerate(joints):
        add(node, "rotation", _without_jumps(turns[:, j]))
        add(node, "translation", places[:, j])
    if clip.motion.weights.shape[1]:
        add(body, "weights", _float32(clip.motion.weights).reshape(-1))
    file.gltf.animations.append(animation)


def _without_jumps(quaternions: np.ndarray) -> np.ndarray:
    """The same rotations [N, 4], each with the sign that is nearer to the one before, so that they interpolate."""
    along = (quaternions[1:] * quaternions[:-1]).sum(1)
    signs = np.cumprod(np.where(along < 0, -1, 1))
    return np.concatenate([quaternions[:1], quaternions[1:] * signs[:, None]]).astype(np.float32)
