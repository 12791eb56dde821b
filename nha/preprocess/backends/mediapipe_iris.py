"""Irises: two points of mediapipe's refined face mesh."""

from __future__ import annotations

import numpy as np

from nha.preprocess.backends.mediapipe_mesh import LEFT_IRIS, RIGHT_IRIS
from nha.preprocess.cleanup import irises_inside_eyes
from nha.preprocess.estimators import Face, Frame


class MediapipeIris:
    """Reads the irises from the mesh that the landmark estimator has found."""

    name = "mediapipe face mesh (iris points)"

    def irises(self, frame: Frame, face: Face) -> np.ndarray:
        """float32 [2, 2], right then left, -1 where an eye is closed; see `estimators.IrisEstimator`."""
        return irises_inside_eyes(face.mesh_px[[RIGHT_IRIS, LEFT_IRIS], :2], face.landmarks_px)
