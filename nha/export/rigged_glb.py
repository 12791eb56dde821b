"""The rigged head as a binary glTF file: skinned mesh, morph targets, textures, optionally animation and camera.

Coordinates are in metres with +y up, and the neutral head looks along +z, as glTF requires, so the model's coordinates
are written unchanged.
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
from nha.export.glb_file import GlbFile, encode_png
from nha.export.glb_mesh import SplitMesh, add_primitives, split_at_seams
from nha.export.rig import Rig, RigMotion
from nha.export.textures import Textures
from nha.head.model import HeadModel

_NEAR_METRES = 0.01


@dataclass(frozen=True)
class AnimationClip:
    """An animation of N keyframes.

    Attributes:
        motion: the N poses.
        times_s: [N] seconds, ascending from 0.
    """

    motion: RigMotion
    times_s: np.ndarray


def write_rigged_glb(
    path: Path,
    head: HeadModel,
    rig: Rig,
    initial: RigMotion,
    textures: Textures,
    *,
    clip: AnimationClip | None = None,
    camera: Camera | None = None,
    copyright_line: str = "",
) -> None:
    """Write the file atomically.

    Args:
        path: the .glb file.
        head: the head model.
        rig: its rig.
        initial: [1], the pose while no animation is played.
        textures: the head's and the mouth's.
        clip: an animation.
        camera: [1], the camera of the video.
        copyright_line: licence of the head model.
    """
    file = GlbFile(copyright_line)
    joints = _add_joints(file, rig, initial)
    mesh = _add_mesh(file, head, rig, initial, textures)
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


def _add_joints(file: GlbFile, rig: Rig, initial: RigMotion) -> list[int]:
    rotations, translations = _xyzw(initial.rotations[0]), _float32(initial.translations[0])
    ids = [
        file.node(gl.Node(name=name, rotation=r.tolist(), translation=t.tolist(), children=[]))
        for name, r, t in zip(FLAME_JOINTS, rotations, translations, strict=True)
    ]
    for j, parent in enumerate(rig.parents):
        if parent >= 0:
            file.gltf.nodes[ids[parent]].children.append(ids[j])
    return ids


def _inverse_bind(joints: Tensor) -> np.ndarray:
    """The inverse bind matrices [5, 16], column by column: they move each joint's rest position to the origin."""
    matrices = np.tile(np.eye(4, dtype=np.float32), (len(joints), 1, 1))
    matrices[:, 3, :3] = -_float32(joints)  # the last column, as glTF stores columns one after the other
    return matrices.reshape(-1, 16)


def _xyzw(rotations: Tensor) -> np.ndarray:
    """Rotation matrices [..., 3, 3] as glTF's quaternions [..., 4]."""
    return _float32(quaternion(rotations)[..., [1, 2, 3, 0]])


def _float32(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy().astype(np.float32)


# --- mesh -------------------------------------------------------------------------------------------------


def _add_mesh(file: GlbFile, head: HeadModel, rig: Rig, initial: RigMotion, textures: Textures) -> int:
    mesh = split_at_seams(head)
    attributes = gl.Attributes(**_attributes(file, head, rig, mesh, initial))
    targets = [
        gl.Attributes(POSITION=file.sparse_accessor(_float32(delta)[mesh.vertex]))
        for delta in rig.morphs.deltas
    ]
    index_type = np.uint16 if len(mesh.vertex) < 2**16 - 1 else np.uint32
    corners = [ids.astype(index_type) for ids in mesh.corners]
    pngs = [encode_png(texture) for texture in textures]
    file.gltf.meshes.append(
        gl.Mesh(
            name="head",
            primitives=add_primitives(file, corners, attributes, pngs, targets=targets),
            weights=_float32(initial.weights[0]).tolist() if targets else [],
            extras={"targetNames": list(rig.morphs.names)} if targets else {},
        )
    )
    return len(file.gltf.meshes) - 1


def _attributes(
    file: GlbFile, head: HeadModel, rig: Rig, mesh: SplitMesh, initial: RigMotion
) -> dict[str, int]:
    """Accessors by attribute; the normals are those of the mesh with the initial morph weights."""
    initial_shape = rig.rest + torch.tensordot(initial.weights[0], rig.morphs.deltas, 1)
    normals = vertex_normals(initial_shape[None], head.faces)[0]
    weights = _float32(rig.weights)
    weights /= weights.sum(1, keepdims=True)
    values = {
        "POSITION": _float32(rig.rest)[mesh.vertex],
        "NORMAL": _float32(normals)[mesh.vertex],
        "TEXCOORD_0": mesh.uvs,
        "JOINTS_0": rig.influences.cpu().numpy().astype(np.uint8)[mesh.vertex],
        "WEIGHTS_0": weights[mesh.vertex],
    }
    return {
        name: file.accessor(table, gl.ARRAY_BUFFER, bounds=name == "POSITION")
        for name, table in values.items()
    }


# --- camera and animation ---------------------------------------------------------------------------------


def _add_camera(file: GlbFile, camera: Camera) -> int:
    """Add the tracker's camera [1]; a glTF camera has its principal point in the middle of the image."""
    height, width = camera.image_size
    focal_x, focal_y = float(camera.intrinsics[0, 0, 0]), float(camera.intrinsics[0, 1, 1])
    perspective = gl.Perspective(
        aspectRatio=width / height * focal_y / focal_x,
        yfov=2 * math.atan(height / (2 * focal_y)),
        znear=_NEAR_METRES,
    )
    file.gltf.cameras.append(gl.Camera(name="video", type=gl.PERSPECTIVE, perspective=perspective))
    rotation, translation = camera.extrinsics[0, :, :3], camera.extrinsics[0, :, 3]
    # Camera has x to the left and looks along +z, a glTF camera has x to the right and looks along -z
    gltf_rotation = rotation @ torch.diag(rotation.new_tensor([-1.0, 1.0, -1.0]))
    position = -(rotation @ translation)
    node = gl.Node(
        name="video",
        camera=0,
        rotation=_xyzw(gltf_rotation).tolist(),
        translation=_float32(position).tolist(),
    )
    return file.node(node)


def _add_animation(file: GlbFile, clip: AnimationClip, joints: list[int], body: int) -> None:
    times = file.accessor(clip.times_s.astype(np.float32), bounds=True)
    animation = gl.Animation(name="video", channels=[], samplers=[])

    def add(node: int, path: str, values: np.ndarray) -> None:
        animation.samplers.append(
            gl.AnimationSampler(input=times, output=file.accessor(values), interpolation="LINEAR")
        )
        target = gl.AnimationChannelTarget(node=node, path=path)
        animation.channels.append(gl.AnimationChannel(sampler=len(animation.samplers) - 1, target=target))

    rotations, translations = _xyzw(clip.motion.rotations), _float32(clip.motion.translations)
    for j, node in enumerate(joints):
        add(node, "rotation", _same_hemisphere(rotations[:, j]))
        add(node, "translation", translations[:, j])
    if clip.motion.weights.shape[1]:
        add(body, "weights", _float32(clip.motion.weights).reshape(-1))
    file.gltf.animations.append(animation)


def _same_hemisphere(quaternions: np.ndarray) -> np.ndarray:
    """The same rotations [N, 4], each with the sign that is nearer to its predecessor, so that they interpolate."""
    dots = (quaternions[1:] * quaternions[:-1]).sum(1)
    signs = np.cumprod(np.where(dots < 0, -1, 1))
    return np.concatenate([quaternions[:1], quaternions[1:] * signs[:, None]]).astype(np.float32)
