"""The avatar as other programs can move it: a rest mesh, five joints, skinning weights and morph targets.

The rest mesh is taken at one pose, the *bind pose*, in which the rig equals the avatar. Elsewhere it differs by what
linear skinning and morph targets cannot express:

- offsets follow the neck in the avatar; here they are those of the bind pose's neck;
- offsets point along the deformed surface's normals in the avatar; a morph target holds the change at the bind pose;
- pose correctives are morph targets that a motion drives; for who poses the joints by hand they keep the bind pose's
  values;
- expression coefficients beyond the chosen ones keep the bind pose's values;
- joints move with the expression in the avatar; a motion moves them here too, posing by hand does not;
- a vertex has at most four joints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nha.avatar.avatar import NeuralHeadAvatar
from nha.core.types import HeadParams, Surface
from nha.head import joint_limits, lbs
from nha.head.model import HeadModel

N_INFLUENCES = 4
# A corrective that moves no vertex by more than this in the whole motion is left out.
SMALLEST_CORRECTIVE_METRES = 5e-5


@dataclass(frozen=True)
class Joints:
    """The joints of N posed heads.

    rotations: [N, 5, 3, 3], each relative to its parent; rest: [N, 5, 3] metres, in the model's coordinates;
    world_from_rest: [N, 5, 3, 4], x_world = R x_rest + t, the root's translation included.
    """

    rotations: Tensor
    rest: Tensor
    world_from_rest: Tensor


def joints_of(head: HeadModel, params: HeadParams) -> Joints:
    """The joints of N heads with corrected parameters, in double precision. Method, section 1."""
    p = HeadParams(**{name: value.double() for name, value in vars(params).items()})
    rotations = lbs.joint_rotations(
        p.rotation,
        joint_limits.neck_angles(p.neck),
        joint_limits.jaw_angles(p.jaw),
        joint_limits.eyes_angles(p.eyes),
    )
    coefficients = torch.cat([p.shape, p.expr], 1)
    rest = head.joint_template + torch.tensordot(coefficients, head.joint_directions.double(), 1)
    world_from_rest = lbs.joint_transforms(rotations, rest, head.joint_parents)
    shift = (p.translation - rest[:, 0])[:, None, :, None]
    return Joints(
        rotations, rest, torch.cat([world_from_rest[..., :3], world_from_rest[..., 3:] + shift], -1)
    )


def unskinned(head: HeadModel, joints: Joints, vertices: Tensor) -> Tensor:
    """Where posed vertices [N, V, 3] rest: before skinning, correctives and offsets included. [N, V, 3] double."""
    weights = head.skinning_weights[head.kept_vertices].double()
    blended = lbs.blend_transforms(joints.world_from_rest, weights)
    return torch.linalg.solve(blended[..., :3], (vertices.double() - blended[..., 3])[..., None])[..., 0]


@dataclass(frozen=True)
class Morphs:
    """M morph targets: names; deltas: [M, V, 3] metres at weight 1; bind: [M] their weights in the bind pose.

    The first are the expression coefficients `expression` (their numbers), the rest the entries `corrective` of the
    pose feature (`lbs.pose_feature`).
    """

    names: tuple[str, ...]
    deltas: Tensor
    expression: tuple[int, ...]
    corrective: tuple[int, ...]
    bind: Tensor


@dataclass(frozen=True)
class Rig:
    """rest: [V, 3] metres with the root joint at the origin, all morph weights 0; joints: [5, 3] at rest; parents;
    influences: [V, 4] joint ids and weights: [V, 4] their shares, which sum to 1; bind: the bind pose [1]."""

    rest: Tensor
    joints: Tensor
    parents: tuple[int, ...]
    influences: Tensor
    weights: Tensor
    morphs: Morphs
    bind: HeadParams


@dataclass(frozen=True)
class Motion:
    """N moments of a rig: rotations [N, 5, 3, 3] and translations [N, 5, 3] (metres) of the joints, relative to their
    parents; weights: [N, M] of the morph targets."""

    rotations: Tensor
    translations: Tensor
    weights: Tensor


@torch.no_grad()
def make_rig(
    avatar: NeuralHeadAvatar,
    bind: Surface,
    expression_names: Sequence[str],
    n_expressions: int,
    moved: HeadParams,
) -> Rig:
    """Rig an avatar at a bind pose [1].

    expression_names: of the first coefficients, where known; n_expressions: how many coefficients become morph
    targets; moved: heads [N] that show what is used most (tracked frames), or the bind pose alone, then the first
    ones are taken.
    """
    head = avatar.head
    joints = joints_of(head, bind.params)
    root = joints.rest[0, 0]
    morphs = _morphs(head, bind, expression_names, n_expressions, moved)
    rest = unskinned(head, joints, bind.vertices)[0] - torch.tensordot(morphs.bind, morphs.deltas, 1)
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


def _morphs(
    head: HeadModel, bind: Surface, names: Sequence[str], n_expressions: int, moved: HeadParams
) -> Morphs:
    expression = _most_used_expressions(head, moved, n_expressions)
    corrective = _used_correctives(head, bind.params, moved)
    deltas = [_expression_delta(head, bind, k) for k in expression]
    deltas += [head.pose_directions[head.kept_vertices][..., i].double() for i in corrective]
    own_names = [names[k] if k < len(names) else f"expression_{k:03d}" for k in expression]
    own_names += [f"corrective_{i:02d}" for i in corrective]
    return Morphs(
        names=tuple(own_names),
        deltas=torch.stack(deltas) if deltas else bind.vertices.new_zeros(0, head.n_vertices, 3).double(),
        expression=expression,
        corrective=corrective,
        bind=torch.cat(
            [bind.params.expr[0, list(expression)].double(), bind.vertices.new_zeros(len(corrective))]
        ),
    )


def _most_used_expressions(head: HeadModel, moved: HeadParams, n: int) -> tuple[int, ...]:
    """The n coefficients that move the surface most in `moved`, in their own order; those that move nothing are out."""
    reach = expression_reach(head)
    use = reach * moved.expr.square().mean(0).sqrt()
    useful = (reach > 0).nonzero().squeeze(1)
    # a stable order: where nothing is known of the use, the first ones
    order = useful[use[useful].argsort(descending=True, stable=True)]
    return tuple(sorted(order[:n].tolist()))


def expression_reach(head: HeadModel) -> Tensor:
    """How far each expression coefficient moves the vertex that it moves most: [E] metres at 1."""
    return head.directions[head.kept_vertices][..., head.n_shape :].norm(dim=1).amax(0)


def _expression_delta(head: HeadModel, bind: Surface, k: int) -> Tensor:
    """How coefficient k moves the resting surface, offsets turning with it: central difference, [V, 3] metres."""
    step = torch.zeros_like(bind.params.expr)
    step[:, k] = 1
    up, down = (bind.params.replace(expr=bind.params.expr + sign * step) for sign in (1, -1))
    at = [unskinned(head, joints_of(head, p), head(p, bind.offsets))[0] for p in (up, down)]
    return (at[0] - at[1]) / 2


def _used_correctives(head: HeadModel, bind: HeadParams, moved: HeadParams) -> tuple[int, ...]:
    change = (_pose_feature(head, moved) - _pose_feature(head, bind)).abs().amax(0)
    reach = head.pose_directions[head.kept_vertices].norm(dim=1).amax(0)
    return tuple((change * reach > SMALLEST_CORRECTIVE_METRES).nonzero().squeeze(1).tolist())


def _pose_feature(head: HeadModel, params: HeadParams) -> Tensor:
    return lbs.pose_feature(joints_of(head, params).rotations)


@torch.no_grad()
def motion_of(head: HeadModel, rig: Rig, params: HeadParams, by_hand: bool = False) -> Motion:
    """The motion in which the rig follows N heads (corrected parameters).

    by_hand: as someone would pose it who sets joint angles and expressions alone: the joints stay where they rest and
    correctives keep the bind pose's values.
    """
    joints = joints_of(head, params)
    world = joints.world_from_rest
    root = joints_of(head, rig.bind).rest[0, 0]
    # x_world = R x + t with the rig's coordinates x = x_rest - root: where each joint's rest place goes
    positions = torch.einsum("njkl,jl->njk", world[..., :3], rig.joints + root) + world[..., 3]
    if by_hand:
        positions = _chained(joints.rotations, rig, params.translation.double())
    translations = [positions[:, 0]]
    for j, parent in list(enumerate(rig.parents))[1:]:
        bone = positions[:, j] - positions[:, parent]
        translations.append((world[:, parent, :, :3].mT @ bone[..., None])[..., 0])
    correctives = (_pose_feature(head, params) - _pose_feature(head, rig.bind))[
        :, list(rig.morphs.corrective)
    ]
    expressions = params.expr[:, list(rig.morphs.expression)].double()
    weights = torch.cat([expressions, correctives * (not by_hand)], 1)
    return Motion(joints.rotations, torch.stack(translations, 1), weights)


def _chained(rotations: Tensor, rig: Rig, root: Tensor) -> Tensor:
    """Positions [N, 5, 3] of the joints of a stiff skeleton whose root is at `root` [N, 3]."""
    transforms = lbs.joint_transforms(rotations, rig.joints.expand(len(root), -1, -1), rig.parents)
    return torch.einsum("njkl,jl->njk", transforms[..., :3], rig.joints) + transforms[..., 3] + root[:, None]


@torch.no_grad()
def pose_rig(rig: Rig, motion: Motion) -> Tensor:
    """The rig's vertices [N, V, 3], metres, world: what a glTF viewer makes of the file."""
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
