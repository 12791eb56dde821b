"""Interfaces of the estimators, one per annotation, and the frames and faces that they exchange.

An estimator receives frames after crop, padding and scaling and returns results in their pixel coordinates (origin at
the top left corner, centre of the first pixel at 0.5). To add one, write a class that inherits from the protocol of its
annotation and add a row to `nha.preprocess.registry.ESTIMATORS`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from nha.core.device import pick_device
from nha.preprocess.crop import FrameTransform
from nha.preprocess.options import PreprocessOptions

if TYPE_CHECKING:
    import torch
    from typing_extensions import Self

IRIS_NOT_FOUND = -1.0


@dataclass(frozen=True)
class Frame:
    """One video frame as estimators receive it.

    Attributes:
        frame_id: number in the video, from 0.
        rgb: uint8 [H, W, 3].
        transform: maps the pixels of the original video frame to those of `rgb`.
        original: uint8 [h, w, 3], the video frame before that transform; None after face detection, or if `rgb` is it.
    """

    frame_id: int
    rgb: np.ndarray
    transform: FrameTransform
    original: np.ndarray | None = None

    @property
    def video_rgb(self) -> np.ndarray:
        """The video frame at its own resolution, where it is available, else `rgb`."""
        return self.rgb if self.original is None else self.original


@dataclass(frozen=True)
class Face:
    """One face in a frame.

    Attributes:
        landmarks_px: float32 [68, 2], iBUG landmarks.
        depth: float32 [68], 0 if the estimator gives none.
        confidence: float32 [68] in 0..1.
        mesh_px: float32 [M, 3], dense face mesh in pixels (x right, y down, z away from the camera); M is 0 if
            the estimator has none.
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
        """Left, top, right and bottom of the landmarks in pixels."""
        (left, top), (right, bottom) = self.landmarks_px.min(axis=0), self.landmarks_px.max(axis=0)
        return float(left), float(top), float(right), float(bottom)


@dataclass(frozen=True)
class EstimatorContext:
    """What is known when an estimator is created.

    Attributes:
        options: settings of the run.
        weights: the estimator's weight file, None if its row in the registry names none.
        needs_mesh: whether the selected parsing or normals need a face mesh for every face.
    """

    options: PreprocessOptions
    weights: Path | None = None
    needs_mesh: bool = False

    @property
    def device(self) -> torch.device:
        """The device of `options`; UserError if it does not exist on this machine."""
        return pick_device(self.options.device)


class Estimator(Protocol):
    """What all estimators have in common.

    Attributes:
        name: recorded in `dataset_info.json`. A run is only resumed with estimators of the same names.
        sequential: results depend on all earlier frames, as those of a tracker. The estimator then receives
            every frame from the first on, including frames whose result is stored already, so that a resumed
            run gives the same results as an uninterrupted one.
        lookback: number of preceding frames that a result depends on (a frame without a face counts). Results
            must not depend on whether frames before those were processed.
        batch_size: number of frames to process at once. If it is larger than 1, the class also has a method
            `faces_batch`, `irises_batch`, `matte_batch`, `parsing_batch` or `normals_batch`. It takes a list
            with the arguments of up to `batch_size` calls of the single method, in the order of the frames,
            and returns the list of their results.
        needs_mesh: uses `Face.mesh_px`, which then must not be empty.
    """

    name: str
    sequential: bool = False
    lookback: int = 0
    batch_size: int = 1
    needs_mesh: bool = False

    @classmethod
    def create(cls, context: EstimatorContext) -> Self:
        """Make the estimator for a run. Raises UserError if a package or file is missing or does not fit."""
        return cls()

    def close(self) -> None:
        """Free models that were loaded."""


class LandmarkEstimator(Estimator, Protocol):
    """Detects faces and their landmarks.

    Attributes:
        has_mesh: fills `Face.mesh_px`.
    """

    has_mesh: bool = False

    def faces(self, frame: Frame) -> list[Face]:
        """All faces in the frame; an empty list if there is none."""

    def reset(self) -> None:
        """Reset the state: no frame has been processed."""

    def orientation_scores(self, rgb: np.ndarray) -> np.ndarray | None:
        """Score of the best face in an image after 0 to 3 quarter turns counter-clockwise, [4]; None if unknown.

        `rgb` is uint8 [H, W, 3]. A video with sideways or upside-down faces is recognised by these scores.
        """
        return None


class IrisEstimator(Estimator, Protocol):
    """Locates the two irises of a face."""

    def irises(self, frame: Frame, face: Face) -> np.ndarray:
        """Iris centres in pixels, float32 [2, 2].

        The person's right iris (landmarks 36..41) comes first, then the left; both values are -1 if an iris was
        not found.
        """


class MattingEstimator(Estimator, Protocol):
    """Separates the person from the background."""

    def matte(self, frame: Frame) -> np.ndarray:
        """Share of each pixel that the person covers, float32 [H, W] in 0..1."""


class ParsingEstimator(Estimator, Protocol):
    """Labels every pixel."""

    def parsing(self, frame: Frame, face: Face, matte: np.ndarray) -> np.ndarray:
        """Labels of `nha.core.conventions.Parsing`, uint8 [H, W]; left and right are the person's.

        `matte` is float32 [H, W] in 0..1.
        """


class NormalEstimator(Estimator, Protocol):
    """Estimates surface normals."""

    def normals(self, frame: Frame, face: Face, segmentation: np.ndarray) -> np.ndarray:
        """Unit normals, float32 [H, W, 3]: x right, y down, z towards the camera; 0 where unknown.

        `segmentation` is uint8 [H, W] with labels of `nha.core.conventions.Segmentation`.
        """


@dataclass(frozen=True)
class EstimatorSet:
    """One estimator for each annotation."""

    landmarks: LandmarkEstimator
    iris: IrisEstimator
    matting: MattingEstimator
    parsing: ParsingEstimator
    normals: NormalEstimator

    @property
    def names(self) -> dict[str, str]:
        """Annotation -> name of its estimator, as recorded with the dataset."""
        return {field.name: getattr(self, field.name).name for field in fields(self)}

    def close(self) -> None:
        """Free the models of all estimators."""
        for field in fields(self):
            getattr(self, field.name).close()
