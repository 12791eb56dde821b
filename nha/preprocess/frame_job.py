"""A frame on its way through the stages of preprocessing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from nha.data.dataset_folder import FramePaths, Keypoints
from nha.data.video_io import iterate_frames
from nha.preprocess.estimators import Face, Frame
from nha.preprocess.options import PreprocessOptions
from nha.preprocess.workspace import Observation


def frames_of(options: PreprocessOptions) -> Iterator[tuple[int, np.ndarray]]:
    """Number and picture (uint8 [H, W, 3]) of each frame that the options take from the video."""
    for frame_id, rgb in enumerate(iterate_frames(options.video)):
        if options.max_frames and frame_id >= options.max_frames:
            return
        yield frame_id, rgb


def choose_face(faces: list[Face], previous: Face | None) -> Face | None:
    """Of several faces the one closest to the previous frame's; without a previous one, the largest."""
    if not faces:
        return None
    if previous is not None:
        return min(faces, key=lambda face: float(np.linalg.norm(face.centre_px - previous.centre_px)))
    return max(faces, key=lambda face: float(np.prod(np.ptp(face.landmarks_px, axis=0))))


@dataclass
class FrameJob:
    """A frame on its way through the stages, with what they have found; None is not known (yet).

    original: uint8 [h, w, 3], the video's own picture, where it is to be kept; matte, parsing, segmentation:
    uint8 [H, W] as on disk; normals: uint8 [H, W, 3] as on disk.
    """

    frame: Frame
    paths: FramePaths
    original: np.ndarray | None = None
    observation: Observation | None = None
    keypoints: Keypoints | None = None
    matte: np.ndarray | None = None
    parsing: np.ndarray | None = None
    segmentation: np.ndarray | None = None
    normals: np.ndarray | None = None
    hopeless: bool = False

    @property
    def frame_id(self) -> int:
        return self.frame.frame_id

    @property
    def face(self) -> Face | None:
        return self.observation.face

    @property
    def is_annotated(self) -> bool:
        """Whether the stages after the landmarks have work to do."""
        return self.face is not None and not self.hopeless
