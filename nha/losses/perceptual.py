"""The perceptual term: distance between features of a face recognition network. `docs/method.md`, section 4."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from nha.core.errors import UserError
from nha.core.images import erode
from nha.core.optional_files import optional_file
from nha.losses.inputs import LossInputs
from nha.losses.shapes import expect_shape
from nha.nets.iresnet import IResNet18, load_iresnet18
from nha.nets.weights import advice

FeatureNet = Callable[[Tensor], Sequence[Tensor]]  # rgb in -1..1 [N, 3, H, W] -> feature maps [N, C, h, w]
CONTENT_TAP = (
    1  # layer2, whose features are compared element by element; Gram matrices are compared at every tap
)
SIZE_IN_RADII = 50  # the erosion radius is the longer image side divided by this


def perceptual_loss(feature_net: FeatureNet, rgb01: Tensor, target_rgb01: Tensor, alpha: Tensor) -> Tensor:
    """Perceptual distance between rendered and target images.

    Only `rgb01` receives a gradient, and only inside the silhouette, more than a fiftieth of the image size from its
    border: the edge of the silhouette is a strong feature that the texture cannot change.

    Args:
        feature_net: images in -1..1 to feature maps.
        rgb01, target_rgb01: [N, 3, H, W] in 0..1; the target has a white background (`whiten_background`).
        alpha: [N, 1, H, W].

    Returns:
        A scalar, the mean over frames.
    """
    n, _, height, width = rgb01.shape
    expect_shape("target_rgb01", target_rgb01, n, 3, height, width)
    expect_shape("alpha", alpha, n, 1, height, width)
    interior = erode(alpha > 0.5, max(height, width) // SIZE_IN_RADII)
    rendered = torch.where(interior, rgb01, rgb01.detach())
    with (
        torch.no_grad()
    ):  # unlike the photometric term, this one gives no gradient to the positions of the surface
        target_features = feature_net(target_rgb01 * 2 - 1)
    return perceptual_distance(feature_net(rendered * 2 - 1), target_features)


def perceptual_distance(features: Sequence[Tensor], target_features: Sequence[Tensor]) -> Tensor:
    """L1 of the layer-2 features plus L1 of the Gram matrices of all layers, each a mean over all elements.

    Args:
        features, target_features: four maps [N, C, h, w] each, from fine to coarse.

    Returns:
        A scalar.
    """
    content = F.l1_loss(features[CONTENT_TAP], target_features[CONTENT_TAP])
    style = [
        F.l1_loss(gram_matrix(f), gram_matrix(t)) for f, t in zip(features, target_features, strict=True)
    ]
    return content + sum(style)


def gram_matrix(features: Tensor) -> Tensor:
    """Gram matrices F F^T / (C H W) [N, C, C] of feature maps [N, C, H, W]."""
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / flat[0].numel()


def arcface_for(weights_path: Path, w_perc: Iterable[float]) -> IResNet18 | None:
    """The ArcFace feature network, or None where the perceptual term has weight 0 in every stage.

    Args:
        weights_path: file with the published ArcFace weights.
        w_perc: weights of the term.

    Raises:
        UserError: the term has a weight, and the file is missing or holds something else.
    """
    if not any(w_perc):
        return None
    if not Path(weights_path).is_file():
        raise UserError(
            f"the perceptual term needs ArcFace weights, but '{weights_path}' does not exist; "
            f"{advice(optional_file('arcface').origin)}, or leave the term out with --perceptual none"
        )
    return load_iresnet18(weights_path)


def perceptual_term(inputs: LossInputs) -> Tensor:
    """The perceptual distance of a rendered batch, computed by `inputs.perceptual`."""
    rendering = inputs.rendering
    return inputs.perceptual(rendering.rgb01, inputs.target_rgb01, rendering.alpha)
