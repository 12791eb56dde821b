"""The perceptual term: features of a face recognition network are compared. `docs/method.md`, section 4."""

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
CONTENT_TAP = 1  # layer2: the features compared one by one; Gram matrices are compared at every tap
SIZE_IN_RADII = 50  # the erosion radius is the longer image side divided by this


def perceptual_loss(feature_net: FeatureNet, rgb01: Tensor, target_rgb01: Tensor, alpha: Tensor) -> Tensor:
    """Perceptual distance between the rendered and the photographed image.

    rgb01, target_rgb01: [N, 3, H, W] (the target with `whiten_background`); alpha: [N, 1, H, W]. Only `rgb01`
    receives a gradient, and only where alpha is set farther than a fiftieth of the image from its border: the
    silhouette's edge is a strong feature that colours cannot explain. Returns a scalar.
    """
    n, _, height, width = rgb01.shape
    expect_shape("target_rgb01", target_rgb01, n, 3, height, width)
    expect_shape("alpha", alpha, n, 1, height, width)
    interior = erode(alpha > 0.5, max(height, width) // SIZE_IN_RADII)
    rendered = torch.where(interior, rgb01, rgb01.detach())
    with torch.no_grad():  # unlike in the photometric term, the target gives no gradient to the surface
        target_features = feature_net(target_rgb01 * 2 - 1)
    return perceptual_distance(feature_net(rendered * 2 - 1), target_features)


def perceptual_distance(features: Sequence[Tensor], target_features: Sequence[Tensor]) -> Tensor:
    """L1 of the layer-2 features plus L1 of the Gram matrices of all layers, each a mean over all elements.

    features, target_features: four maps [N, C, h, w] each, from fine to coarse. Returns a scalar.
    """
    content = F.l1_loss(features[CONTENT_TAP], target_features[CONTENT_TAP])
    style = [
        F.l1_loss(gram_matrix(f), gram_matrix(t)) for f, t in zip(features, target_features, strict=True)
    ]
    return content + sum(style)


def gram_matrix(features: Tensor) -> Tensor:
    """Channel products F F^T / (C H W): [N, C, H, W] gives [N, C, C]."""
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / flat[0].numel()


def arcface_for(weights_path: Path, w_perc: Iterable[float]) -> IResNet18 | None:
    """The ArcFace feature network, or None where the perceptual term has no weight in any stage.

    Raises UserError where it has weight and the file is missing or holds something else.
    """
    if not any(w_perc):
        return None
    if not Path(weights_path).is_file():
        raise UserError(
            f"the perceptual term needs ArcFace weights, but '{weights_path}' is not there; "
            f"{advice(optional_file('arcface').origin)}, or leave the term out with --perceptual none"
        )
    return load_iresnet18(weights_path)


def perceptual_term(inputs: LossInputs) -> Tensor:
    """The perceptual distance of a rendered batch; `inputs.perceptual` has the feature network."""
    rendering = inputs.rendering
    return inputs.perceptual(rendering.rgb01, inputs.target_rgb01, rendering.alpha)
