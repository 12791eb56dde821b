"""The part of the video frames that becomes the dataset, from faces in frames that are spread over the video."""

from __future__ import annotations

import itertools

import numpy as np

from nha.core.errors import UserError
from nha.core.progress import progress
from nha.core.system import get_logger
from nha.data.video_io import VideoInfo, count_packets
from nha.preprocess.crop import FrameTransform, box_around_heads, identity_transform, plan_transform
from nha.preprocess.estimators import EstimatorSet, Frame
from nha.preprocess.frame_job import decode_video, select_face
from nha.preprocess.options import PreprocessOptions

SAMPLES = 48
SMALL_REGION = 2 / 3  # of the shorter edge of the frame: `--crop_to_head auto` crops to smaller regions
SMALLEST_FACE_PX = 8

ORIENTATION_FRAMES, ORIENTATION_STEP = 5, 8  # frames 0, 8, 16, ... show how faces are turned
FACE_CROP = 2.5  # side of the part of an image around a face, in face sizes
RELIABLE_SCORE = 0.6
TURNED_MARGIN = 0.05  # by which the score of turned faces must exceed that of upright ones on average
_TURNED = {
    1: "lie on their side (top of the head on the right)",
    2: "are upside down",
    3: "lie on their side (top of the head on the left)",
}

_logger = get_logger(__name__)


def check_orientation(options: PreprocessOptions, estimators: EstimatorSet) -> None:
    """Raise a UserError if the faces of a video lie on their side or are upside down, unless `rotate` is set."""
    if options.rotate != "auto":
        return
    samples = itertools.islice(decode_video(options, ORIENTATION_STEP), ORIENTATION_FRAMES)
    scores = [orientation_of_face(estimators, frame_id, frame.rgb) for frame_id, frame in samples]
    estimators.landmarks.reset()
    scores = np.array([score for score in scores if score is not None and score.max() > RELIABLE_SCORE])
    if not len(scores):
        return
    mean = scores.mean(axis=0)
    best = int(mean.argmax())
    if best and mean[best] > mean[0] + TURNED_MARGIN and (scores.argmax(axis=1) == best).mean() > 0.5:
        raise UserError(
            f"the faces in {options.video.name} {_TURNED[best]}: turn the frames with --rotate {360 - 90 * best}, "
            "or use --rotate 0 if they are upright"
        )


def orientation_of_face(estimators: EstimatorSet, frame_id: int, rgb: np.ndarray) -> np.ndarray | None:
    """`LandmarkEstimator.orientation_scores` of the face in an image, or of the whole image if none is found."""
    scores = estimators.landmarks.orientation_scores(rgb)
    if scores is None:
        return None
    faces = estimators.landmarks.faces(Frame(frame_id, rgb, identity_transform(rgb.shape[1::-1])))
    face = select_face(faces, None)
    if face is None:
        return scores
    reach = FACE_CROP * np.ptp(face.landmarks_px, axis=0).max() / 2
    low = np.maximum(np.floor(face.centre_px - reach).astype(int), 0)
    high = np.minimum(np.ceil(face.centre_px + reach).astype(int), rgb.shape[1::-1])
    crop = np.ascontiguousarray(rgb[low[1] : high[1], low[0] : high[0]])
    return estimators.landmarks.orientation_scores(crop) if crop.size else scores


def choose_transform(
    options: PreprocessOptions, video: VideoInfo, estimators: EstimatorSet
) -> FrameTransform:
    """The transform of all frames of a video: the whole frame, or the region in which the head moves.

    Raises:
        UserError: the faces lie on their side or are upside down; or the head is to be cropped to, but no face was
            found.
    """
    check_orientation(options, estimators)
    size = (video.width, video.height)
    if options.crop_to_head == "false":
        return plan_transform(size, options.scale, options.force_square)
    boxes = sample_face_boxes(options, video, estimators)
    if not boxes and options.crop_to_head == "true":
        raise UserError(f"no face was found in {options.video}: the head cannot be cropped to")
    if not boxes or (options.crop_to_head == "auto" and not is_small(boxes, size)):
        return plan_transform(size, options.scale, options.force_square)
    transform = plan_transform(size, options.scale, options.force_square, boxes)
    if options.crop_to_head == "auto":
        _logger.info(
            "cropped to the head: %d x %d of %d x %d pixels (--crop_to_head false keeps the whole frame)",
            transform.crop_w,
            transform.crop_h,
            *size,
        )
    return transform


def is_small(face_boxes: list[tuple[float, ...]], video_size: tuple[int, int]) -> bool:
    """Whether the region in which the head moves is small in the frames of size (width, height)."""
    left, top, right, bottom = box_around_heads(np.asarray(face_boxes, float), video_size)
    return max(right - left, bottom - top) < SMALL_REGION * min(video_size)


def sample_face_boxes(
    options: PreprocessOptions, video: VideoInfo, estimators: EstimatorSet
) -> list[tuple[float, ...]]:
    """Bounding boxes of the face in frames that are spread over the video.

    With `crop_to_head` "auto", the search ends when the region is no longer small.
    """
    size = (video.width, video.height)
    n_frames = count_packets(options.video) // options.every
    stride = max(1, min(options.max_frames or n_frames, n_frames) // SAMPLES)
    boxes: list[tuple[float, ...]] = []
    previous = None
    for frame_id, frame in progress(decode_video(options, stride), "head region"):
        rgb = frame.rgb
        if rgb.shape[:2] != size[::-1]:
            break  # the size changes, which decoding for the dataset reports
        face = select_face(
            estimators.landmarks.faces(Frame(frame_id, rgb, identity_transform(size))), previous
        )
        if face is not None and np.ptp(face.landmarks_px, axis=0).min() > SMALLEST_FACE_PX:
            boxes.append(face.bounding_box)
            previous = face
            if options.crop_to_head == "auto" and not is_small(boxes, size):
                break
    # A resumed run reads the transform from disk and does not process these frames, so the estimators' state is reset.
    estimators.landmarks.reset()
    return boxes
