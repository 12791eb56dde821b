"""Published landmarks: 68 points by the package face-alignment (FAN, 3D variant with flip test)."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import torch

from nha.core.conventions import N_FACE_LANDMARKS
from nha.core.errors import UserError
from nha.core.optional_files import optional_file
from nha.core.torch_file import load_torch
from nha.preprocess.backends.mediapipe_landmarks import MediapipeLandmarks
from nha.preprocess.estimators import EstimatorContext, Face, Frame, LandmarkEstimator

# A mesh belongs to a face if their centres are closer than this, in units of the landmarks' larger extent.
SAME_FACE = 0.5


class FaceAlignmentLandmarks(LandmarkEstimator):
    """Landmarks by face-alignment, each frame on its own, and the face mesh by mediapipe.

    Args:
        device: where the network runs.
        meshes: estimator of the face mesh, from which irises are read.
        need_mesh: leave out faces without a mesh, because parsing or normals are made from it.
    """

    name = "face-alignment 3DFAN4"
    has_mesh = True

    def __init__(self, device: torch.device, meshes: MediapipeLandmarks, need_mesh: bool) -> None:
        self._meshes = meshes
        self._need_mesh = need_mesh
        self._aligner = load_face_alignment(device)

    @classmethod
    def create(cls, context: EstimatorContext) -> FaceAlignmentLandmarks:
        """With a mesh estimator that also processes each frame on its own; see `Estimator.create`."""
        import_face_alignment()
        return cls(context.device, MediapipeLandmarks.create(context, follow=False), context.needs_mesh)

    def faces(self, frame: Frame) -> list[Face]:
        """All faces in the frame, by descending score; see `LandmarkEstimator.faces`."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package warns if there is no face
            found, _, boxes = self._aligner.get_landmarks_from_image(
                np.ascontiguousarray(frame.rgb), return_bboxes=True
            )
        if not found:
            return []
        by_score = sorted(range(len(found)), key=lambda i: -float(boxes[i][-1]))
        meshes = self._meshes.faces(frame)
        faces = [attach_mesh(_face(np.asarray(found[i], np.float32)), meshes) for i in by_score]
        return [face for face in faces if len(face.mesh_px) or not self._need_mesh]

    def reset(self) -> None:
        """Free the mesh model; the landmarks do not depend on earlier frames."""
        self._meshes.reset()

    def orientation_scores(self, rgb: np.ndarray) -> np.ndarray:
        """By mediapipe; see `LandmarkEstimator.orientation_scores`."""
        return self._meshes.orientation_scores(rgb)

    def close(self) -> None:
        """Free the mesh model."""
        self._meshes.close()


def attach_mesh(face: Face, candidates: list[Face]) -> Face:
    """The face with the mesh of the candidate at the same place; unchanged if there is none."""
    if not candidates:
        return face
    nearest = min(candidates, key=lambda other: float(np.linalg.norm(other.centre_px - face.centre_px)))
    extent = float(np.ptp(face.landmarks_px, axis=0).max())
    if np.linalg.norm(nearest.centre_px - face.centre_px) > SAME_FACE * extent:
        return face
    return dataclasses.replace(face, mesh_px=nearest.mesh_px)


def _face(points: np.ndarray) -> Face:
    return Face(
        landmarks_px=np.ascontiguousarray(points[:, :2]),
        depth=np.ascontiguousarray(points[:, 2]),
        confidence=np.ones(N_FACE_LANDMARKS, np.float32),
        mesh_px=np.zeros((0, 3), np.float32),
    )


def load_face_alignment(device: torch.device):
    """The aligner of the package face-alignment, with weights from the cache folder of PyTorch's hub.

    Raises:
        UserError: the package or a weight file is missing, or a file holds anything but tensors.
    """
    package = import_face_alignment()
    weights = optional_file("face-alignment")
    if missing := weights.missing():  # the package would try to download them
        raise UserError(f"face-alignment needs {', '.join(map(str, missing))}: put {weights.origin} there")
    for path in weights.paths:
        load_torch(path)  # only checks: the package unpickles the files without restrictions
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return package.FaceAlignment(
            package.LandmarksType.THREE_D,
            device=str(device),
            flip_input=True,
            face_detector="sfd",
            compile=False,
        )


def import_face_alignment():
    """The package face-alignment. Raises UserError if it is not installed."""
    try:
        import face_alignment
    except ImportError as error:
        raise UserError(
            f"published landmarks need the package face-alignment 1.5.0 ({error}); install it (README, 'Published "
            "annotators'), or use --estimators mediapipe"
        ) from error
    return face_alignment
