"""Landmarks, dense face mesh and irises by mediapipe's refined face mesh model."""

from __future__ import annotations

import warnings

import numpy as np
import torch

from nha.core.conventions import LANDMARK_GROUPS, N_FACE_LANDMARKS
from nha.preprocess.backends.mediapipe_detection import SmallFaceMesh, orientation_scores
from nha.preprocess.backends.mediapipe_mesh import (
    IBUG68,
    LEFT_IRIS,
    N_MESH_POINTS,
    N_REFINED_POINTS,
    RIGHT_IRIS,
    face_topology,
)
from nha.preprocess.backends.mediapipe_normals import outward_normals
from nha.preprocess.backends.mediapipe_runtime import load_mediapipe, pad_to_square, quiet
from nha.preprocess.cleanup import irises_inside_eyes
from nha.preprocess.crop import FrameTransform
from nha.preprocess.estimators import (
    IRIS_NOT_FOUND,
    EstimatorContext,
    Face,
    Frame,
    IrisEstimator,
    LandmarkEstimator,
)

MAX_FACES = 3  # enough to notice that there are several

# The mesh's contour is fixed on the face while iBUG's jaw line slides along the silhouette, so the confidence of
# those points is lower. Mean errors in units of the eye distance: jaw 0.094, brows 0.048, others 0.023..0.037.
CONFIDENCE_BY_GROUP = {"jaw": 0.25, "right_brow": 0.7, "left_brow": 0.7}

# Below this cosine between surface normal and viewing direction the position of a point is unreliable: on
# synthetic turning heads, errors grow from 0.02..0.06 of the eye distance to 0.1..0.3 at a cosine of 0. Points of
# the jaw line always have a small cosine; their errors only grow when it becomes negative.
FACING_COSINE = 0.4
MIN_FACING_CONFIDENCE = 0.1


class MediapipeLandmarks(LandmarkEstimator):
    """Landmarks and mesh of all faces in a frame.

    Args:
        follow: track faces through a video, whose frames must come in order; this is smoother and faster. False
            processes each frame on its own.
        max_faces: number of faces to find at most; further faces are not searched once so many are followed.
        small_faces: where the whole frame shows no face, search small ones, which takes long.
    """

    name = "mediapipe face mesh (refined, 478 points)"
    has_mesh = True

    def __init__(self, follow: bool = True, max_faces: int = MAX_FACES, small_faces: bool = True) -> None:
        self.sequential = follow
        self._max_faces, self._search_small = max_faces, small_faces
        self._solution = None
        self._small_faces = SmallFaceMesh(MAX_FACES)
        self._confidence = np.ones(N_FACE_LANDMARKS, np.float32)
        for group, confidence in CONFIDENCE_BY_GROUP.items():
            self._confidence[list(LANDMARK_GROUPS[group])] = confidence
        self._expected_facing = np.full(N_FACE_LANDMARKS, FACING_COSINE, np.float32)
        self._expected_facing[list(LANDMARK_GROUPS["jaw"])] = 0

    @classmethod
    def create(cls, context: EstimatorContext, follow: bool = True) -> MediapipeLandmarks:
        """Checks that mediapipe is installed; see `Estimator.create`."""
        load_mediapipe()
        return cls(follow)

    def faces(self, frame: Frame) -> list[Face]:
        """All faces in the frame; see `LandmarkEstimator.faces`.

        Where the whole frame shows none, small ones are searched at the resolution of the video.
        """
        square = pad_to_square(frame.rgb)
        found = self._run(square).multi_face_landmarks or []
        meshes = [_points(mesh.landmark) * square.shape[0] for mesh in found]
        if not meshes and self._search_small:
            meshes = self._small_faces.meshes(frame.video_rgb)
            if frame.original is not None:
                meshes = [_to_output(mesh, frame.transform) for mesh in meshes]
                meshes = [mesh for mesh in meshes if _is_inside(mesh, frame.rgb.shape[:2])]
        return [self._face(mesh) for mesh in meshes]

    def reset(self) -> None:
        """Forget the tracked faces and free the model; the next frame loads it again."""
        self._small_faces.close()
        if self._solution is not None:
            self._solution.close()
            self._solution = None

    def orientation_scores(self, rgb: np.ndarray) -> np.ndarray:
        """See `LandmarkEstimator.orientation_scores`."""
        return orientation_scores(rgb)

    def close(self) -> None:
        """Free the model."""
        self.reset()

    def _run(self, square: np.ndarray):
        if self._solution is None:
            with quiet():
                self._solution = load_mediapipe().solutions.face_mesh.FaceMesh(
                    static_image_mode=not self.sequential,
                    max_num_faces=self._max_faces,
                    refine_landmarks=True,
                )
                return self._solution.process(square)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of protobuf, about its own interface
            return self._solution.process(square)

    def _face(self, mesh: np.ndarray) -> Face:
        landmarks = mesh[list(IBUG68)]
        return Face(
            landmarks_px=np.ascontiguousarray(landmarks[:, :2]),
            depth=np.ascontiguousarray(landmarks[:, 2]),
            confidence=self.confidence(mesh),
            mesh_px=mesh,
        )

    def confidence(self, mesh_px: np.ndarray) -> np.ndarray:
        """Confidence of the 68 landmarks of a mesh [M, 3], [68] in 0..1.

        It depends on the part of the face and on the angle between the surface and the viewing direction.
        """
        surface = torch.from_numpy(mesh_px[:N_MESH_POINTS])[None]
        normals = outward_normals(surface, torch.from_numpy(face_topology().triangles))[0].numpy()
        missing = self._expected_facing - normals[list(IBUG68), 2]
        return self._confidence * np.clip(1 - missing / FACING_COSINE, MIN_FACING_CONFIDENCE, 1)


def _points(landmarks) -> np.ndarray:
    """float32 [478, 3] in units of the image's width; so is the depth."""
    return np.array([(point.x, point.y, point.z) for point in landmarks], np.float32)


def _to_output(mesh_px: np.ndarray, transform: FrameTransform) -> np.ndarray:
    xy = transform.points_to_output(mesh_px[:, :2])
    return np.concatenate([xy, mesh_px[:, 2:] * transform.scale[0]], axis=1).astype(np.float32)


def _is_inside(mesh_px: np.ndarray, shape: tuple[int, int]) -> bool:
    x, y = mesh_px[:, :2].mean(axis=0)
    return 0 <= x < shape[1] and 0 <= y < shape[0]


class MediapipeIris(IrisEstimator):
    """Irises from the mesh of the landmark estimator."""

    name = "mediapipe face mesh (iris points)"
    needs_mesh = True

    def irises(self, frame: Frame, face: Face) -> np.ndarray:
        """-1 if an eye is closed or the face has no mesh with irises; see `IrisEstimator.irises`."""
        if len(face.mesh_px) != N_REFINED_POINTS:
            return np.full((2, 2), IRIS_NOT_FOUND, np.float32)
        return irises_inside_eyes(face.mesh_px[[RIGHT_IRIS, LEFT_IRIS], :2], face.landmarks_px)
