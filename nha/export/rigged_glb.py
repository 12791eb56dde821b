"""The rigged head as a binary glTF file: skinned mesh, morph targets, textures, optionally animation and camera.

Coordinates are in metres with +y up, and the neutral head looks along +z, as glTF requires, so the model's coordinates
are written unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pygltflib as gl
import torch
from torch import Tensor

from nha.core.conventions import FLAME_JOINTS
from nha.core.mesh import vertex_normals
from nha.core.rotations import quaternion
from nha.core.types import Camera
from nha.export.glb_file import GlbFile, encode_png
from nha.export.glb_mesh import material_parts, split_at_seams
from nha.export.rig import Rig, RigMotion
from nha.export.textures import MAPS, Textures
from nha.head.model import HeadModel

MESH_NAME, RIG_NAME = "avatar", "avatar_rig"
# Blender leaves an empty object of this name, because the node's weights are animated.
_MESH_NODE_NAME = "avatar_node"
# Blender widens the range of a slider (0 to 1) to the first key of an animation only, and cuts later keys off. One
# animation with the lowest and one with the highest weights make it hold the whole motion.
_RANGE_CLIPS = {"lowest_weights": torch.amin, "highest_weights": torch.amax}
_NEAR_METRES = 0.01
# Changes of unit normals below this (0.06 degrees) become 0, so that a morph target stores few of them.
_SMALLEST_NORMAL_CHANGE = 1e-3
_TARGETS_AT_ONCE = 8


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
    lit: bool = False,
    extras: Mapping[str, Any] | None = None,
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
        lit: the materials are lit by the scene; otherwise they show the textures' colours unchanged.
        extras: facts about the content, such as units, licence and source; for the asset and the rig's node.
    """
    file = GlbFile(extras)
    joints = _add_joints(file, rig, initial)
    mesh = _add_mesh(file, head, rig, initial, textures, lit)
    body = file.node(gl.Node(name=_MESH_NODE_NAME, mesh=mesh, skin=0))
    root = file.node(gl.Node(name=RIG_NAME, children=[joints[0], body], extras=dict(extras or {})))
    file.gltf.skins.append(
        gl.Skin(
            name=RIG_NAME,
            joints=joints,
            skeleton=root,
            inverseBindMatrices=file.accessor(_inverse_bind(rig.joints)),
        )
    )
    roots = [root]
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


def _add_mesh(
    file: GlbFile, head: HeadModel, rig: Rig, initial: RigMotion, textures: Textures, lit: bool
) -> int:
    """One mesh with a primitive for each material; every primitive has its own vertices and all morph targets."""
    mesh = split_at_seams(head)
    maps = [file.texture(name, encode_png(texture)) for name, texture in zip(MAPS, textures, strict=True)]
    normals = _normals(head, rig, initial.weights[0])
    values = _vertex_values(rig, normals)
    parts = material_parts(head, mesh)
    targets: list[list[gl.Attributes]] = [[] for _ in parts]
    for delta, normal_delta in _target_changes(head, rig, initial.weights[0], normals):
        for part, stored in zip(parts, targets, strict=True):
            rows = mesh.vertex[part.rows]
            position, normal = file.sparse_accessor(delta[rows]), file.sparse_accessor(normal_delta[rows])
            stored.append(gl.Attributes(POSITION=position, NORMAL=normal))
    primitives = []
    for part, stored in zip(parts, targets, strict=True):
        index_type = np.uint16 if len(part.rows) < 2**16 - 1 else np.uint32
        attributes = {name: table[mesh.vertex[part.rows]] for name, table in values.items()}
        attributes["TEXCOORD_0"] = mesh.uvs[part.rows]
        primitives.append(
            gl.Primitive(
                attributes=gl.Attributes(
                    **{
                        name: file.accessor(table, gl.ARRAY_BUFFER, bounds=name == "POSITION")
                        for name, table in attributes.items()
                    }
                ),
                indices=file.accessor(part.corners.astype(index_type), gl.ELEMENT_ARRAY_BUFFER),
                material=file.material(
                    part.name, maps[part.uv_map], roughness=part.roughness if lit else None
                ),
                targets=stored,
                mode=gl.TRIANGLES,
            )
        )
    named = {"targetNames": list(rig.morphs.names)} if rig.morphs.names else {}
    weights = _float32(initial.weights[0]).tolist()
    file.gltf.meshes.append(gl.Mesh(name=MESH_NAME, primitives=primitives, weights=weights, extras=named))
    return len(file.gltf.meshes) - 1


