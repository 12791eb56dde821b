"""Validation of a dataset folder: each frame, neighbouring frames, transforms, tracking and split."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nha.core.errors import UserError
from nha.core.progress import progress
from nha.data.annotation_faults import unsuitable_kind
from nha.data.dataset_folder import (
    DatasetFolder,
    FramePaths,
    read_keypoints,
    read_labels,
    read_normals,
    read_rgb,
    read_transforms,
)
from nha.data.findings import Fault, Finding, frames_with_findings
from nha.data.frame_checks import FrameAnnotations, FrameFault, check_frame
from nha.data.messages import format_size, some_of
from nha.data.plausibility import find_covered_faces, measure_face_colours
from nha.data.splits import check_split, distance_to, read_split
from nha.data.tracking_file import read_tracking

# Largest changes from one frame to the next: motion in face sizes, and ratios of face sizes and mask areas.
LARGEST_STEP, LARGEST_GROWTH, LARGEST_MASK_GROWTH = 0.5, 1.4, 1.8

# Held-out frames next to training frames are reported above this number (ends of a few blocks) and share.
MAX_ADJACENT, MAX_ADJACENT_SHARE = 6, 0.1


@dataclass(frozen=True)
class FrameSummary:
    """What is kept of a frame that was checked.

    Attributes:
        frame_id: number in the video.
        size: (height, width) of the image in pixels, None if there is none.
        faults: faults of the frame itself.
        face_centre_px: [2], centre of the face, None if an annotation is missing; so are the next two.
        face_px: size of the face in pixels.
        head_area_px: area of the head mask in pixels.
        face_colours: colours of the regions of the face, see `plausibility`.
    """

    frame_id: int
    size: tuple[int, int] | None
    faults: list[FrameFault]
    face_centre_px: np.ndarray | None = None
    face_px: float | None = None
    head_area_px: int | None = None
    face_colours: np.ndarray | None = None


@dataclass(frozen=True)
class DatasetCheck:
    """Result of the validation.

    Attributes:
        frame_ids: ids of all frames.
        size: (height, width) of most images in pixels.
        findings: all faults, in the order of the frames.
    """

    frame_ids: list[int]
    size: tuple[int, int] | None
    findings: list[Finding]

    @property
    def worst_frames(self) -> list[int]:
        """Ids of frames with findings, those with the most first."""
        return frames_with_findings(self.findings)

    @property
    def good_frames(self) -> list[int]:
        """Ids of frames without a finding."""
        bad = set(self.worst_frames)
        return [frame_id for frame_id in self.frame_ids if frame_id not in bad]


def check_dataset(
    data_path: str | Path, tracking: str | Path | None = None, split: str | Path | None = None
) -> DatasetCheck:
    """Check a dataset folder, and optionally a tracking file and a split.

    Args:
        data_path: the dataset folder.
        tracking: tracking file of the dataset.
        split: split file; by default the dataset's `split.json`, if it exists.

    Raises:
        UserError: there is no dataset. Everything else that is wrong becomes a finding.
    """
    folder = DatasetFolder.open(data_path)
    frame_ids = folder.frame_ids()
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding releases the interpreter lock
        done = pool.map(lambda frame_id: summarize(frame_id, folder.paths(frame_id)), frame_ids)
        frames = list(progress(done, "checking", len(frame_ids)))
    size = usual_size(frames)
    findings = [*frame_findings(frames, size), *check_neighbours(frames), *check_faces(frames)]
    findings.sort(key=lambda finding: finding.frame_id)
    findings += check_transforms(folder, size)
    if tracking is not None:
        findings += check_tracking_file(Path(tracking), frame_ids, size)
    split_path = folder.default_split if split is None and folder.default_split.is_file() else split
    if split_path is not None:
        findings += check_split_file(Path(split_path), frame_ids, data_path)
    return DatasetCheck(frame_ids, size, findings)


# --- frames -----------------------------------------------------------------------------------------------


def summarize(frame_id: int, paths: FramePaths) -> FrameSummary:
    """Read and check one frame."""
    found: list[FrameFault] = [(Fault.MISSING_FILE, path.name) for path in paths.missing()]
    contents = {}
    for name, read in (
        ("image", read_rgb),
        ("keypoints", read_keypoints),
        ("parsing", read_labels),
        ("segmentation", read_labels),
        ("normals", read_normals),
    ):
        path = getattr(paths, name)
        if path.is_file():
            try:
                contents[name] = read(path)
            except UserError as error:
                reason = str(error).replace(str(path), path.name).split(";")[0]
                found.append((Fault.UNREADABLE, reason))
    size = contents["image"].shape[:2] if "image" in contents else None
    for name in ("parsing", "segmentation", "normals"):
        if size and name in contents and contents[name].shape[:2] != size:
            found.append(
                (
                    Fault.SIZE,
                    f"{getattr(paths, name).name}: {format_size(contents[name].shape)}, not {format_size(size)}",
                )
            )
            del contents[name]
    for path in (paths.parsing, paths.segmentation):
        if path.is_file() and (kind := unsuitable_kind(path)) is not None:
            found.append((Fault.LABELS, f"{path.name} is {kind}"))
    if len(contents) < 5:
        return FrameSummary(frame_id, size, found)
    image = contents.pop("image")
    frame = FrameAnnotations(**contents)
    centre = frame.keypoints.landmarks_px.mean(axis=0)
    return FrameSummary(
        frame_id,
        size,
        found + check_frame(frame),
        centre,
        frame.face_px,
        int(frame.head.sum()),
        measure_face_colours(image, frame.keypoints.landmarks_px, frame.segmentation > 0),
    )


def usual_size(frames: Sequence[FrameSummary]) -> tuple[int, int] | None:
    """The (height, width) of most images."""
    sizes = [frame.size for frame in frames if frame.size]
    return max(sorted(set(sizes)), key=sizes.count, default=None)


def frame_findings(frames: Sequence[FrameSummary], size: tuple[int, int] | None) -> Iterator[Finding]:
    """The faults of all frames, and images of another size than most."""
    for frame in frames:
        yield from (Finding(fault, frame.frame_id, detail) for fault, detail in frame.faults)
        if frame.size and frame.size != size:
            yield Finding(
                Fault.SIZE,
                frame.frame_id,
                f"image is {format_size(frame.size)}, most are {format_size(size)}",
            )


def check_neighbours(frames: Sequence[FrameSummary]) -> Iterator[Finding]:
    """Faces and head masks that move or change their size suddenly."""
    for before, after in zip(frames, frames[1:], strict=False):
        # a frame with faults is no reference for the next one
        if after.frame_id - before.frame_id != 1 or before.faults or after.face_px is None:
            continue
        step = float(np.linalg.norm(after.face_centre_px - before.face_centre_px)) / before.face_px
        growth = _ratio(before.face_px, after.face_px)
        mask_growth = _ratio(before.head_area_px, after.head_area_px) if after.head_area_px else 1.0
        changes = []
        if step > LARGEST_STEP:
            changes.append(f"the face moved by {step:.1f} of its size")
        if growth > LARGEST_GROWTH:
            changes.append(f"the face's size changed by a factor of {growth:.1f}")
        if mask_growth > LARGEST_MASK_GROWTH:
            changes.append(f"the head mask's area changed by a factor of {mask_growth:.1f}")
        if changes:
            yield Finding(Fault.JUMP, after.frame_id, ", ".join(changes))


def check_faces(frames: Sequence[FrameSummary]) -> Iterator[Finding]:
    """Faces that something covers, or whose colours are unlike those of the other frames."""
    colours = {frame.frame_id: frame.face_colours for frame in frames if frame.face_colours is not None}
    for frame_id, regions in find_covered_faces(colours).items():
        yield Finding(Fault.COVERED, frame_id, regions)


def _ratio(a: float, b: float) -> float:
    return max(a, b) / max(min(a, b), 1)


# --- transforms, tracking and split -----------------------------------------------------------------------


def check_transforms(folder: DatasetFolder, size: tuple[int, int] | None) -> Iterator[Finding]:
    """`transforms.json` of other images than these."""
    if not folder.transforms.is_file():
        return
    try:
        content = read_transforms(folder.transforms)
    except UserError as error:
        yield Finding(Fault.TRANSFORM, None, str(error))
        return
    expected = (content.get("h_out"), content.get("w_out"))
    if size and None not in expected and expected != size:
        yield Finding(
            Fault.TRANSFORM, None, f"is for images of {format_size(expected)}, these are {format_size(size)}"
        )


def check_tracking_file(
    path: Path, frame_ids: Sequence[int], size: tuple[int, int] | None
) -> Iterator[Finding]:
    """A tracking file that is unreadable, unfinished, or of other frames or images than these."""
    try:
        tracking = read_tracking(path)
    except UserError as error:
        yield Finding(Fault.TRACKING, None, str(error))
        return
    if untracked := tracking.missing_frames(frame_ids):
        yield Finding(Fault.TRACKING, None, f"{len(untracked)} frames are not tracked: {some_of(untracked)}")
    if foreign := sorted(set(tracking.frame.tolist()) - set(frame_ids)):
        yield Finding(
            Fault.TRACKING, None, f"{len(foreign)} tracked frames are not in the dataset: {some_of(foreign)}"
        )
    if size and not tracking.fits_image_size(size):
        yield Finding(
            Fault.TRACKING,
            None,
            f"made from {format_size(tracking.image_size)}, the images are {format_size(size)}",
        )
    if tracking.n_processed < len(tracking):
        yield Finding(
            Fault.TRACKING, None, f"interrupted after {tracking.n_processed} of {len(tracking)} frames"
        )


def check_split_file(path: Path, frame_ids: Sequence[int], data_path: str | Path) -> Iterator[Finding]:
    """A split that is unreadable, names missing frames, or does not separate its two parts."""
    try:
        split = read_split(path)
        check_split(split, frame_ids, data_path)
    except UserError as error:
        yield Finding(Fault.SPLIT, None, str(error))
        return
    if both := sorted(set(split.train) & set(split.val)):
        yield Finding(Fault.SPLIT, None, f"{len(both)} frames are in both parts: {some_of(both)}")
    train = sorted(split.train)
    adjacent = [
        frame_id for frame_id in sorted(set(split.val) - set(both)) if distance_to(frame_id, train) <= 1
    ]
    if len(adjacent) > max(MAX_ADJACENT, MAX_ADJACENT_SHARE * len(split.val)):
        yield Finding(
            Fault.SPLIT,
            None,
            f"{len(adjacent)} of {len(split.val)} held-out frames are next to a training frame: {some_of(adjacent)}",
        )
