"""Skin, hair, neck and cloth around a known face, classified by colour and position.

Each class has a colour histogram, learned in the frame where the class is nearly certain, and a prior that
depends on the position relative to the face. Their product is smoothed along the edges of the image.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter

from nha.preprocess.backends.face_surroundings import (
    UNDER_JAW,
    FaceSurroundings,
    to_working_size,
    working_size,
)
from nha.preprocess.guided_filter import GuidedFilter

SKIN, HAIR, CLOTH, NECK = range(4)

# Histogram bins of 8-bit Lab. Skin, hair and most cloth use a narrow part of a and b: finer bins there.
LIGHTNESS_BINS, CHROMA_BINS = 20, 24
CHROMA_RANGE = (96.0, 192.0)
CHIN_REACH = 0.06  # how far a chin, or a beard, may reach beyond the measured one, in head heights
NECK_CHROMA = 14.0  # largest difference of the neck's chroma from that of shaded skin, 8-bit Lab
CLOTH_BESIDE_NECK = 0.02  # prior of cloth between the jaw and the height of the chin
# Distance from the face, in head heights, from which pixels above the brows show the colours of hair.
HAIR_BESIDE_FACE, HAIR_BEYOND_TEMPLES = 0.06, 0.15
FEWEST_SEED_PIXELS = 20  # fewer do not show the colours of a class
RARE_COLOUR = 2e-5  # likelihood of a colour that does not occur in the histogram of a class

SMOOTHING_RADIUS = 1 / 80  # in units of the image's longer edge
SMOOTHING_EPS = 4e-4
FIT_SUBSAMPLE = 2  # the guided filter is fitted at every second pixel of the working size
RIM_WEIGHT = 0.02
SAME_COLOUR = 8.0  # of 255, colour difference at which the weight of an earlier frame is about a half


@dataclass(frozen=True)
class RegionEstimate:
    """Class probabilities of a frame at working size, before smoothing.

    Attributes:
        rgb: float32 [h, w, 3] in 0..255, blurred.
        posterior: float32 [h, w, 4], for SKIN, HAIR, CLOTH and NECK; 0 outside of the foreground.
    """

    rgb: np.ndarray
    posterior: np.ndarray


def estimate_regions(rgb: np.ndarray, position: FaceSurroundings, features: np.ndarray) -> RegionEstimate:
    """Combine the likelihood of the colours with the prior of the positions.

    Args:
        rgb: uint8 [H, W, 3].
        position: positions relative to the face.
        features: bool [H, W], eyes, brows, lips and mouth, whose colours do not count as skin.
    """
    small_rgb = cv2.resize(rgb, working_size(rgb.shape), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(cv2.GaussianBlur(small_rgb, (3, 3), 0), cv2.COLOR_RGB2LAB).astype(np.float32)
    likelihood = _colour_likelihoods(lab, position, to_working_size(features))
    joint = [prior * likelihood[k] for k, prior in enumerate(_priors(position))]
    # Pixels at the silhouette mix two colours, so they get a small weight.
    weight = np.where(position.rim, np.float32(RIM_WEIGHT), np.float32(1)) * position.foreground / sum(joint)
    certain_skin = position.face & (position.height < position.brow_height)
    posterior = [np.where(certain_skin, np.float32(k == SKIN), joint[k] * weight) for k in range(4)]
    blurred = cv2.GaussianBlur(small_rgb, (5, 5), 0).astype(np.float32)
    return RegionEstimate(blurred, cv2.merge([plane.astype(np.float32) for plane in posterior]))


def average_over_time(now: RegionEstimate, before: Iterable[RegionEstimate]) -> np.ndarray:
    """Average posteriors over this frame and earlier ones where the colour has not changed, [h, w, 4].

    This reduces flicker in static regions and has no effect in moving ones.
    """
    total, weights = now.posterior.copy(), np.ones(now.rgb.shape[:2], np.float32)
    for earlier in before:
        difference = now.rgb - earlier.rgb
        squared = cv2.transform(difference * difference, np.ones((1, 3), np.float32))
        same = np.exp(squared / -(SAME_COLOUR**2))
        total += same[..., None] * earlier.posterior
        weights += same
    return total / weights[..., None]


def classify_regions(rgb: np.ndarray, posterior: np.ndarray) -> np.ndarray:
    """Smooth posteriors along the edges of an image and take the largest.

    Args:
        rgb: uint8 [H, W, 3].
        posterior: [h, w, 4] at working size.

    Returns:
        uint8 [H, W]: SKIN, HAIR, CLOTH or NECK; undefined outside of the foreground.
    """
    radius = max(2, round(max(rgb.shape) * SMOOTHING_RADIUS))
    subsample = FIT_SUBSAMPLE * rgb.shape[1] / posterior.shape[1]
    smooth = GuidedFilter(rgb.astype(np.float32) / 255, radius, SMOOTHING_EPS, subsample)
    return _largest_of(smooth.smooth_plane(plane) for plane in cv2.split(posterior))


def _largest_of(planes: Iterable[np.ndarray]) -> np.ndarray:
    """Index of the largest plane at each pixel, uint8; the first of equal ones."""
    largest, number = None, None
    for k, plane in enumerate(planes):
        if largest is None:
            largest, number = plane, np.zeros(plane.shape, np.uint8)
        else:
            np.putmask(number, plane > largest, k)
            np.maximum(largest, plane, out=largest)
    return number


def _colour_bins(lab: np.ndarray) -> np.ndarray:
    """Histogram bin of every pixel of an 8-bit Lab image, int64 [H, W]."""
    lightness = (lab[..., 0] * (LIGHTNESS_BINS / 256)).astype(np.int64)
    low, high = CHROMA_RANGE
    chroma = np.clip((lab[..., 1:] - low) * (CHROMA_BINS / (high - low)), 0, CHROMA_BINS - 1).astype(np.int64)
    return (lightness * CHROMA_BINS + chroma[..., 0]) * CHROMA_BINS + chroma[..., 1]


def _histogram(bins: np.ndarray) -> np.ndarray:
    """Smoothed relative frequencies of all bins, flat."""
    shape = (LIGHTNESS_BINS, CHROMA_BINS, CHROMA_BINS)
    counts = np.bincount(bins, minlength=int(np.prod(shape))).reshape(shape).astype(np.float32)
    smooth = gaussian_filter(counts, (1.0, 0.7, 0.7), mode="nearest")
    return (smooth / max(float(smooth.sum()), 1e-6)).ravel()


def _colour_likelihoods(
    lab: np.ndarray, position: FaceSurroundings, features: np.ndarray
) -> list[np.ndarray]:
    bins = _colour_bins(lab)
    body = position.foreground & ~position.face
    skin_seed = (
        position.foreground
        & (position.inside > 0.04)
        & (position.height < position.brow_height + 0.1)
        & ~features
    )
    skin = _histogram(bins[skin_seed])
    above = position.height > position.brow_height
    hair_seed = body & above & (position.outside > HAIR_BESIDE_FACE)
    beyond_temples = hair_seed & (position.outside > HAIR_BEYOND_TEMPLES)
    if beyond_temples.sum() >= FEWEST_SEED_PIXELS:
        hair_seed = beyond_temples
    hair = _distinct(bins[hair_seed], skin, keep_similar=True)
    on_shoulders = (position.sideways > 0.55) & (position.below_chin > 0.1)
    cloth_seed = body & (on_shoulders | (position.below_chin > 0.6))
    long_hair = position.under_hair & (hair[bins] > 10 * RARE_COLOUR)
    if (cloth_seed & ~long_hair).sum() >= FEWEST_SEED_PIXELS:
        cloth_seed &= ~long_hair
    cloth = _distinct(bins[cloth_seed], skin)
    under_chin = (
        body & (position.outside > CHIN_REACH) & (position.below_chin > 0) & (position.below_chin < 0.3)
    )
    under_chin &= position.sideways < 0.25
    under_chin &= _like_shaded(lab, lab[skin_seed])
    # The neck is skin in the shadow of the chin: pixels there that are not cloth.
    neck = 0.5 * skin + 0.5 * _distinct(bins[under_chin], cloth)
    return [(histogram + RARE_COLOUR)[bins] for histogram in (skin, hair, cloth, neck)]


def _like_shaded(lab: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """Pixels [H, W] whose chroma is near that of skin [N, 3] at their lightness; 8-bit Lab. Shade lowers both."""
    if not len(skin):
        return np.ones(lab.shape[:2], bool)
    lightness, *chroma = np.median(skin, axis=0)
    shade = np.minimum(lab[..., :1] / max(float(lightness), 1.0), 1.0)
    difference = lab[..., 1:] - 128 - (np.array(chroma, np.float32) - 128) * shade
    return np.linalg.norm(difference, axis=-1) < NECK_CHROMA


def _distinct(seed_bins: np.ndarray, known: np.ndarray, keep_similar: bool = False) -> np.ndarray:
    """Histogram of a seed region without the colours of a class that may extend into it.

    If hardly anything remains (a bald head, a bare shoulder) all likelihoods are 0.

    Args:
        seed_bins: bins of the seed region's pixels.
        known: histogram of the class that may extend into it.
        keep_similar: keep colours that resemble only a few of that class, as highlights on hair resemble shaded skin.
            How far the class extends into the region follows from the region's share of its most common colours.
    """
    if len(seed_bins) < FEWEST_SEED_PIXELS:
        return np.zeros_like(known)
    seen = _histogram(seed_bins)
    share = min(1.0, _weighted_median(seen / np.maximum(known, 1e-9), known)) if keep_similar else 1.0
    cleaned = np.where(share * known > 0.5 * seen, 0.0, seen)
    remaining = float(cleaned.sum())
    return cleaned / remaining if remaining > 0.1 else np.zeros_like(known)


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """The value below which half of the weight lies; 0 without weight."""
    used = np.flatnonzero(weights > 0)
    if not len(used):
        return 0.0
    order = used[np.argsort(values[used])]
    total = np.cumsum(weights[order])
    return float(values[order[np.searchsorted(total, 0.5 * total[-1])]])


def _priors(position: FaceSurroundings) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Prior of each class given the position: four maps, not normalised."""
    in_upper_face = position.face & (position.height > position.brow_height)
    near_face = np.exp(-position.outside / 0.08)
    above_chin = position.below_chin < 0
    beside_or_above = position.height > UNDER_JAW

    chin = 0.8 * np.exp(-position.outside / CHIN_REACH) * (position.outside < 2 * CHIN_REACH)
    skin = np.where(in_upper_face, 0.95, 0.02 + np.where(beside_or_above, 0.5 * near_face, chin))
    skin = np.where(position.ear, 0.6, skin)
    hair = np.where(in_upper_face, 0.05 + 0.4 * np.exp(-position.inside / 0.05), 0.5)
    # Below the chin there is only long hair, on either side of the neck; a beard counts as skin.
    beside_neck = np.maximum(_step(-position.sideways, -0.6, 0.05), position.under_hair)
    long_hair = 0.25 * np.exp(-np.maximum(position.below_chin, 0) / 0.5) * beside_neck
    long_hair = long_hair * (0.05 + 0.95 * _step(position.sideways, 0.25, 0.05))
    hair = np.where(position.height < UNDER_JAW, np.minimum(hair, 0.01 + long_hair), hair)
    cloth = _step(position.below_chin, 0.15, 0.06) * (0.2 + 0.8 * _step(position.below_chin, 0.45, 0.1))
    cloth = cloth + 0.3 * _step(position.sideways, 0.45, 0.05) * _step(position.below_chin, 0.0, 0.05)
    neck = (
        _step(-position.height, 0.3, 0.05)
        * _step(-position.sideways, -0.5, 0.06)
        * _step(-position.below_chin, -0.8, 0.1)
    )
    neck = np.where(position.face, 0.0, neck)
    # A lowered chin is below the collar, so cloth is rare above the chin, but not below the jaw.
    near_neck = np.where(position.face | beside_or_above, 1e-3, CLOTH_BESIDE_NECK)
    cloth = np.where(above_chin & (position.sideways < 0.4), near_neck, cloth + 1e-3)
    return skin, hair, cloth, neck + 1e-4


def _step(values: np.ndarray, middle: float, width: float) -> np.ndarray:
    """A smooth step from 0 to 1."""
    return 1 / (1 + np.exp(-np.clip((values - middle) / width, -30, 30)))
