"""The findings of a dataset check as a table and as a report with the worst frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from nha.core.errors import UserError
from nha.core.html_report import Section, write_report
from nha.core.tables import Table
from nha.core.text import printable
from nha.data.dataset_check import DatasetCheck
from nha.data.dataset_folder import (
    DatasetFolder,
    FramePaths,
    encode_normals,
    read_keypoints,
    read_labels,
    read_normals,
    read_rgb,
)
from nha.data.findings import Fault
from nha.data.messages import some_of
from nha.preprocess.overview import colour_labels, draw_landmarks
from nha.visualization.layout import side_by_side

MOST_FRAMES = 16  # in the report
MOST_FRAMES_WITHOUT_FAULT = 4
PANEL_HEIGHT_PX = 224


def findings_table(check: DatasetCheck) -> Table:
    """One row for each fault: the number of frames and their ids."""
    rows = []
    for fault in Fault:
        found = [finding for finding in check.findings if finding.fault is fault]
        if not found:
            continue
        frame_ids = sorted({finding.frame_id for finding in found if finding.frame_id is not None})
        where = some_of(frame_ids, 6) if frame_ids else "the dataset"
        rows.append((fault.title, len(frame_ids) or "-", where))
    return Table(("fault", "frames", "which"), rows)


def advice(check: DatasetCheck) -> list[str]:
    """One line for each fault: an example and what to do about it."""
    examples = {finding.fault: finding for finding in reversed(check.findings)}  # the first of each
    lines = []
    for fault in Fault:
        if fault in examples:
            frame_id, detail = examples[fault].frame_id, examples[fault].detail
            where = "" if frame_id is None else f"frame {frame_id}: "
            lines.append(printable(f"{fault.title} ({where}{detail}): {fault.advice}"))
    return lines


def write_dataset_report(path: str | Path, folder: DatasetFolder, check: DatasetCheck) -> Path:
    """Write a report with the table, the advice and the worst frames, or a few frames if there are no findings.

    Args:
        path: the HTML file.
        folder: the dataset.
        check: its findings.

    Returns:
        The path of the report.
    """
    worst = check.worst_frames[:MOST_FRAMES]
    shown = worst or check.frame_ids[:: max(1, len(check.frame_ids) // MOST_FRAMES_WITHOUT_FAULT)]
    images = [(_caption(check, frame_id), contact_strip(folder.paths(frame_id))) for frame_id in shown]
    summary = Section(
        "Findings",
        f"{len(check.frame_ids)} frames in {folder.root}; {len(check.findings)} findings in "
        f"{len(check.worst_frames)} frames.",
        points=advice(check),
        tables=[findings_table(check)] if check.findings else [],
    )
    title = "Worst frames" if worst else "Some frames (no findings)"
    return write_report(path, "Check of a dataset", [summary, Section(title, images=images)])


def _caption(check: DatasetCheck, frame_id: int) -> str:
    found = [f"{f.fault.title} ({f.detail})" for f in check.findings if f.frame_id == frame_id]
    return f"frame {frame_id}: {'; '.join(found) or 'no fault'}"


def contact_strip(paths: FramePaths) -> np.ndarray:
    """Image, landmarks, parsing, head mask and normals of a frame beside each other, uint8 [H, W, 3].

    A file that cannot be read is shown as a grey image with a caption.
    """
    panels: dict[str, Callable[[], np.ndarray]] = {
        "image": lambda: read_rgb(paths.image),
        "landmarks": lambda: draw_landmarks(read_rgb(paths.image), read_keypoints(paths.keypoints)),
        "parsing": lambda: colour_labels(read_labels(paths.parsing)),
        "head mask": lambda: np.repeat(read_labels(paths.segmentation)[..., None], 3, axis=2),
        "normals": lambda: encode_normals(read_normals(paths.normals)),
    }
    images, captions = [], []
    for name, draw in panels.items():
        try:
            images.append(_scaled(draw()))
            captions.append(name)
        except UserError:
            images.append(np.full((PANEL_HEIGHT_PX, PANEL_HEIGHT_PX, 3), 225, np.uint8))
            captions.append(f"{name}: cannot be read")
    return side_by_side(images, captions, gap=4)


def _scaled(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    size = (max(1, round(width * PANEL_HEIGHT_PX / height)), PANEL_HEIGHT_PX)
    method = cv2.INTER_AREA if height > PANEL_HEIGHT_PX else cv2.INTER_NEAREST
    return cv2.resize(image, size, interpolation=method)
