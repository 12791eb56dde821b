"""Landmark terms: projected landmarks, and the distance between the eyelids. `docs/method.md`, section 4."""

from __future__ import annotations

import torch
from torch import Tensor

from nha.core.constants import constant
from nha.core.conventions import EYE_CLOSURE_PAIRS, MID_LID_LANDMARKS, N_FACE_LANDMARKS
from nha.core.launches import uses_fused_kernels
from nha.losses.inputs import LossInputs
from nha.losses.landmark_ops import fused_eye_closure_loss, fused_landmark_loss
from nha.losses.shapes import expect_shape
from nha.render.camera import project

SQUARED_OPENING_EPS = 1e-7  # keeps the derivative of the square root finite where an eye is closed


def landmark_loss(
    landmarks_px: Tensor, target_px: Tensor, confidence: Tensor, image_size: tuple[int, int]
) -> Tensor:
    """L1 distance between projected and detected landmarks, in units in which the image is 2 x 2.

    |dx| + |dy| times the confidence, mean over all N x 68 points. The confidence of the eight mid-lid points is
    taken as 0, because the eye closure term covers them.

    Args:
        landmarks_px: [N, 68, 2] projected landmarks in pixels, or [N, 68, 3] with a depth, which is ignored.
        target_px: [N, 68, 2] detected landmarks in pixels; any value, NaN included, where the confidence is 0.
        confidence: [N, 68] in 0..1.
        image_size: (H, W).

    Returns:
        A scalar, the mean over frames and points.
    """
    n = len(landmarks_px)
    expect_shape("landmarks_px", landmarks_px[..., :2], n, N_FACE_LANDMARKS, 2)
    expect_shape("target_px", target_px, n, N_FACE_LANDMARKS, 2)
    expect_shape("confidence", confidence, n, N_FACE_LANDMARKS)
    height, width = image_size
    if _fuses(landmarks_px, target_px, confidence):
        counts = tuple(int(point not in MID_LID_LANDMARKS) for point in range(N_FACE_LANDMARKS))
        counts = constant(counts, landmarks_px, torch.int32)
        return fused_landmark_loss(landmarks_px, target_px, confidence, counts, (2 / width, 2 / height))
    landmarks_px = landmarks_px[..., :2]
    mid_lid = tuple(point in MID_LID_LANDMARKS for point in range(N_FACE_LANDMARKS))
    counted = torch.where(constant(mid_lid, confidence, torch.bool), 0.0, confidence)
    # points without confidence may be NaN, which must reach neither value nor gradient
    target_px = torch.where(counted[..., None] > 0, target_px, landmarks_px.detach())
    distance = (landmarks_px - target_px).abs() * constant((2 / width, 2 / height), landmarks_px)
    return (distance.sum(-1) * counted).mean()


def eye_closure_loss(
    landmarks_px: Tensor, eye_heights_px: Tensor, semantic_trust: Tensor, image_height: int
) -> Tensor:
    """L1 between the distances of the eyelids and the heights of the parsed eyes, both divided by the image height.

    The sum over four lid pairs, two for each eye, times the trust of the frame; mean over frames. An eye that is not
    parsed counts with height 0.

    Args:
        landmarks_px: [N, 68, 2] projected landmarks in pixels of the mesh *without offsets*, in which everything but
            the expression is detached (see `eye_closure_term`); or [N, 68, 3] with a depth, which is ignored.
        eye_heights_px: [N, 2] heights in pixels of the parsed left and right eye.
        semantic_trust: [N] in 0..1.
        image_height: in pixels.

    Returns:
        A scalar.
    """
    n = len(landmarks_px)
    expect_shape("landmarks_px", landmarks_px[..., :2], n, N_FACE_LANDMARKS, 2)
    expect_shape("eye_heights_px", eye_heights_px, n, 2)
    expect_shape("semantic_trust", semantic_trust, n)
    if _fuses(landmarks_px, eye_heights_px, semantic_trust):
        return fused_eye_closure_loss(
            landmarks_px, eye_heights_px, semantic_trust, image_height, SQUARED_OPENING_EPS
        )
    landmarks_px = landmarks_px[..., :2]
    points = tuple(point for pair in zip(*EYE_CLOSURE_PAIRS, strict=True) for point in pair)
    upper, lower = landmarks_px.index_select(1, constant(points, landmarks_px, torch.long)).chunk(2, 1)
    squared = ((upper - lower) / image_height).square().sum(-1)
    opening = (squared + SQUARED_OPENING_EPS).sqrt()  # [N, 4]
    left, right = (eye_heights_px.to(opening.dtype) / image_height).unbind(1)
    target = torch.stack([right, right, left, left], 1)
    return ((opening - target).abs().sum(1) * semantic_trust).sum() / n


def _fuses(*tensors: Tensor) -> bool:
    """Whether the kernels compute the loss of these tensors."""
    return uses_fused_kernels(tensors[0].device) and all(x.dtype == torch.float32 for x in tensors)


def landmark_term(inputs: LossInputs) -> Tensor:
    """The landmark loss of a rendered batch."""
    batch, camera = inputs.batch, inputs.batch.camera
    world = inputs.head.landmarks(inputs.rendering.surface.vertices)[:, :N_FACE_LANDMARKS]
    return landmark_loss(
        project(world, camera), batch.landmarks_px, batch.landmark_confidence, camera.image_size
    )


def eye_closure_term(inputs: LossInputs) -> Tensor:
    """The eye closure loss of a rendered batch; its gradient reaches only the expression."""
    batch, surface = inputs.batch, inputs.rendering.surface
    params = surface.params
    # detached: an eyelid that is too low must be raised by the expression, not by moving the head
    only_expr = params.detach().replace(expr=params.expr)
    rotations = None if surface.rotations is None else surface.rotations.detach()
    world = inputs.head.plain_landmarks(only_expr, slice(N_FACE_LANDMARKS), rotations)
    pixels = project(world, batch.camera)
    return eye_closure_loss(pixels, batch.eye_height_px, inputs.semantic_trust, batch.camera.image_size[0])
