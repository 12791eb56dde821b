"""The frames to be tracked: landmarks in memory, pictures read when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from nha.core.conventions import N_LANDMARKS, Parsing
from nha.core.errors import UserError
from nha.data.dataset_folder import DatasetFolder, FramePaths, read_keypoints, read_labels, read_rgb

# Landmarks below this confidence do not enter camera and pose estimates. Method, section 7.
MIN_CONFIDENCE = 0.2
# With fewer confident landmarks than this a frame counts as one without.
MIN_LANDMARKS = 12

# Where the head model's colour means something: not hair, clothes, jewellery or the inside of the mouth.
_FACE_LABELS = (
    Parsing.SKIN,
    Parsing.L_BROW,
    Parsing.R_BROW,
    Parsing.L_EYE,
    Parsing.R_EYE,
    Parsing.NOSE,
    Parsing.U_LIP,
    Parsing.L_LIP,
)
_SHOWN_MISSING = 5


@dataclass(frozen=True)
class TrackingFrames:
    """F frames of a dataset folder.

    frame_ids: F ids, ascending, not necessarily contiguous; paths: their files;
    image_size: (height, width) of the tracked pictures;
    landmarks_px: [F, 70, 2], the irises last in the mesh's order; confidence: [F, 70] in 0..1, 0 = unknown.
    """

    frame_ids: tuple[int, ...]
    paths: tuple[FramePaths, ...]
    image_size: tuple[int, int]
    landmarks_px: Tensor
    confidence: Tensor

    def __len__(self) -> int:
        return len(self.frame_ids)

    @property
    def has_landmarks(self) -> Tensor:
        """Bool [F]: frames with enough confident landmarks to find a pose."""
        return (self.confidence[:, :68] > MIN_CONFIDENCE).sum(1) >= MIN_LANDMARKS

    def rows_of(self, frame_ids: Sequence[int], what: str) -> list[int]:
        """Row numbers of frames. Raises UserError that names `what` setting asks for frames that are absent."""
        rows = {frame_id: row for row, frame_id in enumerate(self.frame_ids)}
        if absent := [frame_id for frame_id in frame_ids if frame_id not in rows]:
            raise UserError(f"{what} names frames {absent}, which the dataset does not have; choose others")
        return [rows[frame_id] for frame_id in frame_ids]

    def pictures(self, rows: Sequence[int]) -> Tensor:
        """Pictures of some frames: [N, 3, H, W], RGB in 0..1."""
        height, width = self.image_size
        pictures = []
        for row in rows:
            rgb = read_rgb(self.paths[row].image)
            if rgb.shape[:2] != (height, width):
                rgb = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
            pictures.append(torch.from_numpy(rgb))
        return torch.stack(pictures).permute(0, 3, 1, 2).float() / 255

    def face_masks(self, rows: Sequence[int]) -> Tensor:
        """1 where the parsing says skin, brow, eye, nose or lip, or where there is no parsing: [N, 1, H, W]."""
        height, width = self.image_size
        masks = []
        for row in rows:
            mask = np.ones((height, width), bool)
            if self.paths[row].parsing.is_file():
                labels = read_labels(self.paths[row].parsing)
                labels = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)
                mask = np.isin(labels, _FACE_LABELS)
            masks.append(torch.from_numpy(mask))
        return torch.stack(masks)[:, None].float()


def read_frames(data_path: str | Path, downscale_factor: float = 1.0) -> TrackingFrames:
    """Read the landmarks of every frame of a dataset folder.

    Raises UserError where the folder or files are missing (they are listed), pictures differ in size, or no
    frame has landmarks.
    """
    folder = DatasetFolder.open(data_path)
    frame_ids = folder.frame_ids()
    paths = [folder.paths(frame_id) for frame_id in frame_ids]
    _check_files(folder, paths)
    keypoints = [read_keypoints(path.keypoints) for path in paths]
    full_size = read_rgb(paths[0].image).shape[:2]
    image_size = tuple(max(1, round(side / downscale_factor)) for side in full_size)
    scale = np.float32([image_size[1] / full_size[1], image_size[0] / full_size[0]])

    landmarks = np.stack([np.concatenate([k.landmarks_px, k.iris_px]) for k in keypoints])
    iris_found = np.stack([(k.iris_px >= 0).all(1) for k in keypoints])
    confidence = np.concatenate([np.stack([k.confidence for k in keypoints]), iris_found], axis=1)
    confidence = np.where(_inside(landmarks, full_size), confidence, 0).clip(0, 1)
    assert landmarks.shape == (len(paths), N_LANDMARKS, 2)
    frames = TrackingFrames(
        frame_ids=tuple(frame_ids),
        paths=tuple(paths),
        image_size=image_size,
        landmarks_px=torch.from_numpy((landmarks * scale).astype(np.float32)),
        confidence=torch.from_numpy(confidence.astype(np.float32)),
    )
    if not bool(frames.has_landmarks.any()):
        raise UserError(
            f"no frame of '{data_path}' has landmarks of a face; make them with video_to_dataset.py"
        )
    return frames


def _inside(landmarks_px: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Points that are numbers and lie on the picture or near it; a detector's -1 or 1e9 is no observation."""
    height, width = image_size
    size = np.float32([width, height])
    return (np.isfinite(landmarks_px) & (landmarks_px > -0.5 * size) & (landmarks_px < 1.5 * size)).all(-1)


def _check_files(folder: DatasetFolder, paths: Sequence[FramePaths]) -> None:
    missing = [file for path in paths for file in (path.image, path.keypoints) if not file.is_file()]
    if missing:
        names = ", ".join(str(file.relative_to(folder.root)) for file in missing[:_SHOWN_MISSING])
        more = f" and {len(missing) - _SHOWN_MISSING} more" if len(missing) > _SHOWN_MISSING else ""
        raise UserError(
            f"'{folder.root}' lacks {names}{more}; complete it with video_to_dataset.py, or remove the frames"
        )
