"""Terms of the blend model that keep lips and eyelids right: gaps, contact and stretch. `docs/method.md`, section 4."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import huber_loss

from nha.core.constants import constant
from nha.core.conventions import (
    EYE_CLOSURE_PAIRS,
    INNER_LIP_PAIRS,
    LANDMARK_GROUPS,
    N_FACE_LANDMARKS,
    OUTER_EYE_CORNERS,
)
from nha.losses.inputs import LossInputs
from nha.losses.shapes import expect_shape
from nha.render.camera import project

CONTACT_PAIRS = (*INNER_LIP_PAIRS, *EYE_CLOSURE_PAIRS)  # upper and lower point
FEATURE_LANDMARKS = tuple(
    point
    for group in ("right_eye", "left_eye", "outer_mouth", "inner_mouth")
    for point in LANDMARK_GROUPS[group]
)
NEAR_METRES = 0.012
_SHORTEST_METRES = 5e-4
FACE_AXIS = (27, 8)  # from the bridge of the nose to the chin
NOISE = 0.01  # of the distance between the eyes; larger differences of gaps count linearly
_PER_METRE = 1e3  # offsets of contact pairs are compared in millimetres
_SMALL_MM = 0.3  # larger differences of these offsets count linearly


def gap_loss(drawn_px: Tensor, target_px: Tensor, confidence: Tensor, unit_px: Tensor) -> Tensor:
    """Difference between the drawn and the detected gaps of lips and eyelids, as parts of the eye distance.

    A gap is the distance from the upper to the lower point along the drawn face, from the bridge of the nose to the
    chin; it is negative where they cross. Differences are squared below `NOISE` and linear above. The weight of a pair
    is the lower confidence of its points, times the squared foreshortening of the eye distance.

    Args:
        drawn_px: [N, 68, 2] projected landmarks in pixels.
        target_px: [N, 68, 2] detected landmarks in pixels; any value, NaN included, where the confidence is 0.
        confidence: [N, 68] in 0..1.
        unit_px: [N] distance between the outer eye corners in pixels, as if the face looked at the camera.

    Returns:
        A scalar, the mean over frames and pairs.
    """
    n = len(drawn_px)
    for name, points in (("drawn_px", drawn_px), ("target_px", target_px)):
        expect_shape(name, points, n, N_FACE_LANDMARKS, 2)
    expect_shape("confidence", confidence, n, N_FACE_LANDMARKS)
    expect_shape("unit_px", unit_px, n)
    fixed, unit_px = drawn_px.detach(), unit_px.detach()
    target_px = torch.where(confidence[..., None] > 0, target_px, fixed)
    axis = fixed[:, FACE_AXIS[1]] - fixed[:, FACE_AXIS[0]]
    axis = axis / torch.linalg.vector_norm(axis, dim=1, keepdim=True)
    upper, lower = constant(CONTACT_PAIRS, drawn_px, torch.long).unbind(1)
    difference = drawn_px - target_px
    along = ((difference[:, lower] - difference[:, upper]) * axis[:, None]).sum(-1) / unit_px[:, None]
    right, left = OUTER_EYE_CORNERS
    facing = torch.linalg.vector_norm(fixed[:, right] - fixed[:, left], dim=1) / unit_px
    weight = torch.minimum(confidence[:, upper], confidence[:, lower]) * facing.clamp(max=1).square()[:, None]
    cost = huber_loss(along, torch.zeros_like(along), reduction="none", delta=NOISE) / NOISE
    return (cost * weight).mean()


def contact_loss(offsets: Tensor) -> Tensor:
    """Distance in millimetres between the offsets of points that meet when lips and lids close.

    With equal offsets they meet in the same expressions as those of the head without offsets. Distances are squared
    below `_SMALL_MM` and linear above, because the largest gradient of a vertex decides the optimiser's step of all.

    Args:
        offsets: [N, 70, 3] metres, the offsets at the landmarks in the rest pose.

    Returns:
        A scalar: sum over the axes, mean over frames and pairs.
    """
    upper, lower = constant(CONTACT_PAIRS, offsets, torch.long).unbind(1)
    difference = (offsets[:, upper] - offsets[:, lower]) * _PER_METRE
    return huber_loss(difference, torch.zeros_like(difference), delta=_SMALL_MM) / _SMALL_MM * 3


def stretch_loss(offsets: Tensor, edges: Tensor, length: Tensor) -> Tensor:
    """How much the offsets change along edges around lips and eyes, relative to the edges' lengths, squared.

    Args:
        offsets: [N, V, 3] metres in the rest pose.
        edges: [E, 2] vertex ids, see `feature_edges`.
        length: [E] metres, in the rest pose without offsets.

    Returns:
        A scalar, the mean over frames and edges.
    """
    change = offsets[:, edges[:, 0]] - offsets[:, edges[:, 1]]
    return (change / length[:, None]).square().sum(-1).mean()


def feature_edges(edges: Tensor, vertices: Tensor, landmarks: Tensor) -> tuple[Tensor, Tensor]:
    """The edges within `NEAR_METRES` of the landmarks of lips and eyes, and their lengths.

    Args:
        edges: [E, 2] vertex ids.
        vertices: [V, 3] metres, the head at rest.
        landmarks: [70, 3] metres, its landmarks.

    Returns:
        [E', 2] vertex ids and [E'] metres.
    """
    points = vertices[edges]
    features = landmarks[constant(FEATURE_LANDMARKS, landmarks, torch.long)]
    near = torch.cdist(points.mean(1), features).amin(1) < NEAR_METRES
    length = torch.linalg.vector_norm(points[near, 0] - points[near, 1], dim=1)
    return edges[near], length.clamp_min(_SHORTEST_METRES)


def gap_term(inputs: LossInputs) -> Tensor:
    """The gap loss of a rendered batch."""
    batch, camera = inputs.batch, inputs.batch.camera
    world = inputs.head.landmarks(inputs.rendering.surface.vertices)[:, :N_FACE_LANDMARKS]
    screen = project(world, camera)
    right, left = OUTER_EYE_CORNERS
    focal_px = camera.intrinsics[:, 0, 0]
    depth = screen[:, OUTER_EYE_CORNERS, 2].mean(1)
    unit_px = focal_px * torch.linalg.vector_norm(world[:, right] - world[:, left], dim=1) / depth
    return gap_loss(screen[..., :2], batch.landmarks_px, batch.landmark_confidence, unit_px)


def contact_term(inputs: LossInputs) -> Tensor:
    """The contact loss of a rendered batch of the blend model."""
    return contact_loss(inputs.head.landmarks(inputs.rendering.surface.offsets))


def stretch_term(inputs: LossInputs) -> Tensor:
    """The stretch loss of a rendered batch of the blend model."""
    mesh = inputs.mesh
    return stretch_loss(inputs.rendering.surface.offsets, mesh.feature_edges, mesh.feature_edge_length)
