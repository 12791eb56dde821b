"""Whether the drawn mouth and eyelids open as far as those of the video: slopes of landmark distances over frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from nha.core.conventions import N_FACE_LANDMARKS
from nha.evaluation.rendered_frames import RenderedFrames
from nha.head.landmark_openings import OPENINGS, opening_slopes, relative_openings
from nha.head.model import HeadModel
from nha.render.camera import project


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
    return Openings(relative_openings(project(points, batch.camera)[..., :2]), relative_openings(annotated))


def joined_openings(parts: list[Openings]) -> Openings:
    """The openings of the frames of several batches."""

    def join(field: str) -> dict[str, np.ndarray]:
        return {name: np.concatenate([getattr(part, field)[name] for part in parts]) for name in OPENINGS}

    return Openings(join("drawn"), join("annotated"))


def slopes(measured: Openings) -> dict[str, float]:
    """Slopes and correlations of the drawn over the annotated openings, see `opening_slopes`."""
    return opening_slopes(measured.drawn, measured.annotated)
