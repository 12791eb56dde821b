"""68 landmarks and the dense face mesh by mediapipe's refined face model."""

from __future__ import annotations

import warnings

import numpy as np
import torch

from nha.core.conventions import LANDMARK_GROUPS, N_FACE_LANDMARKS
from nha.preprocess.backends.mediapipe_mesh import IBUG68, N_MESH_POINTS, face_topology
from nha.preprocess.backends.mediapipe_normals import outward_normals
from nha.preprocess.backends.mediapipe_runtime import load_mediapipe, pad_to_square, quiet
from nha.preprocess.estimators import Face, Frame

MAX_FACES = 3  # enough to notice that there are several

# The mesh's contour is fixed on the face while iBUG's jaw line slides along the silhouette, so those points
# deserve less trust; the brows lie between (mean errors: 0.094 and 0.048 of the eye distance against
# 0.023..0.037).
CONFIDENCE_BY_GROUP = {"jaw": 0.25, "right_brow": 0.7, "left_brow": 0.7}

# A point of the surface that faces the camera by less than this (cosine) is guessed more than seen: on synthetic
# heads that turn, errors grow from 0.02..0.06 of the eye distance to 0.1..0.3 where it is 0. The jaw line is a
# contour that always faces aside; its errors grow only behind it.
FACING = 0.4
LEAST_TRUST = 0.1


class MediapipeLandmarks:
    """Follows faces through a video, whose frames must come in order; or looks at each frame by itself.

    follow: which of the two; following is smoother and quicker.
    """

    name = "mediapipe face mesh (refined, 478 points)"

    def __init__(self, follow: bool = True) -> None:
        self.sequential = follow
        self._solution = None
        self._confidence = np.ones(N_FACE_LANDMARKS, np.float32)
        for group, confidence in CONFIDENCE_BY_GROUP.items():
            self._confidence[list(LANDMARK_GROUPS[group])] = confidence
        self._expected_facing = np.full(N_FACE_LANDMARKS, FACING, np.float32)
        self._expected_facing[list(LANDMARK_GROUPS["jaw"])] = 0

    def faces(self, frame: Frame) -> list[Face]:
        """All faces in the frame; see `estimators.LandmarkEstimator`."""
        square = pad_to_square(frame.rgb)
        meshes = self._run(square).multi_face_landmarks or []
        return [self._face(mesh.landmark, square.shape[0]) for mesh in meshes]

    def reset(self) -> None:
        """Forget the faces followed so far, and free the model; the next frame loads it again."""
        if self._solution is not None:
            self._solution.close()
            self._solution = None

    def _run(self, square: np.ndarray):
        if self._solution is None:
            with quiet():
                self._solution = load_mediapipe().solutions.face_mesh.FaceMesh(
                    static_image_mode=not self.sequential, max_num_faces=MAX_FACES, refine_landmarks=True
                )
                return self._solution.process(square)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # protobuf, about itself
            return self._solution.process(square)

    def _face(self, points, side_px: int) -> Face:
        # Depth comes in units of the picture's width, as x does.
        mesh = np.array([(point.x, point.y, point.z) for point in points], np.float32) * side_px
        landmarks = mesh[list(IBUG68)]
        return Face(
            landmarks_px=np.ascontiguousarray(landmarks[:, :2]),
            depth=np.ascontiguousarray(landmarks[:, 2]),
            confidence=self.trust(mesh),
            mesh_px=mesh,
        )

    def trust(self, mesh_px: np.ndarray) -> np.ndarray:
        """Confidence of the 68 landmarks of a mesh [M, 3]: by part of the face, and by how it faces the camera."""
        surface = torch.from_numpy(mesh_px[:N_MESH_POINTS])[None]
        normals = outward_normals(surface, torch.from_numpy(face_topology().triangles))[0].numpy()
        missing = self._expected_facing - normals[list(IBUG68), 2]
        return self._confidence * np.clip(1 - missing / FACING, LEAST_TRUST, 1)
