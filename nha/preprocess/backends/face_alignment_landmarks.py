"""68 landmarks by the package face-alignment (FAN, 3D variant with flip test)."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import torch

from nha.core.conventions import N_FACE_LANDMARKS
from nha.core.errors import UserError
from nha.core.optional_files import optional_file
from nha.core.torch_file import load_torch
from nha.preprocess.backends.mediapipe_landmarks import MediapipeLandmarks
from nha.preprocess.estimators import Face, Frame

# A mesh belongs to a face whose centre is nearer than this, in units of the landmarks' larger extent.
SAME_FACE = 0.5


class FaceAlignmentLandmarks:
    """Looks at each frame by itself; weights lie where PyTorch's hub keeps them.

    meshes: finds the dense surface that face-alignment does not give and irises are read from; need_mesh: leave out
    faces for which it finds none (parsing or normals are made from it).
    """

    name = "face-alignment 3DFAN4"
    sequential = False

    def __init__(self, device: torch.device, meshes: MediapipeLandmarks, need_mesh: bool) -> None:
        self._meshes = meshes
        self._need_mesh = need_mesh
        self._aligner = load_face_alignment(device)

    def faces(self, frame: Frame) -> list[Face]:
        """All faces in the frame, the most certain first; see `estimators.LandmarkEstimator`."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns where there is no face
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
        """Nothing is remembered; frees the mesh's model."""
        self._meshes.reset()


def attach_mesh(face: Face, candidates: list[Face]) -> Face:
    """The face with the mesh of the candidate at its place; unchanged where there is none."""
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
    """The package's aligner. Raises UserError where the package or a weight file is missing or not to be trusted."""
    package = import_face_alignment()
    weights = optional_file("face-alignment")
    if missing := weights.missing():  # it would try to download them
        raise UserError(f"face-alignment needs {', '.join(map(str, missing))}: put {weights.origin} there")
    for path in weights.paths:
        check_harmless(path)
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
    """The package. Raises UserError where it is not installed."""
    try:
        import face_alignment
    except ImportError as error:
        raise UserError(
            f"published landmarks need the package face-alignment 1.5.0 ({error}); install it (README, 'Published "
            "annotators'), or use --estimators mediapipe"
        ) from error
    return face_alignment


def check_harmless(path: Path) -> None:
    """Raise UserError for a weight file that asks for anything but tensors: face-alignment would run it.

    It reads its depth network with an unpickler that does what the file says.
    """
    load_torch(path)
