"""Drawn frames beside the true ones, as pictures and as a film."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from nha.avatar.avatar import NeuralHeadAvatar
from nha.data.frame_dataset import FrameSplits
from nha.data.video_io import VideoWriter
from nha.evaluation.evaluator import DrawnFrames, FrameScores, draw_frames, frames_of
from nha.render.shading import phong_picture
from nha.visualization.colours import error_map, normals_to_rgb01, to_uint8
from nha.visualization.layout import side_by_side

COLUMNS = ("ground truth", "prediction", "|difference|", "normals", "geometry")
# What captions call a metric by which frames are chosen.
CHOSEN_BY = {"head_psnr": "inside the head mask", "mouth_psnr": "at the mouth", "eyes_psnr": "at the eyes"}


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


def comparison_strips(
    avatar: NeuralHeadAvatar, part: str, drawn: DrawnFrames, backend: str = "auto"
) -> list[np.ndarray]:
    """The pictures of COLUMNS beside each other with their captions, uint8 [H, W, 3] for each drawn frame."""
    rows = comparison_rows(avatar, drawn, backend)
    return [
        side_by_side(row, (f"{COLUMNS[0]} {frame_id} ({part.replace('_', '-')})", *COLUMNS[1:]))
        for frame_id, row in zip(drawn.batch.frame_id.tolist(), rows, strict=True)
    ]


class ComparisonFilm:
    """Collects drawn frames into an mp4 with captions.

    Use it as a context manager, and hand `add` to `evaluate(also=...)`.
    """

    def __init__(
        self, path: str | Path, avatar: NeuralHeadAvatar, fps: float = 25.0, backend: str = "auto"
    ) -> None:
        self._video = VideoWriter(path, fps)
        self._avatar, self._backend = avatar, backend

    def __enter__(self) -> ComparisonFilm:
        self._video.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._video.__exit__(kind, error, trace)

    def add(self, part: str, drawn: DrawnFrames) -> None:
        """Append the frames of a drawn batch."""
        for picture in comparison_strips(self._avatar, part, drawn, self._backend):
            self._video.write(picture)


def draw_one(
    avatar: NeuralHeadAvatar, data: FrameSplits, part: str, frame_id: int, backend: str = "auto"
) -> DrawnFrames:
    """One frame of a part."""
    frames = frames_of(data, part)
    batch = frames.batch([frames.frame_ids.index(frame_id)])
    return draw_frames(avatar, batch.to(avatar.vertex_features.device), backend)


def telling_frames(scores: Sequence[FrameScores], part: str) -> dict[int, str]:
    """Captions of frames to look at, by frame id: the worst, the median and the best of a part, and where mouth and
    eyes are worst. Empty for an empty part; frames of which a metric is not defined are not chosen by it.
    """
    captions: dict[int, str] = {}
    for metric, places in {
        "head_psnr": {"worst": 0.0, "median": 0.5, "best": 1.0},
        "mouth_psnr": {"worst": 0.0},
        "eyes_psnr": {"worst": 0.0},
    }.items():
        ordered = [s for s in scores if s.part == part and np.isfinite(s.scores.get(metric, np.nan))]
        ordered.sort(key=lambda s: s.scores[metric])
        for name, place in places.items():
            if ordered:
                frame = ordered[min(int(place * len(ordered)), len(ordered) - 1)]
                score = f"{frame.scores[metric]:.1f} dB {CHOSEN_BY[metric]}"
                if frame.frame_id not in captions:
                    captions[frame.frame_id] = f"{name} {part.replace('_', '-')} frame, {score}"
                elif metric != "head_psnr":
                    captions[frame.frame_id] += f"; also {name}, {score}"
    return captions
