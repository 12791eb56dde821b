"""The entry of preprocessing: from a video to a dataset folder."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from nha.core.errors import UserError
from nha.core.refusal import NO_ROOM
from nha.core.system import exclusive_use, get_logger, require_writable
from nha.data.messages import some_of
from nha.data.video_io import VideoInfo, video_info
from nha.preprocess.dataset_info import DatasetInfo, describe_video
from nha.preprocess.estimators import EstimatorSet
from nha.preprocess.head_region import choose_transform
from nha.preprocess.options import PreprocessOptions
from nha.preprocess.registry import make_estimators
from nha.preprocess.resume import Workspace
from nha.preprocess.steps import DatasetBuilder

_logger = get_logger(__name__)


def build_dataset(options: PreprocessOptions, estimators: EstimatorSet | None = None) -> Path:
    """Make the dataset folder `options.out_path`, or continue one that an interrupted run has begun.

    What was made is logged; `dataset_info.read_info` reads the record that is kept with the dataset.

    Args:
        options: settings, see `PreprocessOptions`.
        estimators: by default those that `options.estimators` selects.

    Returns:
        The dataset folder.

    Raises:
        UserError: the input cannot be used, and nothing of this run is left; or another run is at work in the
            folder; or the disk is full, and complete files are kept for the next run.
    """
    start = time.perf_counter()
    options.check()
    video = _turned(video_info(options.video), options)
    estimators = estimators or make_estimators(options)
    for annotation, name in estimators.names.items():
        _logger.info("%-9s by %s", annotation, name)
    info = DatasetInfo(describe_video(options.video, float(video.fps)), options.content(), estimators.names)
    is_new = not options.out_path.exists()
    with exclusive_use(require_writable(options.out_path)), _report_full_disk(options.out_path):
        workspace = Workspace.open_for_run(options.out_path, info, is_new)
        if workspace.is_complete():
            workspace.remove_working_files()
            _logger.info("%s is complete already", options.out_path)
        else:
            _fill(workspace, options, video, estimators)
    _log_summary(workspace, time.perf_counter() - start)
    return options.out_path


def _turned(video: VideoInfo, options: PreprocessOptions) -> VideoInfo:
    if options.quarter_turns % 2 == 0:
        return video
    return replace(video, width=video.height, height=video.width)


def _fill(
    workspace: Workspace, options: PreprocessOptions, video: VideoInfo, estimators: EstimatorSet
) -> None:
    try:
        with workspace.manifest.recording():
            workspace.reopen()
            transform = workspace.transform(lambda: choose_transform(options, video, estimators))
            DatasetBuilder(options, workspace, estimators, transform).run()
    except UserError:
        workspace.discard()
        raise
    except OSError:
        workspace.manifest.require_same_folder()  # a folder that was moved is the better explanation
        raise
    finally:
        estimators.close()


@contextmanager
def _report_full_disk(folder: Path) -> Iterator[None]:
    # Complete files are kept, and the next run continues from them.
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise UserError(
            f"no room left in '{folder}' ({error.strerror}): make some and start again; what is finished there "
            "is kept"
        ) from error


def _log_summary(workspace: Workspace, seconds: float) -> None:
    info = workspace.info
    _logger.info(
        "%d frames in %.1f s (%.1f frames per second)", info.n_frames, seconds, info.n_frames / seconds
    )
    for name, frame_ids in (
        ("without a face (left out)", info.frames_without_face),
        ("with several faces", info.frames_with_several_faces),
        ("without irises (eyes closed or hidden)", info.frames_without_iris),
        ("with a covered face (not in split.json)", info.frames_covered),
    ):
        _logger.info("frames %s: %s", name, some_of(frame_ids) if frame_ids else "none")
    _logger.info("dataset: %s", workspace.root)
    _logger.info("overview video: %s", workspace.folder.overview_video)
