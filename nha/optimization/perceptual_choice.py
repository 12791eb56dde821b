"""The choice of the perceptual network where the settings leave it to the files at hand (`--perceptual auto`)."""

from __future__ import annotations

from dataclasses import replace

from nha.core.optional_files import optional_file
from nha.core.system import get_logger
from nha.optimization.config import OptimizationSettings

_logger = get_logger(__name__)


def with_perceptual_network(settings: OptimizationSettings) -> OptimizationSettings:
    """Settings with `perceptual` arcface or none in place of auto, and with the place of the weights.

    auto is arcface where its weights are found, and with `--published`, for which missing weights are an error.
    """
    losses = settings.losses
    if not losses.arcface_weights.is_file() and (found := optional_file("arcface").found()):
        losses = replace(losses, arcface_weights=found[0])
    if losses.perceptual == "auto":
        losses = replace(losses, perceptual=_choice(settings, losses.arcface_weights.is_file()))
    return replace(settings, losses=losses)


def _choice(settings: OptimizationSettings, found: bool) -> str:
    if settings.data.published:
        return "arcface"
    if not any(settings.losses.w_perc):
        return "none"
    if not found:
        _logger.info(
            "no perceptual term: the weights of ArcFace are not at '%s' (see `nha check weights`)",
            settings.losses.arcface_weights,
        )
        return "none"
    if settings.run.pixels_per_image:
        _logger.info("no perceptual term: it needs whole images, not --pixels_per_image")
        return "none"
    _logger.info("perceptual term: ArcFace, %s", settings.losses.arcface_weights)
    return "arcface"
