"""Rendered images of an opened avatar, and recorded videos."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from nha.avatar.neutral_frame import neutral_frame
from nha.core.errors import UserError
from nha.data.origin import TrackingOrigin
from nha.data.video_io import iterate_frames
from nha.render.camera import project
from nha.viewer.recording import Recording, write_video
from nha.viewer.scene import RENDER_MODES, AvatarScene, ControlState, RenderRequest, open_scene
from nha.viewer.viewpoint import look_from
from nha.visualization.colours import to_uint8
from tests.export.conftest import make_avatar


@pytest.mark.parametrize("frame_id", [1, 5])
def test_a_tracked_frame_is_rendered_as_by_the_avatar(scene, tracking, frame_id):
    size = tracking.image_size
    camera = tracking.camera_for([frame_id], size)
    with torch.no_grad():
        expected = scene.avatar(tracking.params_for([frame_id]), camera, torch.tensor([frame_id]))
    image = scene.render(ControlState(frame_id=frame_id), scene.viewpoint, size)
    difference = np.abs(image.astype(int) - to_uint8(expected[0]))
    assert (
        difference > 1
    ).mean() < 1e-3  # the camera went through a quaternion: a pixel at the edge may differ
    assert (image != 255).any(-1).mean() > 0.05


def test_the_neutral_head_looks_into_the_trackers_camera(scene, tracking):
    camera = tracking.camera_for([0], tracking.image_size)
    head = scene.avatar.head
    points = project(head.landmarks(scene.surface(ControlState()).vertices), camera)[0]
    nose, eyes = points[30], points[[36, 45]]
    height, width = tracking.image_size
    assert abs(float(nose[0]) - width / 2) < 0.03 * width
    assert 0 < float(nose[1]) < height
    # both eyes are equally far away: the head looks straight ahead
    assert abs(float(eyes[0, 2] - eyes[1, 2])) < 0.005
    assert float(nose[2]) < float(eyes[:, 2].min())  # the nose is nearer


def test_render_modes_differ_and_cover_the_same_pixels(scene):
    images = {mode: scene.render(ControlState(), scene.viewpoint, (64, 96), mode) for mode in RENDER_MODES}
    assert all(image.shape == (64, 96, 3) for image in images.values())
    assert (images.pop("none") == 255).all()
    masks = [(image != 255).any(-1) for image in images.values()]
    assert masks[0].mean() > 0.05
    assert all((mask != masks[0]).mean() < 0.01 for mask in masks[1:])
    assert len({image.tobytes() for image in images.values()}) == 3


def test_a_slider_changes_the_image_and_resets_it(scene):
    front = scene.render(ControlState(), scene.viewpoint, (64, 64))
    open_mouth = scene.render(ControlState({"jaw_open": 20.0}), scene.viewpoint, (64, 64))
    assert (front != open_mouth).any()
    again = scene.render(ControlState({"jaw_open": 0.0}), scene.viewpoint, (64, 64))
    assert np.array_equal(front, again)


def test_another_camera_sees_the_other_side(scene):
    away = scene.centre - np.array(scene.viewpoint.position)
    behind = look_from(scene.centre + away, scene.centre, scene.viewpoint.fov_rad)
    back = scene.render(ControlState(), behind, (64, 64), "normals")
    front = scene.render(ControlState(), scene.viewpoint, (64, 64), "normals")
    assert (back != 255).any()
    assert np.abs(back.astype(int) - front).mean() > 3


def test_without_a_tracking_file_the_whole_head_is_visible(head):
    scene = AvatarScene(make_avatar(head, 0.0), None)
    image = scene.render(ControlState(), scene.viewpoint, (96, 96), "surface")
    visible = (image != 255).any(-1)
    assert 0.15 < visible.mean() < 0.8
    assert not visible[0].any()
    assert not visible[:, [0, -1]].any()
    assert scene.poses.frame_ids == ()
    with pytest.raises(UserError, match="needs a tracking file"):
        scene.params(ControlState(frame_id=0))


def test_files_are_opened_and_mismatches_are_errors(files, head, tracking):
    scene = open_scene(files.ckpt, files.tracking, device="cpu")
    assert scene.poses.frame_ids == (0, 1, 2, 5)
    with pytest.raises(UserError, match="no frame 3"):
        scene.render(ControlState(frame_id=3), scene.viewpoint, (16, 16))
    other = TrackingOrigin({"release": "FLAME 2023", "fingerprint": "0123456789abcdef"})
    with pytest.raises(UserError, match="was tracked with the head model 'FLAME 2023'"):
        AvatarScene(make_avatar(head, 0.0), dataclasses.replace(tracking, origin=other))


def rotated(axis_angle: torch.Tensor) -> Rotation:
    return Rotation.from_rotvec(axis_angle[0].numpy())


def test_a_driving_video_moves_the_head(scene, tracking):
    """With another shape and another camera: only the change since the neutral frame is transferred."""
    shape = np.random.default_rng(0).normal(size=tracking.shape.shape).astype(np.float32)
    translation = tracking.translation + np.float32([[0, 0, 0], [0, 0, 0], [0, 0, 0], [0.1, 0, 0]])
    plain = np.eye(3, 4, dtype=np.float32)
    driving = dataclasses.replace(tracking, shape=shape, RT=plain, translation=translation)
    driven = AvatarScene(scene.avatar, tracking, driving=driving)
    start = neutral_frame(driving, scene.avatar.head)
    still = driven.params(ControlState(frame_id=start))
    for name, value in vars(still).items():
        assert torch.allclose(value, getattr(scene.poses.neutral, name), atol=1e-5), name
    assert torch.equal(driven.params(ControlState(frame_id=5)).shape, scene.poses.neutral.shape)
    moved, neutral = driving.params_for([5]), driving.params_for([start])
    head = driven.params(ControlState(frame_id=5))
    assert torch.allclose(head.expr - scene.poses.neutral.expr, moved.expr - neutral.expr, atol=1e-6)
    own = rotated(neutral.rotation).inv() * rotated(moved.rotation)
    assert (
        rotated(scene.poses.neutral.rotation).inv() * rotated(head.rotation) * own.inv()
    ).magnitude() < 1e-4
    in_camera = (head.translation - scene.poses.neutral.translation)[0].numpy() @ tracking.RT[:, :3]
    assert np.allclose(in_camera, (moved.translation - neutral.translation)[0], atol=1e-6)


# --- videos -----------------------------------------------------------------------------------------------


def request(scene: AvatarScene, jaw: float) -> RenderRequest:
    return RenderRequest(ControlState({"jaw_open": jaw}), scene.viewpoint)


def test_a_recording_holds_each_request_until_the_next(scene):
    recording = Recording()
    for time_s, jaw in ((10.0, 0.0), (10.05, 0.0), (10.3, 5.0), (10.72, 9.0)):
        recording.add(time_s, request(scene, jaw))
    assert len(recording.requests) == 3  # the second request changed nothing
    jaws = [r.state.values["jaw_open"] for r in recording.frames(end_s=11.0, frame_rate=10)]
    assert jaws == [0, 0, 0, 5, 5, 5, 5, 5, 9, 9]
    with pytest.raises(UserError, match="nothing was recorded"):
        list(Recording().frames(1.0, 10))
    assert len(list(recording.frames(end_s=10.0, frame_rate=10))) == 1


def test_a_video_has_a_frame_for_every_request(scene, tmp_path):
    requests = [request(scene, jaw) for jaw in (0.0, 0.0, 25.0)]
    progress = []
    path = write_video(tmp_path / "a video.mp4", scene, requests, (64, 96), 25.0, progress.append)
    frames = list(iterate_frames(path))
    assert [frame.shape for frame in frames] == [(64, 96, 3)] * 3
    assert progress == pytest.approx([1 / 3, 2 / 3, 1])
    for frame, wanted in zip(frames, requests, strict=True):
        expected = scene.render(wanted.state, wanted.viewpoint, (64, 96))
        assert np.abs(frame.astype(int) - expected).mean() < 4
