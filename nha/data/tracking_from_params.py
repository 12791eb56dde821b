"""A tracking result from known head parameters, for synthetic people and converted tracking files."""

from __future__ import annotations

import numpy as np

from nha.core.types import HeadParams
from nha.data.origin import TrackingOrigin
from nha.data.tracking_file import TrackingResult


def tracking_from_params(
    params: HeadParams,
    frame_ids: np.ndarray,
    intrinsics: np.ndarray,
    image_size: tuple[int, int],
    view: str,
    origin: TrackingOrigin,
    light: np.ndarray | None = None,
) -> TrackingResult:
    """A result whose camera is at the origin; the first head's shape is the person's.

    Args:
        params: F heads in camera coordinates.
        frame_ids: [F].
        intrinsics: [3] or [3, 3], see `TrackingResult.K`.
        image_size: (height, width) in pixels.
        view: format of the names of the image files, such as "frame_{:04d}".
        origin: the head model and the video.
        light: [F, 9, 3] or [9, 3] spherical harmonics; None where it is unknown.
    """
    n, frame_ids = len(params), np.asarray(frame_ids, np.int64)
    light = np.zeros((9, 3), np.float32) if light is None else light.astype(np.float32)
    return TrackingResult(
        frame=frame_ids,
        rotation=params.rotation.numpy(),
        translation=params.translation.numpy(),
        neck_pose=params.neck.numpy(),
        jaw_pose=params.jaw.numpy(),
        eyes_pose=params.eyes.numpy(),
        shape=params.shape[0].numpy(),
        expr=params.expr.numpy(),
        texture=np.zeros(0, np.float32),
        light=np.broadcast_to(light, (n, 9, 3)).copy(),
        K=np.asarray(intrinsics, np.float32),
        RT=np.eye(3, 4, dtype=np.float32),
        image_size=image_size,
        view=tuple(view.format(i) for i in frame_ids.tolist()),
        n_processed=n,
        origin=origin,
    )
