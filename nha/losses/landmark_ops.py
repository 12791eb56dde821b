"""The landmark terms as one kernel launch each way; the kernels are in `nha/losses/landmark_triton.py`."""

from __future__ import annotations

import torch
from torch import Tensor

from nha.core.constants import constant
from nha.core.conventions import EYE_CLOSURE_PAIRS
from nha.core.launches import register_launches


def fused_landmark_loss(
    landmarks_px: Tensor, target_px: Tensor, confidence: Tensor, counts: Tensor, scale: tuple[float, float]
) -> Tensor:
    """`nha.losses.landmarks.landmark_loss` in float32.

    Args:
        landmarks_px: [N, L, C], pixels in the first two of C columns; the others are ignored.
        target_px: [N, L, 2].
        confidence: [N, L].
        counts: int32 [L], 1 where a point counts, else 0.
        scale: factors of the distances in x and y.
    """
    return _LandmarkLoss.apply(landmarks_px, target_px, confidence, counts, scale)


def fused_eye_closure_loss(
    landmarks_px: Tensor, eye_heights_px: Tensor, semantic_trust: Tensor, image_height: int, eps: float
) -> Tensor:
    """`nha.losses.landmarks.eye_closure_loss` in float32.

    Args:
        landmarks_px: [N, L, C], pixels in the first two of C columns; the others are ignored.
        eye_heights_px: [N, 2].
        semantic_trust: [N].
        image_height: in pixels.
        eps: added to squared distances, which are relative to the image height.
    """
    return _EyeClosureLoss.apply(landmarks_px, eye_heights_px, semantic_trust, image_height, eps)


class _LandmarkLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, points: Tensor, target: Tensor, confidence: Tensor, counts: Tensor, scale) -> Tensor:
        tensors = points.contiguous(), target.contiguous(), confidence.contiguous(), counts
        loss = points.new_empty(())
        torch.ops.nha.landmark_loss(*tensors, *scale, loss)
        ctx.save_for_backward(*tensors)
        ctx.scale = scale
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, upstream: Tensor) -> tuple[Tensor | None, ...]:
        gradient = torch.empty_like(ctx.saved_tensors[0])
        torch.ops.nha.landmark_loss_backward(*ctx.saved_tensors, *ctx.scale, upstream, gradient)
        return gradient, None, None, None, None


class _EyeClosureLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, points: Tensor, heights: Tensor, trust: Tensor, image_height: int, eps: float) -> Tensor:
        pairs = constant(EYE_CLOSURE_PAIRS, points, torch.int32)
        tensors = points.contiguous(), heights.contiguous(), trust.contiguous(), pairs
        loss = points.new_empty(())
        torch.ops.nha.eye_closure_loss(*tensors, float(image_height), eps, loss)
        ctx.save_for_backward(*tensors)
        ctx.settings = float(image_height), eps
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, upstream: Tensor) -> tuple[Tensor | None, ...]:
        gradient = torch.empty_like(ctx.saved_tensors[0])
        torch.ops.nha.eye_closure_loss_backward(*ctx.saved_tensors, *ctx.settings, upstream, gradient)
        return gradient, None, None, None, None


# --- the operations -----------------------------------------------------------------------------------------------


def _difference(points: Tensor, target: Tensor, confidence: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Differences [N, L, 2] in pixels, and confidences [N, L], both 0 where a point does not count."""
    counted = torch.where(counts > 0, confidence, 0)
    return torch.where(counted[..., None] > 0, points[..., :2] - target, 0), counted


def _landmark_loss_twin(
    points: Tensor,
    target: Tensor,
    confidence: Tensor,
    counts: Tensor,
    scale_x: float,
    scale_y: float,
    loss: Tensor,
) -> None:
    difference, counted = _difference(points, target, confidence, counts)
    x, y = difference.abs().unbind(-1)
    loss.copy_(((x * scale_x + y * scale_y) * counted).mean())


def _landmark_loss_backward_twin(
    points: Tensor,
    target: Tensor,
    confidence: Tensor,
    counts: Tensor,
    scale_x: float,
    scale_y: float,
    upstream: Tensor,
    gradient: Tensor,
) -> None:
    difference, counted = _difference(points, target, confidence, counts)
    factor = upstream * counted / counted.numel()
    gradient.zero_()
    gradient[..., 0] = difference[..., 0].sign() * scale_x * factor
    gradient[..., 1] = difference[..., 1].sign() * scale_y * factor


def _lids(
    points: Tensor, heights: Tensor, pairs: Tensor, image_height: float, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Of the lid pairs: differences [N, 4, 2], openings [N, 4] and the openings' errors, in image heights."""
    upper, lower = pairs.long().unbind(1)
    difference = (points[:, upper, :2] - points[:, lower, :2]) / image_height
    opening = (difference.square().sum(-1) + eps).sqrt()
    return difference, opening, opening - heights[:, [1, 1, 0, 0]] / image_height


def _eye_closure_loss_twin(
    points: Tensor,
    heights: Tensor,
    trust: Tensor,
    pairs: Tensor,
    image_height: float,
    eps: float,
    loss: Tensor,
) -> None:
    error = _lids(points, heights, pairs, image_height, eps)[2]
    loss.copy_((error.abs().sum(1) * trust).sum() / len(points))


def _eye_closure_loss_backward_twin(
    points: Tensor,
    heights: Tensor,
    trust: Tensor,
    pairs: Tensor,
    image_height: float,
    eps: float,
    upstream: Tensor,
    gradient: Tensor,
) -> None:
    difference, opening, error = _lids(points, heights, pairs, image_height, eps)
    of_opening = error.sign() * (upstream * trust / len(points))[:, None]
    of_upper = difference * (of_opening / (opening * image_height))[..., None]
    upper, lower = pairs.long().unbind(1)
    gradient.zero_()
    gradient[:, upper, :2] = of_upper
    gradient[:, lower, :2] = -of_upper


_LANDMARKS = "Tensor points, Tensor target, Tensor confidence, Tensor counts, float scale_x, float scale_y"
_LIDS = "Tensor points, Tensor heights, Tensor trust, Tensor pairs, float image_height, float eps"

register_launches(
    "nha.losses.landmark_triton",
    {
        f"landmark_loss({_LANDMARKS}, Tensor(a!) loss) -> ()": _landmark_loss_twin,
        f"landmark_loss_backward({_LANDMARKS}, Tensor upstream, Tensor(a!) gradient) -> ()": (
            _landmark_loss_backward_twin
        ),
        f"eye_closure_loss({_LIDS}, Tensor(a!) loss) -> ()": _eye_closure_loss_twin,
        f"eye_closure_loss_backward({_LIDS}, Tensor upstream, Tensor(a!) gradient) -> ()": (
            _eye_closure_loss_backward_twin
        ),
    },
)
