"""From a video to a dataset folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from nha.core.errors import UserError
from nha.core.system import NO_ROOM, exclusive_use, get_logger, require_writable
from nha.data.dataset_folder import read_transforms, write_transforms
from nha.data.video_io import VideoInfo, video_info
from nha.preprocess.crop import FrameTransform, identity_transform, plan_transform
from nha.preprocess.estimators import EstimatorPack, Frame
from nha.preprocess.frame_job import choose_face, frames_of
from nha.preprocess.options import PreprocessOptions
from nha.preprocess.packs import make_pack
from nha.preprocess.steps import DatasetBuilder
from nha.preprocess.workspace import DatasetInfo, Workspace, describe_video

CROP_SAMPLES = 48  # frames that are looked at to find out where the head goes

_logger = get_logger(__name__)


def build_dataset(options: PreprocessOptions, pack: EstimatorPack | None = None) -> DatasetInfo:
    """Make the dataset folder `options.out_path`, or continue one that a killed run has begun.

    pack: the estimators, by default those that `options.estimators` names. Returns the dataset's records.
    Raises UserError for unusable input; then nothing of this run stays behind. Also raises UserError where
    another run is at work in the folder, and where the disk is full; then finished files stay, whole ones only.
    """
    options.check()
    video = video_info(options.video)
    estimators = pack or make_pack(options)
    for annotation, name in estimators.names.items():
        _logger.info("%-9s by %s", annotation, name)
    source = describe_video(options.video, float(video.fps))
    info = DatasetInfo(source, options.content(), estimators.names)
    is_new = not options.out_path.exists()
    with exclusive_use(require_writable(options.out_path)), _full_disk_is_a_user_error(options.out_path):
        workspace = Workspace.claim(options.out_path, info, is_new)
        if workspace.is_complete():
            _logger.info("%s is complete already", options.out_path)
        else:
            _fill(workspace, options, video, estimators)
        return workspace.info


def _fill(
    workspace: Workspace, options: PreprocessOptions, video: VideoInfo, estimators: EstimatorPack
) -> None:
    try:
        workspace.reopen()
        transform = _choose_transform(options, workspace, video, estimators)
        DatasetBuilder(options, workspace, estimators, transform).run()
    except UserError:
        workspace.discard()
        raise
    finally:
        estimators.close()


@contextmanager
def _full_disk_is_a_user_error(folder: Path) -> Iterator[None]:
    # What is finished stays: it is whole, and the next run continues it.
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise UserError(
            f"no room left in '{folder}' ({error.strerror}): make some and start again; what is finished there "
            "is kept"
        ) from error


def _choose_transform(
    options: PreprocessOptions, workspace: Workspace, video: VideoInfo, estimators: EstimatorPack
) -> FrameTransform:
    """The transform that an earlier run has recorded, or a new one, which is recorded."""
    path = workspace.folder.transforms
    if path.exists():
        return FrameTransform.from_json(read_transforms(path))
    size = (video.width, video.height)
    boxes = _sample_face_boxes(options, video, estimators) if options.crop_to_head else None
    transform = plan_transform(size, options.scale, options.force_square, boxes)
    write_transforms(path, transform.to_json())
    return transform


def _sample_face_boxes(
    options: PreprocessOptions, video: VideoInfo, estimators: EstimatorPack
) -> list[tuple[float, float, float, float]]:
    stride = max(1, (options.max_frames or video.claimed_frames) // CROP_SAMPLES)
    untouched = identity_transform((video.width, video.height))
    boxes, previous = [], None
    for frame_id, rgb in tqdm(frames_of(options), desc="head region", unit="frame"):
        if frame_id % stride == 0:
            face = choose_face(estimators.landmarks.faces(Frame(frame_id, rgb, untouched)), previous)
            if face is not None:
                boxes.append(face.bounding_box)
                previous = face
    # A run that finds the transform on disk has not seen these frames either.
    estimators.landmarks.reset()
    if not boxes:
        raise UserError(f"no face was found in {options.video}: the head cannot be cropped to")
    return boxes
