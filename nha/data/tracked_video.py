"""The tracking of one video as an object: head parameters and camera by frame id."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nha.core.errors import UserError
from nha.core.types import Camera, HeadParams
from nha.data.messages import some_of
from nha.data.tracking_file import TrackingResult, find_tracking_file, read_tracking


class Tracking:
    """The tracking of one video: head parameters of every tracked frame, and the camera.

    Can be passed wherever the path of a tracking file is expected.

    Args:
        path: a tracking file (`tracked_flame_params.npz`) or the folder that holds it.

    Raises:
        UserError: if there is no valid tracking file.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = find_tracking_file(path)
        self._result = read_tracking(self._path)

    @property
    def path(self) -> Path:
        """Path of the tracking file."""
        return self._path

    @property
    def result(self) -> TrackingResult:
        """The arrays of the file."""
        return self._result

    @property
    def frame_ids(self) -> list[int]:
        """Ids of the tracked frames, ascending."""
        return sorted(self._result.frame.tolist())

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels of the images that were tracked."""
        return self._result.image_size

    def params(self, frame_ids: int | Iterable[int]) -> HeadParams:
        """Head parameters of one frame or of N frames.

        Args:
            frame_ids: one of `frame_ids`, or several.

        Returns:
            Parameters of N heads (1 for a single id): shape [N, S], expr [N, E], rotation [N, 3] axis-angle in
            radians, translation [N, 3] in metres, neck [N, 3], jaw [N, 3], eyes [N, 6] (unbounded, before the joint
            limits).

        Raises:
            UserError: if a frame was not tracked.
        """
        return self._result.params_for(self._tracked(frame_ids))

    def camera(self, frame_ids: int | Iterable[int], image_size: tuple[int, int] | None = None) -> Camera:
        """The camera of one frame or of N frames.

        Args:
            frame_ids: one of `frame_ids`, or several.
            image_size: (height, width) in pixels of the images to render; None takes the tracked size.

        Returns:
            N cameras (1 for a single id): intrinsics [N, 3, 3] in pixels, extrinsics [N, 3, 4].

        Raises:
            UserError: if a frame was not tracked.
        """
        return self._result.camera_for(self._tracked(frame_ids), image_size or self.image_size)

    def __len__(self) -> int:
        return len(self._result)

    def __fspath__(self) -> str:
        return str(self._path)

    def __repr__(self) -> str:
        return f"Tracking('{self._path}', {len(self)} frames)"

    def _tracked(self, frame_ids: int | Iterable[int]) -> list[int]:
        ids = [int(i) for i in frame_ids] if isinstance(frame_ids, Iterable) else [int(frame_ids)]
        if missing := self._result.missing_frames(ids):
            raise UserError(
                f"frame {some_of(missing)} was not tracked; choose among the frames {some_of(self.frame_ids)}"
            )
        return ids


def load_tracking(path: str | Path) -> Tracking:
    """Read a tracking file.

    Args:
        path: a tracking file (`tracked_flame_params.npz`) or the folder that holds it.

    Returns:
        The tracking; `params(frame_id)` gives `HeadParams` with a leading dimension of 1.
    """
    return Tracking(path)
