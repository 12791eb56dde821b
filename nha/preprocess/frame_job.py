"""A frame and its annotations while it passes through the steps of preprocessing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nha.core.system import atomic_path
from nha.data.dataset_folder import FramePaths, Keypoints
from nha.data.displayed_frame import DisplayedFrame
from nha.data.video_io import iterate_displayed_frames
from nha.preprocess.estimators import Face, Frame
from nha.preprocess.options import PreprocessOptions


@dataclass(frozen=True)
class FaceDetection:
    """Result of the landmark step for one frame.

    Attributes:
        n_faces: number of faces that were found.
        face: the selected one, None if there is none.
    """

    n_faces: int
    face: Face | None


@dataclass
class FrameJob:
    """A frame with the annotations that were made so far; an annotation is None until its step has run.

    Attributes:
        frame: the frame after crop, padding and scaling.
        paths: its files in the dataset.
        original: uint8 [h, w, 3], the frame as decoded from the video, None unless it is to be stored.
        given_matte: uint8 [H, W], the transparency of the frame or its mask among the inputs; None if it has none.
        detection: the selected face.
        keypoints: landmarks and irises.
        matte, parsing, segmentation: uint8 [H, W], as stored.
        normals: uint8 [H, W, 3], as stored.
        is_rejected: too many frames have no face, so the run will stop with an error.
    """

    frame: Frame
    paths: FramePaths
    original: np.ndarray | None = None
    given_matte: np.ndarray | None = None
    detection: FaceDetection | None = None
    keypoints: Keypoints | None = None
    matte: np.ndarray | None = None
    parsing: np.ndarray | None = None
    segmentation: np.ndarray | None = None
    normals: np.ndarray | None = None
    is_rejected: bool = False

    @property
    def frame_id(self) -> int:
        """Number of the frame in the video."""
        return self.frame.frame_id

    @property
    def face(self) -> Face | None:
        """The selected face."""
        return self.detection.face

    @property
    def is_annotated(self) -> bool:
        """Whether the frame gets annotations besides landmarks."""
        return self.face is not None and not self.is_rejected


def decode_video(options: PreprocessOptions, sample: int = 1) -> Iterator[tuple[int, DisplayedFrame]]:
    """Number and image of the frames that the options select from the video, turned by `rotate`.

    With `sample`, only every so many of them.
    """
    every = options.every * sample
    for number, frame in enumerate(iterate_displayed_frames(options.video, every, quiet=sample > 1)):
        if options.max_frames and number * sample >= options.max_frames:
            return
        if options.quarter_turns:
            images = (frame.rgb, frame.alpha)
            frame = DisplayedFrame(
                *(None if i is None else np.rot90(i, -options.quarter_turns).copy() for i in images)
            )
        yield number * every, frame


def select_face(faces: list[Face], previous: Face | None) -> Face | None:
    """The face closest to the previous frame's; the largest one if there is no previous face."""
    if not faces:
        return None
    if previous is not None:
        return min(faces, key=lambda face: float(np.linalg.norm(face.centre_px - previous.centre_px)))
    return max(faces, key=lambda face: float(np.prod(np.ptp(face.landmarks_px, axis=0))))


def write_detection(path: Path, detection: FaceDetection) -> None:
    """Write a detection without loss of precision, atomically."""
    arrays = {} if detection.face is None else vars(detection.face)
    with atomic_path(path) as partial:
        np.savez(partial, n_faces=detection.n_faces, **arrays)


def read_detection(path: Path) -> FaceDetection:
    """Read what `write_detection` has written."""
    with np.load(path, allow_pickle=False) as stored:
        arrays = dict(stored)
    n_faces = int(arrays.pop("n_faces"))
    return FaceDetection(n_faces, Face(**arrays) if arrays else None)
