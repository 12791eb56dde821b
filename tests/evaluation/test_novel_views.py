"""Rotated heads: their pose, their images, and the videos."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nha.core.rotations import rotation_matrix
from nha.data.dataset_folder import read_rgb
from nha.data.video_io import iterate_frames
from nha.evaluation.novel_views import (
    head_centre,
    orbit_views,
    render_views,
    rotate_heads,
    write_novel_views,
    write_turntable,
)
from tests.evaluation.conftest import SIZE


def test_a_rotated_head_keeps_its_centre_and_faces_the_persons_left(avatar, tracking):
    centre = head_centre(avatar, tracking)
    params, camera = tracking.params_for([1] * 2), tracking.camera_for([1] * 2, SIZE)
    new = rotate_heads(params, centre, camera, torch.tensor([0.0, 30.0]))
    torch.testing.assert_close(new.translation[0], params.translation[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(
        rotation_matrix(new.rotation)[0], rotation_matrix(params.rotation)[0], atol=1e-5, rtol=0
    )
    middle = rotation_matrix(new.rotation) @ centre + new.translation
    torch.testing.assert_close(middle[0], middle[1], atol=1e-5, rtol=0)
    before, after = (rotation_matrix(new.rotation) @ torch.tensor([0.0, 0.0, 1.0])).unbind(0)
    assert torch.rad2deg(torch.arccos(before @ after)) == pytest.approx(30, abs=0.1)
    assert after[0] < before[0]  # +x is the left of the image


def test_the_axis_is_vertical_in_the_image_of_a_tilted_camera(avatar, tracking):
    tilt = rotation_matrix(torch.tensor([0.0, 0.0, 0.5]))
    camera = tracking.camera_for([1], SIZE)
    camera = type(camera)(camera.intrinsics, torch.cat([tilt, torch.zeros(3, 1)], 1)[None], SIZE)
    params = tracking.params_for([1])
    new = rotate_heads(params, torch.zeros(3), camera, torch.tensor([90.0]))
    in_camera = [tilt.T @ rotation_matrix(p.rotation)[0] for p in (params, new)]
    change = in_camera[1] @ in_camera[0].T
    torch.testing.assert_close(
        change @ torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.0, 1.0, 0.0]), atol=1e-5, rtol=0
    )


def test_the_first_view_of_a_turntable_faces_the_camera(avatar, tracking):
    params, camera = orbit_views(avatar, tracking, 5, SIZE, [0.0, 180.0])
    looks = rotation_matrix(params.rotation) @ torch.tensor([0.0, 0.0, 1.0])
    torch.testing.assert_close(looks, torch.tensor([[0.0, 0.0, -1.0], [0.0, 0.0, 1.0]]), atol=1e-5, rtol=0)
    front, back = render_views(avatar, params, camera)
    assert np.abs(front.geometry.astype(int) - back.geometry).max() > 30


def test_videos_and_images(avatar, tracking, spaced_dir):
    views = spaced_dir / "views.mp4"
    sheet = write_novel_views(
        views, avatar, tracking, [0, 1, 2], SIZE, (0.0, -30.0), images=spaced_dir / "images"
    )
    assert sheet.shape == (3 * SIZE[0], 2 * SIZE[1], 3)
    assert len(list(iterate_frames(views))) == 3
    names = sorted(path.name for path in (spaced_dir / "images").iterdir())
    assert names == sorted(f"frame_000{i}_{angle}.png" for i in range(3) for angle in ("0", "-30"))
    drawn = avatar(tracking.params_for([2]), tracking.camera_for([2], SIZE), torch.tensor([2]))
    as_tracked = read_rgb(spaced_dir / "images" / "frame_0002_0.png")
    difference = np.abs(as_tracked / 255 - drawn[0, :3].detach().permute(1, 2, 0).clamp(0, 1).numpy())
    assert difference.mean() < 0.01  # rounding of the rotation changes pixels at the silhouette
    turntable = spaced_dir / "turntable.mp4"
    sheet = write_turntable(turntable, avatar, tracking, 0, SIZE, 9)
    assert sheet.shape == (2 * SIZE[0], 8 * SIZE[1], 3)
    assert len(list(iterate_frames(turntable))) == 9
