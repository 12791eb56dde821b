"""What a tracking file records about its origin: the head model that was fitted, and the video.

The keys below are additions to the published format, whose readers ignore them:

    head_name, head_release, head_fingerprint, head_measures   see `nha.head.identity`
    origin_frames       int64 [K], some of the tracked frames
    origin_thumbnails   uint8 [K, 16, 16], their images in grey
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from nha.core.errors import UserError

if TYPE_CHECKING:
    from nha.data.dataset_folder import DatasetFolder

HEAD_KEYS = ("name", "release", "fingerprint", "measures")
N_FRAMES = 12
THUMBNAIL_PX = 16
# The brightest 5 % of the differences of two thumbnails, of 255. The same frame at another scale stays below 3.
DIFFERENT_ABOVE = 10.0


@dataclass(frozen=True, eq=False)
class TrackingOrigin:
    """The head model and the video of a tracking file; fields are empty where they were not recorded.

    Attributes:
        head: identity of the head model (`nha.head.assets.HeadAssets.identity`).
        frames: int64 [K], ids of some of the frames.
        thumbnails: uint8 [K, 16, 16], the images of these frames in grey.
    """

    head: Mapping[str, str] = field(default_factory=dict)
    frames: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    thumbnails: np.ndarray = field(
        default_factory=lambda: np.zeros((0, THUMBNAIL_PX, THUMBNAIL_PX), np.uint8)
    )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TrackingOrigin) and (
            dict(self.head) == dict(other.head)
            and np.array_equal(self.frames, other.frames)
            and np.array_equal(self.thumbnails, other.thumbnails)
        )

    @classmethod
    def of(
        cls, folder: DatasetFolder, frame_ids: Sequence[int], head: Mapping[str, str] | None = None
    ) -> TrackingOrigin:
        """The origin of a tracking of these frames of a dataset. Frames without a readable image are left out."""
        rows = np.linspace(0, len(frame_ids) - 1, min(N_FRAMES, len(frame_ids))).round().astype(int)
        found = {int(frame_ids[row]): _thumbnail(folder, int(frame_ids[row])) for row in rows}
        found = {frame_id: image for frame_id, image in found.items() if image is not None}
        if not found:
            return cls(dict(head or {}))
        return cls(dict(head or {}), np.array(list(found), np.int64), np.stack(list(found.values())))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> TrackingOrigin:
        """The origin among the arrays of a tracking file; empty for files without these keys."""
        head = {key: str(arrays[f"head_{key}"]) for key in HEAD_KEYS if f"head_{key}" in arrays}
        frames, thumbnails = arrays.get("origin_frames"), arrays.get("origin_thumbnails")
        if frames is None or thumbnails is None or thumbnails.shape != (len(frames), *2 * (THUMBNAIL_PX,)):
            return cls(head)
        return cls(head, frames.astype(np.int64), thumbnails.astype(np.uint8))

    def as_arrays(self) -> dict[str, np.ndarray]:
        """The keys of the tracking file; none where nothing is known."""
        arrays = {f"head_{key}": np.asarray(value, np.str_) for key, value in self.head.items()}
        if len(self.frames):
            arrays |= {"origin_frames": self.frames, "origin_thumbnails": self.thumbnails}
        return arrays

    def differing_frames(self, folder: DatasetFolder) -> list[int] | None:
        """The recorded frames whose images in a dataset are others.

        Returns:
            Frame ids; None where nothing can be compared, because nothing was recorded or the dataset has none of the
            recorded frames.
        """
        compared, differing = 0, []
        for frame_id, recorded in zip(self.frames.tolist(), self.thumbnails, strict=True):
            image = _thumbnail(folder, frame_id)
            if image is None:
                continue
            compared += 1
            if thumbnail_difference(image, recorded) > DIFFERENT_ABOVE:
                differing.append(frame_id)
        return differing if compared else None

    def is_of(self, folder: DatasetFolder) -> bool | None:
        """Whether a dataset shows the video of this tracking; None where that is unknown."""
        differing = self.differing_frames(folder)
        return None if differing is None else len(differing) <= len(self.frames) / 2

    def same_video(self, other: TrackingOrigin) -> bool | None:
        """Whether two trackings are of the same video; None where that is unknown."""
        rows = {frame_id: row for row, frame_id in enumerate(other.frames.tolist())}
        pairs = [
            (image, other.thumbnails[rows[frame_id]])
            for frame_id, image in zip(self.frames.tolist(), self.thumbnails, strict=True)
            if frame_id in rows
        ]
        if not pairs:
            return None
        differing = [thumbnail_difference(*pair) > DIFFERENT_ABOVE for pair in pairs]
        return sum(differing) <= len(pairs) / 2


def thumbnail_difference(first: np.ndarray, second: np.ndarray) -> float:
    """The 95th percentile of the absolute differences of two thumbnails, 0..255.

    A head that moves changes few of the 256 cells, but those by much; another scale changes many, but by little.
    """
    return float(np.percentile(np.abs(first.astype(np.float32) - second.astype(np.float32)), 95))


def _thumbnail(folder: DatasetFolder, frame_id: int) -> np.ndarray | None:
    import cv2  # changes the environment when it is imported, which reading a tracking file should not

    from nha.data.dataset_folder import read_rgb

    path = folder.paths(frame_id).image
    if not path.is_file():
        return None
    try:
        grey = cv2.cvtColor(read_rgb(path), cv2.COLOR_RGB2GRAY)
    except UserError:
        return None  # a damaged image is reported where it is needed
    return cv2.resize(grey, (THUMBNAIL_PX, THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
