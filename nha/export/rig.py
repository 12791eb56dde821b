"""A rig of the avatar for other programs: a rest mesh, five joints, skinning weights and morph targets.

The rest mesh is taken at one pose, the *bind pose*, in which the rig equals the avatar. In other poses it differs,
because linear skinning and morph targets cannot express everything:

- the published model's offsets depend on the neck; the rig keeps those of the bind pose's neck;
- its offsets turn with the normals of the deformed surface; a morph target holds the change at the bind pose;
- pose correctives and the blend model's personal shapes are morph targets that the animation drives; under manual
  posing they keep the bind pose's values;
- expression coefficients without a morph target keep the bind pose's values;
- the avatar's joints move with the expression; the animation moves them too, manual posing does not;
- a vertex has at most four joints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from nha.avatar.base import HeadAvatar
from nha.core.types import HeadParams, Surface
from nha.export.joints import invert_skinning, posed_joints
from nha.head import lbs
from nha.head.model import HeadModel

# Displacements of a morph target below this are rounding errors of its computation and become 0.
_SMALLEST_DELTA_METRES = 1e-7
N_INFLUENCES = 4  # joints of a vertex, as many as glTF stores in one attribute
# Correctives are left out that together move no vertex by more than this in any pose.
LEFT_OUT_CORRECTIVES_METRES = 2e-5


@dataclass(frozen=True)
class Morphs:
    """M morph targets: expression coefficients, entries of the pose feature (`lbs.pose_feature`), and shapes.

    Attributes:
        names: of the targets.
        deltas: [M, V, 3] metres at weight 1.
        expression: which expression coefficients the first targets are.
        corrective: which entries of the pose feature the next targets are.
        shapes: how many personal shapes (`HeadAvatar.shape_targets`) the next targets are.
        faces: how many facial shapes (`nha.export.face_shapes`) the last targets are.
        bind: [M], the weights in the bind pose.
    """

    names: tuple[str, ...]
    deltas: Tensor
    expression: tuple[int, ...]
    corrective: tuple[int, ...]
    shapes: int
    bind: Tensor
    faces: int = 0

    @property
    def bind_shapes(self) -> Tensor:
        """The weights of the personal shapes in the bind pose."""
        end = self.bind.numel() - self.faces
        return self.bind[end - self.shapes : end]


class FaceDriver(Protocol):
    """Drives the facial shapes of a rig in place of expression, jaw and eyes."""

    def weights(self, params: HeadParams) -> Tensor:
        """The weights [N, faces] of N heads, corrected."""

    def without_face(self, params: HeadParams) -> HeadParams:
        """N heads with a neutral face."""


@dataclass(frozen=True)
class Rig:
    """A skinned mesh with morph targets.

    Attributes:
        rest: [V, 3] metres, the root joint at the origin, all morph weights 0.
        joints: [5, 3] metres, at rest.
        parents: of the joints, -1 for the root.
        influences: [V, 4] ids of the joints that move a vertex.
        weights: [V, 4] their skinning weights, which sum to 1.
        morphs: the morph targets.
        bind: the bind pose [1], in which the rig equals the avatar.
        face: drives the facial shapes; None: they have weight 0.
    """

    rest: Tensor
    joints: Tensor
    parents: tuple[int, ...]
    influences: Tensor
    weights: Tensor
    morphs: Morphs
    bind: HeadParams
    face: FaceDriver | None = None


@dataclass(frozen=True)
class RigMotion:
    """N poses of a rig.

    Attributes:
        rotations: [N, 5, 3, 3] of the joints, relative to their parents.
        translations: [N, 5, 3] metres, relative to their parents.
        weights: [N, M] of the morph targets.
    """

    rotations: Tensor
    translations: Tensor
    weights: Tensor


# --- making a rig -----------------------------------------------------------------------------------------


@torch.no_grad()
def make_rig(avatar: HeadAvatar, bind: Surface, n_expressions: int, poses: HeadParams) -> Rig:
    """Rig an avatar.

    Args:
        avatar: the avatar.
        bind: the bind pose [1].
        n_expressions: how many expression coefficients become morph targets.
        poses: heads [N], corrected, that decide which coefficients and correctives are used most (tracked frames). With
            the bind pose alone the first coefficients are taken.
    """
    head = avatar.head
    joints = posed_joints(head, bind.params)
    root = joints.rest[0, 0]
    morphs = _morphs(avatar, bind, n_expressions, poses)
    rest = invert_skinning(head, joints, bind.vertices)[0] - torch.tensordot(morphs.bind, morphs.deltas, 1)
    weights, influences = head.skinning_weights[head.kept_vertices].double().topk(N_INFLUENCES, dim=1)
    return Rig(
        rest=rest - root,
        joints=joints.rest[0] - root,
        parents=head.joint_parents,
        influences=influences * (weights > 0),
        weights=weights / weights.sum(1, keepdim=True),
        morphs=morphs,
        bind=bind.params,
    )


def _morphs(avatar: HeadAvatar, bind: Surface, n_expressions: int, poses: HeadParams) -> Morphs:
    head = avatar.head
    expression = _select_expressions(head, poses, n_expressions)
    corrective = _select_correctives(head, bind.params, poses)
    deltas = [_expression_delta(avatar, bind, k) for k in expression]
    deltas += [head.pose_directions[head.kept_vertices][..., i].double() for i in corrective]
    shapes = avatar.shape_targets().double()
    deltas += list(shapes)
    known = head.expression_names
    names = [known[k] if k < len(known) else f"expression_{k:03d}" for k in expression]
    names += [f"corrective_{i:02d}" for i in corrective]
    names += [f"shape_{i:02d}" for i in range(len(shapes))]
    return Morphs(
        names=tuple(names),
        deltas=without_noise(torch.stack(deltas))
        if deltas
        else bind.vertices.new_zeros(0, head.n_vertices, 3).double(),
        expression=expression,
        corrective=corrective,
        shapes=len(shapes),
        bind=torch.cat(
            [
                bind.params.expr[0, list(expression)].double(),
                bind.vertices.new_zeros(len(corrective)),
                avatar.shape_target_weights(bind.params)[0].double(),
            ]
        ),
    )


def without_noise(deltas: Tensor, smallest_metres: float = _SMALLEST_DELTA_METRES) -> Tensor:
    """Deltas [M, V, 3] with zeros at vertices that a target moves by rounding errors only."""
    return deltas * (deltas.norm(dim=2, keepdim=True) > smallest_metres)


def _select_expressions(head: HeadModel, poses: HeadParams, n: int) -> tuple[int, ...]:
    """The n coefficients that move the surface most in `poses`, ascending; those that move nothing are left out."""
    reach = expression_reach(head)
    usage = reach * poses.expr.square().mean(0).sqrt()
    effective = (reach > 0).nonzero().squeeze(1)
    # a stable order: where the usage is 0 for all, the first coefficients
    order = effective[usage[effective].argsort(descending=True, stable=True)]
    return tuple(sorted(order[:n].tolist()))


def expression_reach(head: HeadModel) -> Tensor:
    """The largest vertex displacement of each expression coefficient at 1: [E] metres."""
    return head.directions[head.kept_vertices][..., head.n_shape :].norm(dim=1).amax(0)


def left_out_expressions_metres(head: HeadModel, rig: Rig, poses: HeadParams) -> float:
    """How far the expression coefficients without a morph target move a vertex at most in N poses."""
    moved = poses.expr - rig.bind.expr
    moved[:, list(rig.morphs.expression)] = 0
    directions = head.directions[head.kept_vertices][..., head.n_shape :]
    return max(float(torch.tensordot(directions, row, 1).norm(dim=1).max()) for row in moved)


def _expression_delta(avatar: HeadAvatar, bind: Surface, k: int) -> Tensor:
    """Derivative of the rest surface by expression coefficient k, with the bind pose's offsets.

    Central difference, [V, 3] metres per unit of the coefficient.
    """
    step = torch.zeros_like(bind.params.expr)
    step[:, k] = 1
    up, down = (bind.params.replace(expr=bind.params.expr + sign * step) for sign in (1, -1))
    head, posed = avatar.head, [(p, avatar.posed_with(p, bind.offsets)) for p in (up, down)]
    at = [invert_skinning(head, posed_joints(head, p), vertices)[0] for p, vertices in posed]
    return (at[0] - at[1]) / 2


def _select_correctives(head: HeadModel, bind: HeadParams, poses: HeadParams) -> tuple[int, ...]:
    """The entries of the pose feature whose changes from the bind pose move vertices noticeably in `poses`."""
    change = (pose_feature_of(head, poses) - pose_feature_of(head, bind)).abs().amax(0)
    reach = head.pose_directions[head.kept_vertices].norm(dim=1).amax(0)
    smallest_first = (change * reach).argsort(stable=True)
    left_out = (change * reach)[smallest_first].cumsum(0) <= LEFT_OUT_CORRECTIVES_METRES
    return tuple(sorted(smallest_first[~left_out].tolist()))


def pose_feature_of(head: HeadModel, params: HeadParams) -> Tensor:
    """The pose feature [N, 36] of N heads, in double precision."""
    return lbs.pose_feature(posed_joints(head, params).rotations)


# --- moving a rig -----------------------------------------------------------------------------------------


@torch.no_grad()
def rig_motion(avatar: HeadAvatar, rig: Rig, params: HeadParams, manual: bool = False) -> RigMotion:
    """The motion in which the rig follows N heads.

    Args:
        avatar: the avatar.
        rig: its rig.
        params: N heads, corrected.
        manual: the pose that results where only joint angles and expressions are set in another program: joints keep
            their rest positions, correctives and personal shapes the bind pose's values.
    """
    head = avatar.head
    faces = params.expr.new_zeros(len(params), rig.morphs.faces)
    if rig.face is not None:
        faces, params = rig.face.weights(params), rig.face.without_face(params)
    joints = posed_joints(head, params)
    world = joints.world_from_rest
    root = posed_joints(head, rig.bind).rest[0, 0]
    # x_world = R x + t with the rig's coordinates x = x_rest - root: where each joint's rest position goes
    positions = torch.einsum("njkl,jl->njk", world[..., :3], rig.joints + root) + world[..., 3]
    if manual:
        positions = _rigid_skeleton(joints.rotations, rig, params.translation.double())
    translations = [positions[:, 0]]
    for j, parent in list(enumerate(rig.parents))[1:]:
        bone = positions[:, j] - positions[:, parent]
        translations.append((world[:, parent, :, :3].mT @ bone[..., None])[..., 0])
    correctives = (pose_feature_of(head, params) - pose_feature_of(head, rig.bind))[
        :, list(rig.morphs.corrective)
    ]
    expressions = params.expr[:, list(rig.morphs.expression)].double()
    shapes = avatar.shape_target_weights(params).double()
    if manual:
        correctives = torch.zeros_like(correctives)
        shapes = rig.morphs.bind_shapes.expand_as(shapes)
    weights = torch.cat([expressions, correctives, shapes, faces.double()], 1)
    return RigMotion(joints.rotations, torch.stack(translations, 1), weights)


def _rigid_skeleton(rotations: Tensor, rig: Rig, root: Tensor) -> Tensor:
    """Joint positions [N, 5, 3] of the rig's skeleton with bones of fixed length and its root at `root` [N, 3]."""
    transforms = lbs.joint_transforms(rotations, rig.joints.expand(len(root), -1, -1), rig.parents)
    return torch.einsum("njkl,jl->njk", transforms[..., :3], rig.joints) + transforms[..., 3] + root[:, None]


@torch.no_grad()
def pose_rig(rig: Rig, motion: RigMotion) -> Tensor:
    """The rig's vertices [N, V, 3] in metres, world, as a glTF viewer computes them from the file."""
    rotation, position = [motion.rotations[:, 0]], [motion.translations[:, 0]]
    for j, parent in list(enumerate(rig.parents))[1:]:
        position.append((rotation[parent] @ motion.translations[:, j, :, None])[..., 0] + position[parent])
        rotation.append(rotation[parent] @ motion.rotations[:, j])
    rotations, positions = torch.stack(rotation, 1), torch.stack(position, 1)
    offset = positions - torch.einsum("njkl,jl->njk", rotations, rig.joints)
    transforms = torch.cat([rotations, offset[..., None]], -1)
    weights = torch.zeros(len(rig.rest), len(rig.joints), dtype=rig.rest.dtype, device=rig.rest.device)
    weights = weights.scatter_add(1, rig.influences, rig.weights)
    blended = lbs.blend_transforms(transforms, weights)
    return lbs.transform_points(
        blended, rig.rest + torch.einsum("nm,mvc->nvc", motion.weights, rig.morphs.deltas)
    )
