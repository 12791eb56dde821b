"""Drawn frames beside the true ones, as pictures and as a film."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from nha.avatar.avatar import NeuralHeadAvatar
from nha.data.video_io import VideoWriter
from nha.evaluation.evaluator import DrawnFrames, FrameScores
from nha.render.shading import phong_picture
from nha.visualization.colours import error_map, normals_to_rgb01, to_uint8
from nha.visualization.layout import side_by_side

COLUMNS = ("ground truth", "prediction", "|difference|", "normals", "geometry")


def comparison_rows(
    avatar: NeuralHeadAvatar, drawn: DrawnFrames, backend: str = "auto"
) -> list[list[np.ndarray]]:
    """The five pictures of COLUMNS for each of N drawn frames, uint8 [H, W, 3]."""
    geometry = phong_picture(drawn.surface.vertices, avatar.head.faces, drawn.batch.camera, backend)
    normals = normals_to_rgb01(drawn.normals, drawn.alpha)
    rows = []
    for i in range(len(drawn.batch)):
        target, prediction = to_uint8(drawn.target[i]), to_uint8(drawn.prediction[i])
        rows.append(
            [target, prediction, error_map(prediction, target), to_uint8(normals[i]), to_uint8(geometry[i])]
        )
    return rows


class ComparisonFilm:
    """Collects drawn frames into an mp4 with captions, and keeps the pictures for a report.

    Use it as a context manager, and hand `add` to `evaluate(also=...)`.
    """

    def __init__(
        self, path: str | Path, avatar: NeuralHeadAvatar, fps: float = 25.0, backend: str = "auto"
    ) -> None:
        self._video = VideoWriter(path, fps)
        self._avatar, self._backend = avatar, backend
        self.rows: dict[int, np.ndarray] = {}

    def __enter__(self) -> ComparisonFilm:
        self._video.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._video.__exit__(kind, error, trace)

    def add(self, part: str, drawn: DrawnFrames) -> None:
        """Append the frames of a drawn batch."""
        rows = comparison_rows(self._avatar, drawn, self._backend)
        for frame_id, row in zip(drawn.batch.frame_id.tolist(), rows, strict=True):
            picture = side_by_side(row, (f"{COLUMNS[0]} {frame_id} ({part.replace('_', '-')})", *COLUMNS[1:]))
            self.rows[frame_id] = picture
            self._video.write(picture)


def telling_frames(scores: Sequence[FrameScores], part: str, metric: str = "head_psnr") -> dict[int, str]:
    """Captions of the worst, the median and the best frame of a part, by frame id; empty for an empty part."""
    ordered = sorted((s for s in scores if s.part == part), key=lambda s: s.scores[metric])
    captions: dict[int, str] = {}
    for name, place in (("worst", 0), ("median", len(ordered) // 2), ("best", len(ordered) - 1)):
        if ordered:
            frame = ordered[place]
            text = (
                f"{name} {part.replace('_', '-')} frame, {frame.scores[metric]:.1f} dB inside the head mask"
            )
            captions.setdefault(frame.frame_id, text)
    return captions