def _vertex_values(rig: Rig, normals: Tensor) -> dict[str, np.ndarray]:
    """The head's vertices by glTF attribute, [V, c] each, without texture coordinates."""
    weights = _float32(rig.weights)
    return {
        "POSITION": _float32(rig.rest),
        "NORMAL": _float32(normals),
        "JOINTS_0": rig.influences.cpu().numpy().astype(np.uint8),
        "WEIGHTS_0": weights / weights.sum(1, keepdims=True),
    }


def _normals(head: HeadModel, rig: Rig, weights: Tensor) -> Tensor:
    """The rest mesh's normals [V, 3] with morph weights [M], or [N, V, 3] with [N, M]."""
    shape = rig.rest + torch.tensordot(weights, rig.morphs.deltas, 1)
    return vertex_normals(shape.view(-1, *rig.rest.shape), head.faces).view_as(shape)


def _target_changes(
    head: HeadModel, rig: Rig, initial: Tensor, normals: Tensor
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The change of positions in metres and of normals, [V, 3] each, by each morph target at weight 1."""
    for start in range(0, len(initial), _TARGETS_AT_ONCE):
        deltas = rig.morphs.deltas[start : start + _TARGETS_AT_ONCE]
        step = torch.eye(len(initial), dtype=initial.dtype, device=initial.device)[
            start : start + _TARGETS_AT_ONCE
        ]
        change = _normals(head, rig, initial + step) - normals
        change = change * (change.norm(dim=2, keepdim=True) > _SMALLEST_NORMAL_CHANGE)
        yield from zip(_float32(deltas), _float32(change), strict=True)


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
    rotations, translations = _xyzw(clip.motion.rotations), _float32(clip.motion.translations)
    tracks: list[tuple[int, str, np.ndarray]] = []
    for j, node in enumerate(joints):
        tracks.append((node, "rotation", _same_hemisphere(rotations[:, j])))
        tracks.append((node, "translation", translations[:, j]))
    weights = clip.motion.weights
    if not weights.shape[1]:
        _add_clip(file, "video", clip.times_s, tracks)
        return
    _add_clip(file, "video", clip.times_s, [*tracks, (body, "weights", _float32(weights).reshape(-1))])
    for name, extreme in _RANGE_CLIPS.items():
        _add_clip(file, name, clip.times_s[:1], [(body, "weights", _float32(extreme(weights, dim=0)))])


def _add_clip(
    file: GlbFile, name: str, times_s: np.ndarray, tracks: list[tuple[int, str, np.ndarray]]
) -> None:
    """Add an animation; tracks: the values of (node, path) at the times."""
    times = file.accessor(times_s.astype(np.float32), bounds=True)
    animation = gl.Animation(name=name, channels=[], samplers=[])
    for node, path, values in tracks:
        animation.samplers.append(
            gl.AnimationSampler(input=times, output=file.accessor(values), interpolation="LINEAR")
        )
        target = gl.AnimationChannelTarget(node=node, path=path)
        animation.channels.append(gl.AnimationChannel(sampler=len(animation.samplers) - 1, target=target))
    file.gltf.animations.append(animation)


def _same_hemisphere(quaternions: np.ndarray) -> np.ndarray:
    """The same rotations [N, 4], each with the sign that is nearer to its predecessor, so that they interpolate."""
    dots = (quaternions[1:] * quaternions[:-1]).sum(1)
    signs = np.cumprod(np.where(dots < 0, -1, 1))
    return np.concatenate([quaternions[:1], quaternions[1:] * signs[:, None]]).astype(np.float32)
