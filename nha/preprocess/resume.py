"""Resuming: what an output folder holds already, whether it belongs to this run, and what must be computed again.

`Workspace` is the output folder: which run may write to it, and which files a run leaves in it. `StoredResults` decides
frame by frame which results are read from disk and which estimators must run.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from nha.core.errors import UserError
from nha.data.dataset_folder import (
    DatasetFolder,
    FramePaths,
    read_keypoints,
    read_labels,
    read_rgb,
    read_transforms,
    write_keypoints,
    write_labels,
    write_rgb,
    write_transforms,
)
from nha.data.splits import Split, write_split
from nha.data.video_io import VideoWriter
from nha.preprocess.crop import FrameTransform
from nha.preprocess.dataset_info import INFO_FILE, DatasetInfo, check_same_dataset, read_info, write_info
from nha.preprocess.estimators import EstimatorSet
from nha.preprocess.frame_job import FrameJob, read_detection, write_detection
from nha.preprocess.stream import call_in_batches

ORIGINALS_FOLDER = "original_frames"
NO_FACE_FOLDER = "frames_without_face"
WORKING_FOLDER = ".preprocess"


class Workspace:
    """The output folder of a run.

    Attributes:
        root: the folder.
        folder: the same as a dataset folder.
        info: content of `dataset_info.json`.
    """

    def __init__(self, root: Path, info: DatasetInfo, is_new: bool) -> None:
        self.root = root
        self.folder = DatasetFolder(root)
        self.info = info
        self._is_new = is_new
        self._keep_on_failure = False

    # --- locking and reuse ---------------------------------------------------------------------------------------

    @classmethod
    def open_for_run(cls, root: Path, info: DatasetInfo, is_new: bool) -> Workspace:
        """Take a folder that is empty, or that an earlier run with the same video and options has left.

        Args:
            root: the folder, which exists.
            info: record of this run.
            is_new: the folder was made for this run, and is removed if the run fails.

        Raises:
            UserError: the folder holds another dataset.
        """
        earlier = read_info(root)
        if earlier is None:
            if DatasetFolder(root).frame_ids():
                raise UserError(f"'{root}' already holds frames from elsewhere; choose another output folder")
            workspace = cls(root, info, is_new)
            workspace.save_info()
            return workspace
        check_same_dataset(root, earlier, info)
        workspace = cls(root, earlier, is_new=False)
        workspace._remove_partial_files()
        return workspace

    def is_complete(self) -> bool:
        """True if an earlier run has finished and no file has been removed since."""
        if not self.info.finished:
            return False
        expected = [self.folder.transforms, self.folder.overview_video, self.folder.default_split]
        for frame_id in self.info.ids_with_face():
            expected.extend(self.folder.paths(frame_id).files())
        return all(path.is_file() for path in expected)

    def reopen(self) -> None:
        """Prepare an incomplete dataset for more work."""
        self._keep_on_failure = self.info.finished
        for folder in sorted((self.root / NO_FACE_FOLDER).glob("frame_*")):
            folder.rename(self.root / folder.name)
        shutil.rmtree(self.root / NO_FACE_FOLDER, ignore_errors=True)
        self.info.finished = False
        self.save_info()

    def finish(self) -> None:
        """Move frames without a face aside, remove working files and record that the dataset is finished."""
        for frame_id in self.info.frames_without_face or ():
            source = self.folder.paths(frame_id).folder
            if source.exists():
                (self.root / NO_FACE_FOLDER).mkdir(exist_ok=True)
                source.rename(self.root / NO_FACE_FOLDER / source.name)
        self.info.finished = True
        self.save_info()
        shutil.rmtree(self.root / WORKING_FOLDER, ignore_errors=True)

    def discard(self) -> None:
        """Remove what this run, or the interrupted one before it, has written; never a finished dataset."""
        if self._keep_on_failure:
            return
        for frame_id in self.folder.frame_ids():
            shutil.rmtree(self.folder.paths(frame_id).folder)
        for name in (WORKING_FOLDER, ORIGINALS_FOLDER):
            shutil.rmtree(self.root / name, ignore_errors=True)
        for path in (self.folder.transforms, self.root / INFO_FILE):
            path.unlink(missing_ok=True)
        if self._is_new:
            self.root.rmdir()

    def save_info(self) -> None:
        """Write `dataset_info.json`."""
        write_info(self.root, self.info)

    def _remove_partial_files(self) -> None:
        # An interrupted run leaves the file that it was writing; `atomic_path` gives those files such names.
        for pattern in (".*.part*", "*/.*.part*"):
            for path in self.root.glob(pattern):
                path.unlink()

    # --- files of the whole dataset ----------------------------------------------------------------------

    def transform(self, choose: Callable[[], FrameTransform]) -> FrameTransform:
        """The recorded transform of the frames; `choose` makes a new one, which is recorded, if there is none."""
        path = self.folder.transforms
        if path.exists():
            return FrameTransform.from_json(read_transforms(path))
        transform = choose()
        write_transforms(path, transform.to_json())
        return transform

    def overview_writer(self) -> AbstractContextManager[VideoWriter | None]:
        """A writer for the overview video, or None if the video exists."""
        path = self.folder.overview_video
        if path.exists():
            return nullcontext()
        return VideoWriter(path, float(self.info.video["fps"]), preset="ultrafast")

    def store_split(self, split: Split) -> None:
        """Write the default split unless there is one."""
        if not self.folder.default_split.exists():
            write_split(self.folder.default_split, split)

    # --- files of one frame ------------------------------------------------------------------------------

    def paths(self, frame_id: int) -> FramePaths:
        """The files of a frame in the dataset."""
        return self.folder.paths(frame_id)

    def result_path(self, annotation: str, frame_id: int) -> Path:
        """The file that the result of an estimator is stored in."""
        paths = self.folder.paths(frame_id)
        return {
            "landmarks": self.root / WORKING_FOLDER / f"face_{frame_id:04d}.npz",
            "iris": paths.keypoints,
            "matting": self.root / WORKING_FOLDER / f"matte_{frame_id:04d}.png",
            "parsing": paths.parsing,
            "normals": paths.normals,
        }[annotation]

    def store_frame(self, job: FrameJob) -> None:
        """Write the images and annotations of a frame that are not stored yet."""
        for path, content, write in (
            (self.root / ORIGINALS_FOLDER / f"original_{job.frame_id:04d}.png", job.original, write_rgb),
            (job.paths.image, job.frame.rgb, write_rgb),
            (self.result_path("matting", job.frame_id), job.matte, write_labels),
            (job.paths.keypoints, job.keypoints, write_keypoints),
            (job.paths.parsing, job.parsing, write_labels),
            (job.paths.segmentation, job.segmentation, write_labels),
            (job.paths.normals, job.normals, write_rgb),
        ):
            if content is not None:
                store(path, content, write)


def store(path: Path, content: Any, write: Callable[[Path, Any], None]) -> None:
    """Write a file unless it exists."""
    if not path.exists():
        write(path, content)


# Annotation -> method of its estimator, and how its stored results are read.
_METHODS = {
    "landmarks": ("faces", read_detection),
    "iris": ("irises", read_keypoints),
    "matting": ("matte", read_labels),
    "parsing": ("parsing", read_labels),
    "normals": ("normals", read_rgb),
}


class StoredResults:
    """Results of the estimators, read from disk if an earlier run has stored them and computed otherwise."""

    def __init__(self, workspace: Workspace, estimators: EstimatorSet) -> None:
        self.workspace = workspace
        self.estimators = estimators
        self._last_missing: dict[str, int] = {}

    def obtain(
        self,
        annotation: str,
        jobs: Iterator[FrameJob],
        arguments: Callable[[FrameJob], tuple | None],
        finish: Callable[[FrameJob, Any], Any],
    ) -> Iterator[tuple[FrameJob, Any]]:
        """One annotation of every frame.

        Args:
            annotation: field of `EstimatorSet`.
            jobs: the frames, in order.
            arguments: arguments of the estimator's method for a frame; None if it needs no such annotation.
            finish: turns a frame and the estimator's result into what is stored.

        Yields:
            Every frame with its annotation, in order; None if it has none.
        """
        estimator, (method, read) = getattr(self.estimators, annotation), _METHODS[annotation]

        def arguments_if_needed(job: FrameJob) -> tuple | None:
            return arguments(job) if self._must_run(annotation, job.frame_id) else None

        for job, result in call_in_batches(estimator, method, jobs, arguments_if_needed):
            path = self.workspace.result_path(annotation, job.frame_id)
            if path.exists():
                yield job, read(path)
            else:
                yield job, None if result is None else finish(job, result)

    def store_detection(self, job: FrameJob) -> None:
        """Write the result of the landmark step."""
        store(self.workspace.result_path("landmarks", job.frame_id), job.detection, write_detection)

    def _must_run(self, annotation: str, frame_id: int) -> bool:
        """Whether an estimator must process a frame: its result is missing, or a later one depends on it."""
        estimator = getattr(self.estimators, annotation)
        if not estimator.sequential:
            return any(self._is_missing(annotation, frame_id + i) for i in range(1 + estimator.lookback))
        n_frames = self.workspace.info.n_frames
        if n_frames is None:
            return True
        if annotation not in self._last_missing:
            missing = (i for i in reversed(range(n_frames)) if self._is_missing(annotation, i))
            self._last_missing[annotation] = next(missing, -1)
        return frame_id <= self._last_missing[annotation]

    def _is_missing(self, annotation: str, frame_id: int) -> bool:
        return not self.workspace.result_path(annotation, frame_id).exists()
