"""What an estimator of each annotation must offer; `packs` picks one estimator for each.

Every estimator sees frames after crop, pad and scale, and answers in their pixels (measured from the top
left corner, centre of the first pixel at 0.5).

A matting, parsing or normal estimator that works on several frames at once also has

    batch_size: int
    def matte_batch | parsing_batch | normals_batch(self, inputs) -> list of answers

where `inputs` holds the arguments of up to `batch_size` calls of the single method, in the frames' order.
`stream.several_at_once` uses it where it is there.

Of a matting or parsing estimator whose answer depends on a few frames before, `lookback: int` says on how many; a
frame without a face counts as one. It must give the same answer whether or not it has seen frames before those.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from nha.preprocess.crop import FrameTransform

IRIS_NOT_FOUND = -1.0


@dataclass(frozen=True)
class Frame:
    """One frame as estimators see it.

    frame_id: number in the video, from 0; rgb: uint8 [H, W, 3]; transform: how rgb came from the video's
    frame.
    """

    frame_id: int
    rgb: np.ndarray
    transform: FrameTransform


@dataclass(frozen=True)
class Face:
    """One face in a frame.

    landmarks_px: float32 [68, 2] iBUG points; depth: float32 [68], 0 where the estimator gives none;
    confidence: float32 [68] in 0..1; mesh_px: float32 [M, 3], the estimator's own dense surface (x, y and z
    in pixels, z away from the camera), M = 0 where it has none.
    """

    landmarks_px: np.ndarray
    depth: np.ndarray
    confidence: np.ndarray
    mesh_px: np.ndarray

    @property
    def centre_px(self) -> np.ndarray:
        """Mean of the landmarks, [2]."""
        return self.landmarks_px.mean(axis=0)

    @property
    def bounding_box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the landmarks."""
        (left, top), (right, bottom) = self.landmarks_px.min(axis=0), self.landmarks_px.max(axis=0)
        return float(left), float(top), float(right), float(bottom)


class LandmarkEstimator(Protocol):
    """Finds faces.

    `sequential` says that an answer depends on the frames before (a tracker): such an estimator is shown
    every frame from the first on, also those whose answer is on disk already, so that a resumed run gives
    what an unbroken one would have given.
    """

    name: str
    sequential: bool

    def faces(self, frame: Frame) -> list[Face]:
        """All faces in the frame; an empty list where there is none."""

    def reset(self) -> None:
        """Forget the frames seen so far."""


class IrisEstimator(Protocol):
    """Finds the two irises of a face."""

    name: str

    def irises(self, frame: Frame, face: Face) -> np.ndarray:
        """float32 [2, 2]: the person's right iris (landmarks 36..41), then the left; -1 where not found."""


class MattingEstimator(Protocol):
    """Separates the person from the background; `sequential` as for landmarks."""

    name: str
    sequential: bool

    def matte(self, frame: Frame) -> np.ndarray:
        """float32 [H, W] in 0..1: how much of each pixel the person covers."""


class ParsingEstimator(Protocol):
    """Labels every pixel."""

    name: str

    def parsing(self, frame: Frame, face: Face, matte: np.ndarray) -> np.ndarray:
        """uint8 [H, W], labels of `nha.core.conventions.Parsing`, with the person's left and right."""


class NormalEstimator(Protocol):
    """Estimates the surface's normals."""

    name: str

    def normals(self, frame: Frame, face: Face, segmentation: np.ndarray) -> np.ndarray:
        """float32 [H, W, 3]: unit normals, x right, y down, z to the camera; 0 where unknown."""


@dataclass(frozen=True)
class EstimatorPack:
    """One estimator for each annotation, and what to call when they are no longer needed."""

    landmarks: LandmarkEstimator
    iris: IrisEstimator
    matting: MattingEstimator
    parsing: ParsingEstimator
    normals: NormalEstimator
    close: Callable[[], None] = lambda: None

    @property
    def names(self) -> dict[str, str]:
        """Annotation -> name of its estimator, for the dataset's records."""
        annotations = ("landmarks", "iris", "matting", "parsing", "normals")
        return {annotation: getattr(self, annotation).name for annotation in annotations}
