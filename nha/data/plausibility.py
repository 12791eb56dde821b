"""Frames in which something covers the face: a hand, dark glasses, a microphone.

Landmark detectors place a face on what they do not see, so such frames look complete. Here the colours of regions of
the face (lips, eyes, nose, cheeks, chin) are compared with those of the same person in the rest of the video. Each
colour is taken relative to the whole face of its frame, so a change of the light counts only if it is not even. Regions
that are turned away, and lids that close, are no fault.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

FEWEST_FRAMES = 12  # fewer do not show what is usual
SMALLEST_AREA_PX = 6
SMALLEST_SHARE = (
    0.4  # of the region's usual area relative to the face; smaller ones are turned away or pressed together
)
# Deviations in CIELAB units (lightness, a, b) and of the lightness within the region that count as 1 if the region
# varies less than that by itself.
FLOOR = np.array([14.0, 5.0, 6.0, 9.0])
USUAL_SPREAD = 4.0  # deviations count as 1 at this multiple of the region's median absolute deviation
ONE_REGION, SOME_REGIONS, N_SOME = 2.2, 1.3, 3  # a frame is reported if one or some regions deviate by more

REGIONS: dict[str, tuple[int, ...]] = {
    "upper lip": (48, 49, 50, 51, 52, 53, 54, 64, 63, 62, 61, 60),
    "lower lip": (48, 60, 67, 66, 65, 64, 54, 55, 56, 57, 58, 59),
    "right eye": (36, 37, 38, 39, 40, 41),
    "left eye": (42, 43, 44, 45, 46, 47),
    "nose": (27, 31, 33, 35),
    "skin above the lips": (31, 33, 35, 53, 52, 51, 50, 49),
    "chin": (59, 58, 57, 56, 55, 9, 8, 7),
    "right cheek": (2, 3, 48, 31),
    "left cheek": (14, 13, 54, 35),
    "bridge of the nose": (21, 22, 42, 28, 39),
    "skin under the right eye": (36, 41, 40, 39, 31, 2),
    "skin under the left eye": (42, 47, 46, 45, 14, 35),
}
JAW_ENDS, NOSE_TIP = (0, 16), 30
_SKIN_BESIDE = {"right eye": "skin under the right eye", "left eye": "skin under the left eye"}
_NAMES = list(REGIONS)


def measure_face_colours(
    rgb: np.ndarray, landmarks_px: np.ndarray, foreground: np.ndarray | None = None
) -> np.ndarray:
    """Colours of the regions of a face, float32 [len(REGIONS), 5].

    Args:
        rgb: uint8 [H, W, 3].
        landmarks_px: [68, 2].
        foreground: bool [H, W], the person. In a face that is turned to the side a detector's landmarks of the far
            side, of nose and mouth lie partly beside the head; pixels outside the person do not count there. In other
            faces they count, because an object before the face may be outside the mask.

    Returns:
        Median lightness, a and b (CIELAB), standard deviation of the lightness, and area relative to the squared face
        size; NaN for a region that is too small or outside the image.
    """
    low = np.maximum(np.floor(landmarks_px.min(axis=0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(landmarks_px.max(axis=0)).astype(int) + 2, rgb.shape[1::-1])
    result = np.full((len(REGIONS), 5), np.nan, np.float32)
    if (high - low < 8).any():
        return result
    crop = np.ascontiguousarray(rgb[low[1] : high[1], low[0] : high[0]]).astype(np.float32) / 255
    lab = cv2.cvtColor(crop, cv2.COLOR_RGB2LAB)
    face_px = max(1.0, float(np.ptp(landmarks_px, axis=0).max()))
    seen = np.ones(lab.shape[:2], bool)
    if foreground is not None and is_turned(landmarks_px):
        seen = foreground[low[1] : high[1], low[0] : high[0]]
    for row, indices in zip(result, REGIONS.values(), strict=True):
        outline = np.rint((landmarks_px[list(indices)] - low - 0.5) * 16).astype(np.int32)
        mask = np.zeros(lab.shape[:2], np.uint8)
        cv2.fillPoly(mask, [outline], 1, shift=4)
        pixels = lab[(mask > 0) & seen]
        if len(pixels) >= SMALLEST_AREA_PX:
            row[:3] = np.median(pixels, axis=0)
            row[3] = pixels[:, 0].std()
            row[4] = len(pixels) / face_px**2
    return result


def is_turned(landmarks_px: np.ndarray) -> bool:
    """Whether a face is turned so far to the side that its nose lies beside the line between the ends of the jaw.

    Args:
        landmarks_px: [68, 2].
    """
    right, left = landmarks_px[[JAW_ENDS[0], JAW_ENDS[1]]]
    along = float((landmarks_px[NOSE_TIP] - right) @ (left - right))
    return not 0 <= along <= float((left - right) @ (left - right))


def find_covered_faces(colours: Mapping[int, np.ndarray]) -> dict[int, str]:
    """Frames whose face looks unlike that of most frames, and where.

    Args:
        colours: frame id -> result of `measure_face_colours`.

    Returns:
        Frame id -> description of the regions, for a message; empty if there are too few frames.
    """
    if len(colours) < FEWEST_FRAMES:
        return {}
    deviations = face_deviations(np.stack(list(colours.values())))
    found = {}
    for frame_id, deviation in zip(colours, deviations, strict=True):
        if (deviation > ONE_REGION).any() or (deviation > SOME_REGIONS).sum() >= N_SOME:
            found[frame_id] = _describe(deviation)
    return found


def face_deviations(colours: np.ndarray) -> np.ndarray:
    """Deviation of each region from its usual colour, [N, len(REGIONS)]; above 1 is unusual, 0 where not visible.

    Args:
        colours: [N, len(REGIONS), 5], results of `measure_face_colours`.
    """
    values = colours[..., :4].astype(float)
    area = colours[..., 4]
    with np.errstate(invalid="ignore"):
        hidden = ~(area >= SMALLEST_SHARE * _median(area, axis=0))
    values[hidden] = np.nan
    # the usual colour of the face, and by how much each frame is brighter or darker as a whole
    usual = _median(values, axis=0)
    values[..., :3] -= _median(values[..., :3] - usual[..., :3], axis=1)[:, None]
    usual = _median(values, axis=0)
    difference = np.abs(values - usual)
    scale = np.maximum(FLOOR, USUAL_SPREAD * _median(difference, axis=0))
    deviation = np.linalg.norm(difference / scale, axis=2)
    for eye, skin in _SKIN_BESIDE.items():  # closed lids
        i, j = _NAMES.index(eye), _NAMES.index(skin)
        as_lid = np.linalg.norm(((values[:, i] - usual[j]) / scale[j])[:, :3], axis=1)
        deviation[:, i] = np.fmin(deviation[:, i], as_lid)
    return np.nan_to_num(deviation)


def _median(values: np.ndarray, axis: int) -> np.ndarray:
    """Median without NaN; NaN where all are."""
    with np.errstate(all="ignore"):
        filled = np.ma.masked_invalid(values)
        return np.ma.median(filled, axis=axis).filled(np.nan)


def _describe(deviation: np.ndarray) -> str:
    order: Sequence[int] = np.argsort(-deviation)[:3]
    return "unusual colour: " + ", ".join(_NAMES[i] for i in order if deviation[i] > SOME_REGIONS)
