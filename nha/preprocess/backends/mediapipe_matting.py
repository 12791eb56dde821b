"""Matting by mediapipe's selfie segmentation and a guided filter."""

from __future__ import annotations

import warnings

import cv2
import numpy as np

from nha.preprocess.backends.mediapipe_runtime import load_mediapipe, quiet
from nha.preprocess.components import fill_holes, largest_component
from nha.preprocess.estimators import EstimatorContext, Frame, MattingEstimator
from nha.preprocess.guided_filter import GuidedFilter

GENERAL_MODEL = 0  # for square images; model 1 is for landscape images
# The model works on 256 x 256 pixels: error of its outline, in units of the image's longer edge.
OUTLINE_ERROR = 1 / 64
FLAT_COLOUR_VARIANCE = 1e-4
LARGEST_HOLE = 0.005  # share of the image's area; larger ones show the background, as between arm and body
SUBSAMPLE = 2  # the model's output has no finer detail


class MediapipeMatting(MattingEstimator):
    """Mattes of single frames."""

    name = "mediapipe selfie segmentation + guided filter"

    def __init__(self) -> None:
        self._solution = None

    @classmethod
    def create(cls, context: EstimatorContext) -> MediapipeMatting:
        """Checks that mediapipe is installed; see `Estimator.create`."""
        load_mediapipe()
        return cls()

    def matte(self, frame: Frame) -> np.ndarray:
        """See `MattingEstimator.matte`."""
        return clean_matte(self._run(np.ascontiguousarray(frame.rgb)), frame.rgb)

    def close(self) -> None:
        """Free the model."""
        if self._solution is not None:
            self._solution.close()
            self._solution = None

    def _run(self, rgb: np.ndarray) -> np.ndarray:
        if self._solution is None:
            with quiet():
                solutions = load_mediapipe().solutions
                self._solution = solutions.selfie_segmentation.SelfieSegmentation(
                    model_selection=GENERAL_MODEL
                )
                return self._solution.process(rgb).segmentation_mask
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of protobuf, about its own interface
            return self._solution.process(rgb).segmentation_mask


def clean_matte(matte01: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    """Keep the largest component, fill its holes and align its outline with the edges of the image.

    Args:
        matte01: float32 [H, W] in 0..1.
        rgb: uint8 [H, W, 3].

    Returns:
        float32 [H, W] in 0..1.
    """
    height, width = matte01.shape
    subsample = min(SUBSAMPLE, min(height, width))
    small = cv2.resize(
        matte01, (round(width / subsample), round(height / subsample)), interpolation=cv2.INTER_AREA
    )
    solid = fill_holes(largest_component(small > 0.5), LARGEST_HOLE)
    if not solid.any():
        return np.zeros(matte01.shape, np.float32)
    radius = max(2, round(max(matte01.shape) * OUTLINE_ERROR))
    # The model's output is used far from its outline, the filtered one near it.
    reach = np.ones((2 * round(radius / subsample) + 1,) * 2, np.uint8)
    near = cv2.dilate(solid.astype(np.uint8), reach)
    guided = GuidedFilter(rgb.astype(np.float32) / 255, radius, FLAT_COLOUR_VARIANCE, subsample)
    filtered = guided(np.where(solid, np.maximum(small, 0.5), small * near))
    near = cv2.resize(near, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    # More contrast around one half sends the noise that the filter leaves in flat areas to 0 and 1.
    sharpened = np.clip(filtered * 2 - 0.5, 0, 1) * near
    return sharpened * largest_component(sharpened > 0)
