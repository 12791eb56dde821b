"""The table of the loss terms: function, G-buffer channels and weight schedule of each.

`docs/method.md`, section 4 gives the formulae.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from nha.core.schedules import geometric_between, linear_between
from nha.losses import (
    contact,
    coverage,
    detail,
    landmarks,
    normals,
    perceptual,
    photometric,
    priors,
    semantics,
    silhouette,
    surface,
)
from nha.losses.hole_filling import SegmentationPair, hole_filling_losses
from nha.losses.inputs import LossInputs
from nha.losses.table import LossTable

# value of the weight's setting, index of the stage (0 geometry, 1 texture, 2 joint), epoch of the run -> weight
Schedule = Callable[[Any, int, float], float]


def per_stage(value: float | tuple[float, float, float], stage: int, epoch: float) -> float:
    """One weight for each stage, or one number for all stages."""
    return value if isinstance(value, (int, float)) else value[stage]


def linear(fix_points: list[tuple[float, float]], stage: int, epoch: float) -> float:
    """Linear between [weight, epoch] fix points, constant outside."""
    return linear_between(fix_points, epoch)


def geometric(fix_points: list[tuple[float, float]], stage: int, epoch: float) -> float:
    """Geometric between [weight, epoch] fix points, constant outside."""
    return geometric_between(fix_points, epoch)


@dataclass(frozen=True)
class Term:
    """One loss term.

    Attributes:
        name: name in the log; the weight is the setting `w_<name>` unless `weight` is given.
        function: `LossInputs` to an unweighted scalar; with `metric`, to a pair of the scalar and the metric's value,
            or to a `SegmentationPair`: its hole-filling loss is the term, its intersection over union the metric.
        channels: names of the G-buffer channels that the function reads (see `nha.render.gbuffer`).
        schedule: function from the setting of the weight, a stage and an epoch to the weight.
        metric: name of the second value in the log.
        colours: whether the function reads the rendered colours. The texture and the joint stage have the terms of the
            table that do, the geometry and the joint stage all others.
        sums_over_frames: whether the value is a sum over the frames of the batch instead of a mean.
        optional: whether the term is left out of a stage in which its weight is 0 throughout.
        weight: value of the weight's setting, for a term without a setting in `LossSettings`.
    """

    name: str
    function: Callable[[LossInputs], Any]
    channels: tuple[str, ...] = ()
    schedule: Schedule = per_stage
    metric: str | None = None
    colours: bool = False
    sums_over_frames: bool = False
    optional: bool = False
    weight: Any = None

    def weight_at(self, settings: Any, stage: int, epoch: float) -> float:
        """The weight in a stage (0 to 2) at an epoch of the run; settings: an object with `w_<name>`."""
        value = getattr(settings, f"w_{self.name}") if self.weight is None else self.weight
        return self.schedule(value, stage, epoch)


COORDS, NORMALS, HARD, SOFT = ("screen_coords",), ("normals",), ("hard_labels",), ("soft_labels",)
LABELS = (*COORDS, *HARD, *SOFT)

TERMS: Mapping[str, Term] = {
    term.name: term
    for term in (
        Term("rgb", photometric.rgb_term, COORDS, colours=True),
        Term("perc", perceptual.perceptual_term, colours=True),
        Term("image", coverage.composite_term, COORDS, colours=True, optional=True),
        Term("gradient", detail.gradient_term, COORDS, colours=True, optional=True),
        Term("feature", detail.feature_term, COORDS, colours=True, optional=True),
        Term("cover", coverage.coverage_term, optional=True),
        Term("lap", surface.laplacian_term, schedule=geometric),
        Term("edge", surface.edge_length_term),
        Term("lmk", landmarks.landmark_term),
        Term("eye_closed", landmarks.eye_closure_term),
        Term("gap", contact.gap_term, optional=True),
        Term("contact", contact.contact_term, optional=True),
        Term("stretch", contact.stretch_term, optional=True),
        Term("norm", normals.normal_term, (*NORMALS, *COORDS, *HARD)),
        Term("silh", silhouette.silhouette_term, COORDS, linear, metric="iou"),
        Term("shape_reg", priors.shape_term),
        Term("expr_reg", priors.expression_term, sums_over_frames=True),
        Term("pose_reg", priors.pose_term, sums_over_frames=True),
        Term("surface_reg", surface.consistency_term),
        Term("semantic_ear", semantics.ear_term, LABELS, metric="semantic_iou_ear"),
        Term("semantic_eye", semantics.eye_term, (*COORDS, *HARD), metric="semantic_iou_eye"),
        Term("semantic_mouth", semantics.mouth_term, (*COORDS, *HARD), metric="semantic_iou_mouth"),
        Term("semantic_hair", semantics.hair_term, LABELS, linear, metric="semantic_iou_hair"),
    )
}


def evaluate_terms(terms: Iterable[Term], inputs: LossInputs) -> LossTable:
    """The unweighted losses and the metrics of one batch."""
    terms = tuple(terms)
    values = {term.name: term.function(inputs) for term in terms}
    pairs = {name: value for name, value in values.items() if isinstance(value, SegmentationPair)}
    if pairs:
        losses, ious = hole_filling_losses(list(pairs.values()), inputs.screen_coords)
        values |= zip(pairs, zip(losses.unbind(), ious.unbind(), strict=True), strict=True)
    metrics: dict[str, Tensor] = {}
    for term in terms:
        if term.metric is not None:
            values[term.name], metrics[term.metric] = values[term.name]
    return LossTable(values, metrics)
