"""Rendered frames beside the true images, as images; selection of representative frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from nha.core.types import Camera, Rendering
from nha.evaluation.rendered_frames import RenderedFrames
from nha.evaluation.scores import FrameScores
from nha.render.shading import phong_image
from nha.visualization.colours import error_map, normals_to_rgb01, to_uint8
from nha.visualization.layout import grid, side_by_side, with_caption

COLUMNS = ("ground truth", "prediction", "|difference|", "normals", "geometry")
# Metric -> its name in captions, and the quantiles of the frames that are selected.
_SELECTION: dict[str, tuple[str, dict[str, float]]] = {
    "head_psnr": ("inside the head mask", {"worst": 0.0, "median": 0.5, "best": 1.0}),
    "mouth_psnr": ("at the mouth", {"worst": 0.0}),
    "eyes_psnr": ("at the eyes", {"worst": 0.0}),
}


def normals_and_geometry(
    rendering: Rendering, faces: Tensor, camera: Camera
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Show the meshes of N rendered heads: normals in colours and the shaded surface, uint8 [H, W, 3] each."""
    normals = normals_to_rgb01(rendering.gbuffer["normals"], rendering.alpha)
    geometry = phong_image(rendering.surface.vertices, faces, camera)
    return [(to_uint8(normals[i]), to_uint8(geometry[i])) for i in range(len(normals))]


def comparison_images(part: str, rendered: RenderedFrames, faces: Tensor) -> list[np.ndarray]:
    """The images of `COLUMNS` beside each other, with captions.

    Args:
        part: of the split, for the caption.
        rendered: N frames.
        faces: [F, 3] of the avatar's head.

    Returns:
        uint8 [H, W, 3] for each of the N frames.
    """
    meshes = normals_and_geometry(rendered.rendering, faces, rendered.batch.camera)
    images = []
    for i, frame_id in enumerate(rendered.batch.frame_id.tolist()):
        target, prediction = to_uint8(rendered.target[i]), to_uint8(rendered.prediction[i])
        columns = [target, prediction, error_map(prediction, target), *meshes[i]]
        images.append(side_by_side(columns, (f"{COLUMNS[0]} {frame_id} ({part_name(part)})", *COLUMNS[1:])))
    return images


def contact_sheet(rendered: Sequence[RenderedFrames]) -> np.ndarray:
    """Truth, rendering and error of frames that are rendered one by one, a column for each: uint8 [H, W, 3]."""
    columns = []
    for frame in rendered:
        target, prediction = to_uint8(frame.target[0]), to_uint8(frame.prediction[0])
        shown = with_caption(target, f"frame {int(frame.batch.frame_id)}")
        columns.append(grid([[shown], [prediction], [error_map(prediction, target)]], gap=2))
    return side_by_side(columns, gap=2)


def part_name(part: str) -> str:
    """The name of a part of the split in captions and tables."""
    return part.replace("_", "-")


def representative_frames(scores: Sequence[FrameScores], part: str) -> dict[int, str]:
    """Select the worst, the median and the best frame of a part, and those with the worst mouth and eyes.

    Args:
        scores: of the frames. Frames in which a metric is not defined are not selected by it.
        part: of the split.

    Returns:
        Captions by frame id; empty for an empty part.
    """
    captions: dict[int, str] = {}
    for metric, (place, quantiles) in _SELECTION.items():
        ordered = [s for s in scores if s.part == part and np.isfinite(s.scores.get(metric, np.nan))]
        ordered.sort(key=lambda s: s.scores[metric])
        for name, quantile in quantiles.items():
            if ordered:
                frame = ordered[min(int(quantile * len(ordered)), len(ordered) - 1)]
                score = f"{frame.scores[metric]:.1f} dB {place}"
                if frame.frame_id not in captions:
                    captions[frame.frame_id] = f"{name} {part_name(part)} frame, {score}"
                elif metric != "head_psnr":
                    captions[frame.frame_id] += f"; also {name}, {score}"
    return captions
