"""Pictures of an opened avatar, and films of what was done."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from nha.avatar.neutral_frame import neutral_frame
from nha.core.errors import UserError
from nha.data.video_io import iterate_frames
from nha.render.camera import project
from nha.viewer.recording import Moment, Recording, write_film
from nha.viewer.stage import LOOKS, Stage, State, open_stage
from nha.viewer.viewpoint import look_from
from nha.visualization.colours import to_uint8
from tests.export.conftest import make_avatar


@pytest.mark.parametrize("frame_id", [1, 5])
def test_a_tracked_frame_is_the_avatars_own_picture(stage, tracking, frame_id):
    size = tracking.image_size
    camera = tracking.camera_for([frame_id], size)
    with torch.no_grad():
        expected = stage.avatar(tracking.params_for([frame_id]), camera, torch.tensor([frame_id]))
    picture = stage.picture(State(frame_id=frame_id), stage.viewpoint, size)
    difference = np.abs(picture.astype(int) - to_uint8(expected[0]))
    assert (
        difference > 1
    ).mean() < 1e-3  # the camera went through a quaternion: a pixel at the edge may differ
    assert (picture != 255).any(-1).mean() > 0.05


def test_at_rest_the_head_looks_into_the_trackers_camera(stage, tracking):
    camera = tracking.camera_for([0], tracking.image_size)
    head = stage.avatar.head
    points = project(head.landmarks(stage.surface(State()).vertices), camera)[0]
    nose, eyes = points[30], points[[36, 45]]
    height, width = tracking.image_size
    assert abs(float(nose[0]) - width / 2) < 0.03 * width
    assert 0 < float(nose[1]) < height
    assert abs(float(eyes[0, 2] - eyes[1, 2])) < 0.005  # both are equally far: it does not look aside
    assert float(nose[2]) < float(eyes[:, 2].min())  # the nose is nearer


def test_looks_differ_and_cover_the_same_pixels(stage):
    pictures = {look: stage.picture(State(), stage.viewpoint, (64, 96), look) for look in LOOKS}
    assert all(picture.shape == (64, 96, 3) for picture in pictures.values())
    assert (pictures.pop("nothing") == 255).all()
    masks = [(picture != 255).any(-1) for picture in pictures.values()]
    assert masks[0].mean() > 0.05
    assert all((mask != masks[0]).mean() < 0.01 for mask in masks[1:])
    assert len({picture.tobytes() for picture in pictures.values()}) == 3


def test_a_slider_changes_the_picture_and_back(stage):
    front = stage.picture(State(), stage.viewpoint, (64, 64))
    open_mouth = stage.picture(State({"jaw_open": 20.0}), stage.viewpoint, (64, 64))
    assert (front != open_mouth).any()
    again = stage.picture(State({"jaw_open": 0.0}), stage.viewpoint, (64, 64))
    assert np.array_equal(front, again)


def test_another_camera_sees_the_other_side(stage):
    away = stage.middle - np.array(stage.viewpoint.position)
    behind = look_from(stage.middle + away, stage.middle, stage.viewpoint.fov_rad)
    back = stage.picture(State(), behind, (64, 64), "normals")
    front = stage.picture(State(), stage.viewpoint, (64, 64), "normals")
    assert (back != 255).any()
    assert np.abs(back.astype(int) - front).mean() > 3


def test_without_a_tracking_file_the_whole_head_is_seen(head, assets):
    stage = Stage(make_avatar(head, 0.0), None, assets.expression_names)
    picture = stage.picture(State(), stage.viewpoint, (96, 96), "surface")
    seen = (picture != 255).any(-1)
    assert 0.15 < seen.mean() < 0.8
    assert not seen[0].any()
    assert not seen[:, [0, -1]].any()
    assert stage.frame_ids == ()
    with pytest.raises(UserError, match="needs a tracking file"):
        stage.head(State(frame_id=0))


def test_files_are_opened_and_those_that_do_not_fit_refused(files, head, tracking):
    stage = open_stage(files.ckpt, files.tracking, device="cpu")
    assert stage.frame_ids == (0, 1, 2, 5)
    with pytest.raises(UserError, match="no frame 3"):
        stage.picture(State(frame_id=3), stage.viewpoint, (16, 16))
    with pytest.raises(UserError, match="another head model"):
        Stage(make_avatar(head, 0.0), dataclasses.replace(tracking, shape=np.zeros(10, np.float32)))


def rotated(axis_angle: torch.Tensor) -> Rotation:
    return Rotation.from_rotvec(axis_angle[0].numpy())


def test_another_person_moves_the_head(stage, tracking, assets):
    """Of another shape and a camera that stands elsewhere: the change since the neutral frame is what counts."""
    shape = np.random.default_rng(0).normal(size=tracking.shape.shape).astype(np.float32)
    translation = tracking.translation + np.float32([[0, 0, 0], [0, 0, 0], [0, 0, 0], [0.1, 0, 0]])
    plain = np.eye(3, 4, dtype=np.float32)
    driving = dataclasses.replace(tracking, shape=shape, RT=plain, translation=translation)
    driven = Stage(stage.avatar, tracking, assets.expression_names, driving=driving)
    still = driven.head(State(frame_id=neutral_frame(driving)))
    for name, value in vars(still).items():
        assert torch.allclose(value, getattr(stage.rest, name), atol=1e-5), name
    assert torch.equal(driven.head(State(frame_id=5)).shape, stage.rest.shape)
    moved, neutral = driving.params_for([5]), driving.params_for([neutral_frame(driving)])
    head = driven.head(State(frame_id=5))
    assert torch.allclose(head.expr - stage.rest.expr, moved.expr - neutral.expr, atol=1e-6)
    own = rotated(neutral.rotation).inv() * rotated(moved.rotation)
    assert (rotated(stage.rest.rotation).inv() * rotated(head.rotation) * own.inv()).magnitude() < 1e-4
    seen = (head.translation - stage.rest.translation)[0].numpy() @ tracking.RT[:, :3]
    assert np.allclose(seen, (moved.translation - neutral.translation)[0], atol=1e-6)


# --- films ------------------------------------------------------------------------------------------------


def moment(stage: Stage, jaw: float) -> Moment:
    return Moment(State({"jaw_open": jaw}), stage.viewpoint)


def test_a_recording_holds_each_moment_until_the_next(stage):
    recording = Recording()
    for time_s, jaw in ((10.0, 0.0), (10.05, 0.0), (10.3, 5.0), (10.72, 9.0)):
        recording.add(time_s, moment(stage, jaw))
    assert len(recording.moments) == 3  # the second one changed nothing
    seen = [m.state.values["jaw_open"] for m in recording.frames(end_s=11.0, frame_rate=10)]
    assert seen == [0, 0, 0, 5, 5, 5, 5, 5, 9, 9]
    with pytest.raises(UserError, match="nothing was recorded"):
        list(Recording().frames(1.0, 10))
    assert len(list(recording.frames(end_s=10.0, frame_rate=10))) == 1


def test_a_film_has_every_moment_at_full_size(stage, tmp_path):
    moments = [moment(stage, jaw) for jaw in (0.0, 0.0, 25.0)]
    said = []
    path = write_film(tmp_path / "a film.mp4", stage, moments, (64, 96), 25.0, said.append)
    frames = list(iterate_frames(path))
    assert [frame.shape for frame in frames] == [(64, 96, 3)] * 3
    assert said == pytest.approx([1 / 3, 2 / 3, 1])
    for frame, wanted in zip(frames, moments, strict=True):
        drawn = stage.picture(wanted.state, wanted.viewpoint, (64, 96))
        assert np.abs(frame.astype(int) - drawn).mean() < 4
