"""The frames of a dataset folder as the tracker reads them: landmarks in memory, images when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from nha.core.conventions import N_FACE_LANDMARKS, N_LANDMARKS, Parsing
from nha.core.errors import UserError
from nha.core.fingerprint import files_digest
from nha.data.dataset_folder import DatasetFolder, FramePaths, read_keypoints, read_labels, read_rgb

# Landmarks below this confidence are left out of camera and pose estimates. `docs/method.md`, section 7.
MIN_CONFIDENCE = 0.2
# A frame with fewer confident landmarks than this counts as a frame without landmarks.
MIN_LANDMARKS = 12

# Labels whose pixels show the head model's surface: not hair, clothes, jewellery or the inside of the mouth.
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
_MAX_LISTED_FILES = 5


@dataclass(frozen=True)
class Observation:
    """Images and landmarks of N frames.

    Attributes:
        images: [N, 3, H, W], RGB in 0..1.
        face_masks: [N, 1, H, W], 1 on the face, or None.
        landmarks_px: [N, 70, 2].
        confidence: [N, 70] in 0..1.
    """

    images: Tensor
    face_masks: Tensor | None
    landmarks_px: Tensor
    confidence: Tensor

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width)."""
        return tuple(self.images.shape[2:])

    def to(self, device: torch.device) -> Observation:
        """A copy on `device`."""
        moved = (None if t is None else t.to(device) for t in vars(self).values())
        return Observation(*moved)


@dataclass(frozen=True)
class TrackingFrames:
    """F frames of a dataset folder.

    Attributes:
        frame_ids: F ids, ascending, not necessarily contiguous.
        paths: their files.
        image_size: (height, width) of the tracked images.
        landmarks_px: [F, 70, 2] at that size, the irises last in the mesh's order.
        confidence: [F, 70] in 0..1, 0 = unknown.
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
        return (self.confidence[:, :N_FACE_LANDMARKS] > MIN_CONFIDENCE).sum(1) >= MIN_LANDMARKS

    @property
    def input_digest(self) -> str:
        """Fingerprint of the images, landmarks and parsing of all frames, see `nha.core.fingerprint`."""
        files = (path for paths in self.paths for path in (paths.image, paths.keypoints, paths.parsing))
        return files_digest(files, self.paths[0].folder.parent)

    def ids_of(self, rows: Sequence[int] | Tensor) -> tuple[int, ...]:
        """Frame ids of row numbers."""
        return tuple(self.frame_ids[int(row)] for row in rows)

    def rows_of(self, frame_ids: Sequence[int], setting: str) -> list[int]:
        """Row numbers of frame ids.

        Raises:
            UserError: the dataset has no such frame; the message names `setting`.
        """
        rows = {frame_id: row for row, frame_id in enumerate(self.frame_ids)}
        if absent := [frame_id for frame_id in frame_ids if frame_id not in rows]:
            raise UserError(
                f"{setting} names frames {absent}, which the dataset does not have; choose others"
            )
        return [rows[frame_id] for frame_id in frame_ids]

    def observe(self, rows: Sequence[int], device: torch.device, *, with_masks: bool) -> Observation:
        """Read the images, and the face masks if asked for, of some frames."""
        rows = list(rows)
        return Observation(
            images=self._images(rows),
            face_masks=self._face_masks(rows) if with_masks else None,
            landmarks_px=self.landmarks_px[rows],
            confidence=self.confidence[rows],
        ).to(device)

    def _images(self, rows: Sequence[int]) -> Tensor:
        """[N, 3, H, W], RGB in 0..1."""
        height, width = self.image_size
        images = []
        for row in rows:
            rgb = read_rgb(self.paths[row].image)
            if rgb.shape[:2] != (height, width):
                rgb = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
            images.append(torch.from_numpy(rgb))
        return torch.stack(images).permute(0, 3, 1, 2).float() / 255

    def _face_masks(self, rows: Sequence[int]) -> Tensor:
        """[N, 1, H, W]: 1 where the parsing has a face label, and everywhere in frames without parsing."""
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

    Args:
        data_path: folder written by `nha preprocess`.
        downscale_factor: images are tracked at their size divided by this.

    Raises:
        UserError: the folder or files are missing (they are listed), images differ in size, or no frame has
            landmarks.
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
    confidence = np.where(_near_image(landmarks, full_size), confidence, 0).clip(0, 1)
    assert landmarks.shape == (len(paths), N_LANDMARKS, 2)
    frames = TrackingFrames(
        frame_ids=tuple(frame_ids),
        paths=tuple(paths),
        image_size=image_size,
        landmarks_px=torch.from_numpy((landmarks * scale).astype(np.float32)),
        confidence=torch.from_numpy(confidence.astype(np.float32)),
    )
    if not bool(frames.has_landmarks.any()):
        raise UserError(f"no frame of '{data_path}' has landmarks of a face; make them with `nha preprocess`")
    return frames


def _near_image(landmarks_px: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Finite points on the image or near it; detectors write -1 or 1e9 for points that they did not find."""
    height, width = image_size
    size = np.float32([width, height])
    return (np.isfinite(landmarks_px) & (landmarks_px > -0.5 * size) & (landmarks_px < 1.5 * size)).all(-1)


def _check_files(folder: DatasetFolder, paths: Sequence[FramePaths]) -> None:
    missing = [file for path in paths for file in (path.image, path.keypoints) if not file.is_file()]
    if missing:
        names = ", ".join(str(file.relative_to(folder.root)) for file in missing[:_MAX_LISTED_FILES])
        more = f" and {len(missing) - _MAX_LISTED_FILES} more" if len(missing) > _MAX_LISTED_FILES else ""
        raise UserError(
            f"'{folder.root}' lacks {names}{more}; complete it with `nha preprocess`, or remove the frames"
        )
