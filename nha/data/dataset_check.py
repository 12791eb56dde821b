"""Validate a dataset folder, ours or a published one: every frame, its neighbours, and what goes with the dataset."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from nha.core.errors import UserError
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
from nha.data.frame_checks import Complaint, FrameAnnotations, complaints
from nha.data.messages import some_of
from nha.data.splits import check_split, distance_to, read_split
from nha.data.tracking_file import read_tracking

# From one frame to the next, in face sizes, and as a ratio of sizes.
LONGEST_STEP, LARGEST_GROWTH, LARGEST_MASK_GROWTH = 0.5, 1.4, 1.8

# Held-out frames beside frames that are trained on: more than the ends of a few blocks, and than this share.
MOST_BORDERS, LEAKING_SHARE = 6, 0.1


@dataclass(frozen=True)
class FrameSummary:
    """What is kept of a frame: its picture's (height, width), None where there is none; its complaints; for the
    comparison with its neighbours the face's centre [2] and size, and the head mask's area, all in pixels, None where
    an annotation is missing.
    """

    frame_id: int
    size: tuple[int, int] | None
    complaints: list[Complaint]
    face_centre_px: np.ndarray | None = None
    face_px: float | None = None
    head_area_px: int | None = None


@dataclass(frozen=True)
class DatasetCheck:
    """frame_ids: all frames; size: most pictures' (height, width); findings: what is wrong, in order of frames."""

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
    """Check a dataset folder, and a tracking file and a split where they are given.

    Without `split` the dataset's own split.json is checked where there is one. Raises UserError where there is no
    dataset at all; everything else that is wrong becomes a finding.
    """
    folder = DatasetFolder.open(data_path)
    frame_ids = folder.frame_ids()
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding does not hold the interpreter's lock
        done = pool.map(lambda frame_id: summarize(frame_id, folder.paths(frame_id)), frame_ids)
        frames = list(tqdm(done, total=len(frame_ids), desc="checking", unit="frame", mininterval=0.5))
    size = usual_size(frames)
    findings = [*frame_findings(frames, size), *check_neighbours(frames)]
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
    """Read and judge one frame."""
    found: list[Complaint] = [(Fault.MISSING_FILE, path.name) for path in paths.missing()]
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
                (Fault.SIZE, f"{getattr(paths, name).name}: {_size(contents[name].shape)}, not {_size(size)}")
            )
            del contents[name]
    if len(contents) < 5:
        return FrameSummary(frame_id, size, found)
    del contents["image"]
    frame = FrameAnnotations(**contents)
    centre = frame.keypoints.landmarks_px.mean(axis=0)
    return FrameSummary(
        frame_id, size, found + complaints(frame), centre, frame.face_px, int(frame.head.sum())
    )


def usual_size(frames: Sequence[FrameSummary]) -> tuple[int, int] | None:
    """The (height, width) that most pictures have."""
    sizes = [frame.size for frame in frames if frame.size]
    return max(sorted(set(sizes)), key=sizes.count, default=None)


def frame_findings(frames: Sequence[FrameSummary], size: tuple[int, int] | None) -> Iterator[Finding]:
    """The frames' complaints, and pictures that are not of the usual size."""
    for frame in frames:
        yield from (Finding(fault, frame.frame_id, detail) for fault, detail in frame.complaints)
        if frame.size and frame.size != size:
            yield Finding(Fault.SIZE, frame.frame_id, f"image is {_size(frame.size)}, most are {_size(size)}")


def check_neighbours(frames: Sequence[FrameSummary]) -> Iterator[Finding]:
    """A face or a head mask that is suddenly elsewhere, or of another size."""
    for before, after in zip(frames, frames[1:], strict=False):
        # a frame that is wrong itself says nothing about the next one
        if after.frame_id - before.frame_id != 1 or before.complaints or after.face_px is None:
            continue
        step = float(np.linalg.norm(after.face_centre_px - before.face_centre_px)) / before.face_px
        growth = _ratio(before.face_px, after.face_px)
        mask_growth = _ratio(before.head_area_px, after.head_area_px) if after.head_area_px else 1.0
        words = []
        if step > LONGEST_STEP:
            words.append(f"the face moved by {step:.1f} of its size")
        if growth > LARGEST_GROWTH:
            words.append(f"the face's size changed by a factor of {growth:.1f}")
        if mask_growth > LARGEST_MASK_GROWTH:
            words.append(f"the head mask's area changed by a factor of {mask_growth:.1f}")
        if words:
            yield Finding(Fault.JUMP, after.frame_id, ", ".join(words))


def _ratio(a: float, b: float) -> float:
    return max(a, b) / max(min(a, b), 1)


# --- what goes with the frames ----------------------------------------------------------------------------


def check_transforms(folder: DatasetFolder, size: tuple[int, int] | None) -> Iterator[Finding]:
    """`transforms.json`, where there is one: does it speak of these pictures?"""
    if not folder.transforms.is_file():
        return
    try:
        content = read_transforms(folder.transforms)
    except UserError as error:
        yield Finding(Fault.TRANSFORM, None, str(error))
        return
    stated = (content.get("h_out"), content.get("w_out"))
    if size and None not in stated and stated != size:
        yield Finding(
            Fault.TRANSFORM, None, f"speaks of pictures of {_size(stated)}, these are {_size(size)}"
        )


def check_tracking_file(
    path: Path, frame_ids: Sequence[int], size: tuple[int, int] | None
) -> Iterator[Finding]:
    """Readable, of these frames, of pictures of this shape, and finished."""
    try:
        tracking = read_tracking(path)
    except UserError as error:
        yield Finding(Fault.TRACKING, None, str(error))
        return
    if untracked := tracking.missing_frames(frame_ids):
        yield Finding(Fault.TRACKING, None, f"{len(untracked)} frames are not tracked: {some_of(untracked)}")
    if foreign := sorted(set(tracking.frame.tolist()) - set(frame_ids)):
        yield Finding(Fault.TRACKING, None, f"{len(foreign)} tracked frames are not here: {some_of(foreign)}")
    if size and not tracking.fits_image_size(size):
        yield Finding(
            Fault.TRACKING, None, f"made from {_size(tracking.image_size)}, the pictures are {_size(size)}"
        )
    if tracking.n_processed < len(tracking):
        yield Finding(
            Fault.TRACKING, None, f"broken off after {tracking.n_processed} of {len(tracking)} frames"
        )


def check_split_file(path: Path, frame_ids: Sequence[int], data_path: str | Path) -> Iterator[Finding]:
    """Readable, of frames that are there, and no frame in both parts."""
    try:
        split = read_split(path)
        check_split(split, frame_ids, data_path)
    except UserError as error:
        yield Finding(Fault.SPLIT, None, str(error))
        return
    if both := sorted(set(split.train) & set(split.val)):
        yield Finding(Fault.SPLIT, None, f"{len(both)} frames are trained on and held out: {some_of(both)}")
    train = sorted(split.train)
    leaking = [
        frame_id for frame_id in sorted(set(split.val) - set(both)) if distance_to(frame_id, train) <= 1
    ]
    if len(leaking) > max(MOST_BORDERS, LEAKING_SHARE * len(split.val)):
        yield Finding(
            Fault.SPLIT,
            None,
            f"{len(leaking)} of {len(split.val)} held-out frames are beside one to train on: {some_of(leaking)}",
        )


def _size(shape: Sequence[int]) -> str:
    return f"{shape[1]} x {shape[0]} pixels"
