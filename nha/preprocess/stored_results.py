"""Results of the estimators that an earlier run has stored: which are read, and which estimators must run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from nha.data.dataset_folder import read_keypoints, read_labels, read_rgb
from nha.preprocess.estimators import EstimatorSet
from nha.preprocess.frame_job import FrameJob, read_detection, write_detection
from nha.preprocess.resume import Workspace, store
from nha.preprocess.stream import call_in_batches

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
        estimator, info = getattr(self.estimators, annotation), self.workspace.info
        if not estimator.sequential:
            following = (frame_id + i * info.every for i in range(1 + estimator.lookback))
            return any(self._is_missing(annotation, i) for i in following)
        if info.n_frames is None:
            return True
        if annotation not in self._last_missing:
            missing = (i for i in reversed(info.ids()) if self._is_missing(annotation, i))
            self._last_missing[annotation] = next(missing, -1)
        return frame_id <= self._last_missing[annotation]

    def _is_missing(self, annotation: str, frame_id: int) -> bool:
        return not self.workspace.result_path(annotation, frame_id).exists()
