"""Whether the drawn mouth and eyelids open as far as those of the video: slopes of landmark distances over frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nha.core.conventions import EYE_CLOSURE_PAIRS, N_FACE_LANDMARKS, OUTER_EYE_CORNERS
from nha.evaluation.rendered_frames import RenderedFrames
from nha.head.model import HeadModel
from nha.render.camera import project

# Upper and lower points of the inner lips; the openings are means over the pairs.
LIP_PAIRS = ((61, 67), (62, 66), (63, 65))
OPENINGS: Mapping[str, tuple[tuple[int, int], ...]] = {"lip": LIP_PAIRS, "lid": EYE_CLOSURE_PAIRS}
SMALLEST_MOTION = 1e-3  # standard deviation of an opening, of the eye distance, below which there is no slope


@dataclass(frozen=True)
class Openings:
    """Openings of mouth and eyes in N frames, as parts of the distance between the outer eye corners.

    Attributes:
        drawn: [N] for each name of `OPENINGS`, of the projected landmarks of the rendered mesh.
        annotated: the same of the dataset's landmarks; NaN in frames without landmarks.
    """

    drawn: Mapping[str, np.ndarray]
    annotated: Mapping[str, np.ndarray]


def openings(rendered: RenderedFrames, head: HeadModel) -> Openings:
    """Measure the openings of N rendered frames; head: the avatar's head model."""
    batch = rendered.batch
    points = head.landmarks(rendered.rendering.surface.vertices)[:, :N_FACE_LANDMARKS]
    found = (batch.landmark_confidence > 0).any(1)
    annotated = torch.where(found[:, None, None], batch.landmarks_px, torch.nan)
    return Openings(_opening(project(points, batch.camera)[..., :2]), _opening(annotated))


def _opening(landmarks_px: Tensor) -> dict[str, np.ndarray]:
    def distance(pairs: tuple[tuple[int, int], ...]) -> Tensor:
        upper, lower = torch.tensor(pairs, device=landmarks_px.device).T
        return (landmarks_px[:, upper] - landmarks_px[:, lower]).norm(dim=-1).mean(1)

    unit = distance((OUTER_EYE_CORNERS,))
    return {name: (distance(pairs) / unit).double().cpu().numpy() for name, pairs in OPENINGS.items()}


def joined_openings(parts: list[Openings]) -> Openings:
    """The openings of the frames of several batches."""

    def join(field: str) -> dict[str, np.ndarray]:
        return {name: np.concatenate([getattr(part, field)[name] for part in parts]) for name in OPENINGS}

    return Openings(join("drawn"), join("annotated"))


def slopes(measured: Openings) -> dict[str, float]:
    """Slope of the drawn over the annotated opening (least squares), and their correlation.

    Args:
        measured: the openings of a part's frames.

    Returns:
        "lip_slope", "lip_correlation", "lid_slope" and "lid_correlation"; 1 is right for each. NaN where the annotated
        opening does not change.
    """
    result = {}
    for name in OPENINGS:
        known = np.isfinite(measured.annotated[name]) & np.isfinite(measured.drawn[name])
        drawn, annotated = (v[name][known] for v in (measured.drawn, measured.annotated))
        slope = correlation = float("nan")
        if len(annotated) > 1 and annotated.std() > SMALLEST_MOTION:
            centred = annotated - annotated.mean()
            slope = float(centred @ (drawn - drawn.mean()) / (centred @ centred))
            # |correlation| <= 1: the slope times the ratio of the deviations; 0 for an opening that is drawn constant
            correlation = slope * float(annotated.std() / max(drawn.std(), 1e-12))
        result |= {f"{name}_slope": slope, f"{name}_correlation": correlation}
    return result
