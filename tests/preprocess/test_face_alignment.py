"""Published landmarks: a fake package face-alignment, meshes, and weight files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nha.core.errors import UserError
from nha.preprocess.backends.face_alignment_landmarks import FaceAlignmentLandmarks, attach_mesh
from nha.preprocess.backends.mediapipe_landmarks import MediapipeIris
from nha.preprocess.estimators import Face, Frame
from tests.preprocess.published import CPU, FAN_FILES, face_in, frame_of, noise


class FakeMeshes:
    """Returns given meshes instead of those of mediapipe."""

    def __init__(self, *faces: Face) -> None:
        self.found = list(faces)

    def faces(self, frame: Frame) -> list[Face]:
        return self.found

    def reset(self) -> None:
        self.found = []


def test_landmarks_most_certain_face_first_with_depth(fakes, face_alignment):
    estimator = FaceAlignmentLandmarks(CPU, FakeMeshes(), need_mesh=False)
    (kind, made_with) = face_alignment.FaceAlignment.made_with[-1]
    assert kind == face_alignment.LandmarksType.THREE_D
    assert made_with == {"device": "cpu", "flip_input": True, "face_detector": "sfd", "compile": False}
    frame = frame_of(fakes.draw_frame((8, 20, fakes.RED), (60, 24, fakes.BLUE)))
    first, second = estimator.faces(frame)
    assert first.centre_px[0] > 60 > second.centre_px[0]
    assert first.landmarks_px.shape == (68, 2)
    assert 0 < first.depth.max() <= 7
    assert (first.confidence == 1).all()
    assert estimator.faces(frame_of(fakes.draw_frame())) == []


def test_a_mesh_goes_to_the_face_at_its_place(fakes, face_alignment):
    mesh = np.ones((478, 3), np.float32)
    here, elsewhere = face_in(10, 10, 20, 20), face_in(60, 40, 20, 20, mesh)
    assert len(attach_mesh(here, []).mesh_px) == 0
    assert len(attach_mesh(here, [elsewhere]).mesh_px) == 0
    assert len(attach_mesh(here, [elsewhere, replace(here, mesh_px=mesh)]).mesh_px) == 478
    frame = frame_of(fakes.draw_frame((8, 20, fakes.RED), (60, 24, fakes.BLUE)))
    meshes = FakeMeshes(face_in(60, 24, 20, 20, mesh))
    assert [len(f.mesh_px) for f in FaceAlignmentLandmarks(CPU, meshes, False).faces(frame)] == [478, 0]
    assert [len(f.mesh_px) for f in FaceAlignmentLandmarks(CPU, meshes, True).faces(frame)] == [478]


def test_a_face_without_a_mesh_has_no_irises():
    assert (
        MediapipeIris().irises(frame_of(noise(40, 40, 3)), face_in(5, 5, 30, 30)).tolist() == [[-1, -1]] * 2
    )


def test_weights_of_face_alignment_are_never_downloaded(face_alignment, torch_home):
    (torch_home / FAN_FILES[1]).unlink()
    made = len(face_alignment.FaceAlignment.made_with)
    with pytest.raises(UserError, match=FAN_FILES[1]):
        FaceAlignmentLandmarks(CPU, FakeMeshes(), need_mesh=False)
    assert len(face_alignment.FaceAlignment.made_with) == made


class Malicious:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize("name", FAN_FILES)
def test_weights_that_would_run_something_never_reach_face_alignment(
    face_alignment, torch_home, tmp_path, name
):
    marker = tmp_path / "executed"
    torch.save({"state_dict": Malicious(marker)}, torch_home / name)
    made = len(face_alignment.FaceAlignment.made_with)
    with pytest.raises(UserError, match=name):
        FaceAlignmentLandmarks(CPU, FakeMeshes(), need_mesh=False)
    assert len(face_alignment.FaceAlignment.made_with) == made
    assert not marker.exists()
