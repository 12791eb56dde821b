"""Irises: two points of mediapipe's refined face mesh."""

from __future__ import annotations

import numpy as np

from nha.preprocess.backends.mediapipe_mesh import LEFT_IRIS, N_REFINED_POINTS, RIGHT_IRIS
from nha.preprocess.cleanup import irises_inside_eyes
from nha.preprocess.estimators import IRIS_NOT_FOUND, Face, Frame


class MediapipeIris:
    """Reads the irises from the mesh that the landmark estimator has found."""

    name = "mediapipe face mesh (iris points)"

    def irises(self, frame: Frame, face: Face) -> np.ndarray:
        """float32 [2, 2], right then left, -1 where an eye is closed or the face has no mesh of mediapipe's.

        See `estimators.IrisEstimator`.
        """
        if len(face.mesh_px) != N_REFINED_POINTS:
            return np.full((2, 2), IRIS_NOT_FOUND, np.float32)
        return irises_inside_eyes(face.mesh_px[[RIGHT_IRIS, LEFT_IRIS], :2], face.landmarks_px)
