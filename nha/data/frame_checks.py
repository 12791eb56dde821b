"""Checks of one frame's annotations, each by itself and against each other (pure functions).

The thresholds are generous: ground truth, mediapipe and published annotations stay well within them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from nha.core.conventions import LANDMARK_GROUPS, OTHER_PARSING_LABELS, Parsing, Segmentation
from nha.data.dataset_folder import Keypoints
from nha.data.findings import Fault

BORDER = 0.02  # distance that a landmark may be outside, in units of the image's longer edge
SMALLEST_FACE_PX = 4.0
SMALLEST_HEAD = 0.005  # share of the image
SMALLEST_FACE = 0.001
LARGEST_ROLL_DEG = 60.0  # people tilt their heads by less
FEATURE_DISTANCE = 0.15  # smallest distance of eyes and mouth that has a reliable direction, in face sizes
ON_HEAD = 0.9  # share of the landmarks (except the jaw line) that must be on the dilated head mask
HEAD_RIM = 0.03  # radius of the dilation, in face sizes
SAME_MASK_IOU = 0.8
SAME_PLACE = 0.1  # largest distance of the parsed eye or mouth from its landmarks, in face sizes
SMALLEST_FEATURE = 2e-4  # smallest parsed area that has a reliable position, in squared face sizes
IRIS_OUTSIDE = 0.5  # in eye widths
OUTSIDE_NORMALS = 0.02  # largest share of the normals outside of the head mask
LENGTH_ERROR = 0.1  # deviation from length 1 at which a normal is wrong
WRONG_NORMALS = 0.05  # largest share of wrong normals

_FACE_LABELS = (
    Parsing.SKIN, Parsing.NOSE, Parsing.L_EYE, Parsing.R_EYE, Parsing.L_BROW, Parsing.R_BROW, Parsing.MOUTH,
    Parsing.U_LIP, Parsing.L_LIP,
)  # fmt: skip
_MOUTH_LABELS = (Parsing.MOUTH, Parsing.U_LIP, Parsing.L_LIP)
_BELOW_FACE = (Parsing.NECK, Parsing.NECKLACE, Parsing.CLOTH)
_KNOWN_LABELS = {*map(int, Parsing), *OTHER_PARSING_LABELS}
_NOT_HEAD = (Segmentation.BACKGROUND, Segmentation.CLOTHES)

FrameFault = tuple[Fault, str]  # with what was measured, for the message


@dataclass(frozen=True)
class FrameAnnotations:
    """Annotations of a frame as read by `dataset_folder`; all images have the same size."""

    keypoints: Keypoints
    parsing: np.ndarray
    segmentation: np.ndarray
    normals: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.parsing.shape

    @property
    def face_px(self) -> float:
        """Face size in pixels: the larger extent of the landmarks."""
        return max(1.0, float(np.ptp(self.keypoints.landmarks_px, axis=0).max()))

    @property
    def head(self) -> np.ndarray:
        """The head mask, bool [H, W]."""
        return ~np.isin(self.segmentation, _NOT_HEAD)

    def landmark_centre(self, group: str) -> np.ndarray:
        """Mean of a group of landmarks in pixels, [2]."""
        return self.keypoints.landmarks_px[list(LANDMARK_GROUPS[group])].mean(axis=0)

    def label_centre(self, *labels: Parsing) -> np.ndarray | None:
        """Mean position of labels in pixels, [2]; None if there are hardly any."""
        rows, columns = np.nonzero(np.isin(self.parsing, labels))
        if len(rows) < max(4, SMALLEST_FEATURE * self.face_px**2):
            return None
        return np.array([columns.mean() + 0.5, rows.mean() + 0.5])


def check_frame(frame: FrameAnnotations) -> list[FrameFault]:
    """All faults of a frame."""
    checks = (
        check_labels,
        check_landmarks,
        check_orientation,
        check_masks,
        check_features,
        check_irises,
        check_normals,
    )
    return [fault for check in checks for fault in check(frame)]


def check_labels(frame: FrameAnnotations) -> Iterator[FrameFault]:
    """Labels that the data format does not define."""
    for name, labels, known in (
        ("parsing", frame.parsing, _KNOWN_LABELS),
        ("seg", frame.segmentation, set(map(int, Segmentation))),
    ):
        unknown = sorted(set(np.unique(labels).tolist()) - known)
        if unknown:
            yield Fault.LABELS, f"{name} holds {', '.join(map(str, unknown[:8]))}"


def check_landmarks(frame: FrameAnnotations) -> Iterator[FrameFault]:
    """Landmarks outside of the image or of the head mask."""
    points = frame.keypoints.landmarks_px
    height, width = frame.shape
    if (extent := float(np.ptp(points, axis=0).max())) < SMALLEST_FACE_PX:
        yield Fault.OUTSIDE, f"all of them lie within {extent:.1f} px, which is no face"
        return
    beyond = np.maximum(-points, points - (width, height)).max(axis=1)
    n_outside = int((beyond > BORDER * max(frame.shape)).sum())
    if n_outside:
        yield Fault.OUTSIDE, f"{n_outside} of {len(points)}, by up to {beyond.max():.0f} px"
    if frame.head.mean() < SMALLEST_HEAD:
        return  # check_masks reports it
    radius = max(1, round(HEAD_RIM * frame.face_px))
    grown = cv2.dilate(frame.head.astype(np.uint8), np.ones((2 * radius + 1,) * 2, np.uint8)) > 0
    columns, rows = np.floor(points[len(LANDMARK_GROUPS["jaw"]) :]).astype(int).T
    columns, rows = np.clip(columns, 0, width - 1), np.clip(rows, 0, height - 1)
    share = float(grown[rows, columns].mean())
    if share < ON_HEAD:
        yield Fault.OFF_HEAD, f"{1 - share:.0%} of them"


def check_orientation(frame: FrameAnnotations) -> Iterator[FrameFault]:
    """A mouth above or beside the eyes, or clothes and neck above them."""
    roll_deg = face_roll_deg(frame.keypoints.landmarks_px)
    if roll_deg is not None and abs(roll_deg) > LARGEST_ROLL_DEG:
        where = "above" if abs(roll_deg) > 180 - LARGEST_ROLL_DEG else "beside"
        yield Fault.TURNED, f"the mouth is {where} the eyes (turned by {roll_deg:.0f} degrees)"
        return
    rows, columns = np.nonzero(np.isin(frame.parsing, _BELOW_FACE))
    if len(rows) < SMALLEST_FACE * frame.parsing.size:
        return
    eyes_y = (frame.landmark_centre("right_eye") + frame.landmark_centre("left_eye"))[1] / 2
    above = (eyes_y - rows.mean()) / frame.face_px
    if above > 0:
        yield Fault.TURNED, f"neck and clothes are above the eyes, by {above:.1f} face sizes"


def face_roll_deg(landmarks_px: np.ndarray) -> float | None:
    """Angle by which a face is turned in the image, clockwise in -180..180 degrees.

    It is measured from the eyes to the mouth, so turning the head to a side hardly changes it.

    Args:
        landmarks_px: [68, 2].

    Returns:
        The angle; None if eyes and mouth are at one place.
    """
    eyes, mouth = (
        np.mean([landmarks_px[list(LANDMARK_GROUPS[name])].mean(axis=0) for name in names], axis=0)
        for names in (("right_eye", "left_eye"), ("outer_mouth",))
    )
    down = mouth - eyes
    if np.linalg.norm(down) < FEATURE_DISTANCE * max(1.0, float(np.ptp(landmarks_px, axis=0).max())):
        return None
    return float(np.rad2deg(np.arctan2(-down[0], down[1])))


def check_masks(frame: FrameAnnotations) -> Iterator[FrameFault]:
    """Head mask or parsed face is empty, or they differ."""
    if frame.head.mean() < SMALLEST_HEAD:
        yield Fault.EMPTY_HEAD, f"{frame.head.mean():.2%} of the image"
    face = np.isin(frame.parsing, _FACE_LABELS).mean()
    if face < SMALLEST_FACE:
        yield Fault.EMPTY_FACE, f"{face:.2%} of the image"
    parsed = (frame.parsing != Parsing.BACKGROUND) & (frame.parsing != Parsing.CLOTH)
    union = int((parsed | frame.head).sum())
    iou = int((parsed & frame.head).sum()) / union if union else 1.0
    if iou < SAME_MASK_IOU:
        yield Fault.MASKS_DIFFER, f"IoU {iou:.2f}"


def check_features(frame: FrameAnnotations) -> Iterator[FrameFault]:
    """Parsed eyes and mouth that are not at their landmarks."""
    right, left = frame.landmark_centre("right_eye"), frame.landmark_centre("left_eye")
    parsed = {"right": frame.label_centre(Parsing.R_EYE), "left": frame.label_centre(Parsing.L_EYE)}
    for side, own, other in (("right", right, left), ("left", left, right)):
        if parsed[side] is None:
            continue
        distance, to_other = (
            float(np.linalg.norm(parsed[side] - eye)) / frame.face_px for eye in (own, other)
        )
        if distance > SAME_PLACE and to_other < SAME_PLACE:
            yield Fault.SWAPPED, f"the {side} one lies on the other"
        elif distance > SAME_PLACE:
            yield Fault.EYES, f"the {side} one by {distance:.2f} face sizes"
    mouth = frame.label_centre(*_MOUTH_LABELS)
    if mouth is not None:
        distance = float(np.linalg.norm(mouth - frame.landmark_centre("outer_mouth"))) / frame.face_px
        if distance > SAME_PLACE:
            yield Fault.MOUTH, f"by {distance:.2f} face sizes"


def check_irises(frame: FrameAnnotations) -> Iterator[FrameFault]:
    """Irises outside of their eyes."""
    for side, iris in zip(("right", "left"), frame.keypoints.iris_px, strict=True):
        if (iris < 0).all():
            continue
        outline = frame.keypoints.landmarks_px[list(LANDMARK_GROUPS[f"{side}_eye"])].astype(np.float32)
        width = max(1.0, float(np.linalg.norm(outline[3] - outline[0])))
        outside = -cv2.pointPolygonTest(outline, (float(iris[0]), float(iris[1])), True) / width
        if outside > IRIS_OUTSIDE:
            yield Fault.IRISES, f"the {side} one by {outside:.1f} eye widths"


def check_normals(frame: FrameAnnotations) -> Iterator[FrameFault]:
    """No normals, normals outside of the head, or vectors that are not unit normals."""
    known = np.abs(frame.normals).max(axis=2) > 0
    if known.mean() < SMALLEST_FACE:
        yield Fault.EMPTY_NORMALS, f"{known.mean():.2%} of the image"
        return
    outside = float((known & ~frame.head).sum() / known.sum())
    if outside > OUTSIDE_NORMALS and frame.head.any():
        yield Fault.NORMALS_OUTSIDE, f"{outside:.0%} of them"
    vectors = frame.normals[known]
    wrong_length = float((np.abs(np.linalg.norm(vectors, axis=1) - 1) > LENGTH_ERROR).mean())
    if wrong_length > WRONG_NORMALS:
        yield Fault.NORMALS_VALUES, f"{wrong_length:.0%} are not of length 1"
    away = float((vectors[:, 2] < -LENGTH_ERROR).mean())
    if away > WRONG_NORMALS:
        yield Fault.NORMALS_VALUES, f"{away:.0%} point away from the camera"
