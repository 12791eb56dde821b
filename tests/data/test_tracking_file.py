import dataclasses

import numpy as np
import pytest
import torch

from nha.core.errors import UserError
from nha.data.tracking_file import read_tracking, write_tracking


def test_round_trip(make_tracking, spaced_dir):
    tracking = make_tracking()
    write_tracking(spaced_dir / "tracked_flame_params.npz", tracking)
    read = read_tracking(spaced_dir / "tracked_flame_params.npz")
    for field in dataclasses.fields(tracking):
        np.testing.assert_array_equal(getattr(read, field.name), getattr(tracking, field.name))
    assert [path.name for path in spaced_dir.iterdir()] == ["tracked_flame_params.npz"]


@pytest.mark.parametrize("avatar", ["a", "c", "tracker_a"])
def test_published_files_are_read_and_written_key_by_key(golden_dir, tmp_path, avatar):
    published = np.load(golden_dir / avatar / "tracked_flame_params.npz")
    write_tracking(tmp_path / "ours.npz", read_tracking(golden_dir / avatar))
    ours = np.load(tmp_path / "ours.npz")
    assert set(ours.files) == set(published.files)
    for key in published.files:
        np.testing.assert_array_equal(ours[key], published[key])
        assert ours[key].dtype == published[key].dtype
        assert ours[key].shape == published[key].shape


@pytest.mark.parametrize("avatar", ["a", "c"])
def test_params_and_camera_match_the_reference_batch(golden_dir, avatar):
    golden = np.load(golden_dir / avatar / "golden.npz")
    tracking = read_tracking(golden_dir / avatar / "tracked_flame_params.npz")
    size = golden["in_rgb"].shape[2:]
    params, camera = tracking.params_for(golden["in_frame"]), tracking.camera_for(golden["in_frame"], size)
    np.testing.assert_array_equal(params.shape, golden["in_flame_shape"])
    np.testing.assert_array_equal(params.expr, golden["in_flame_expr"])
    np.testing.assert_array_equal(params.translation, golden["in_flame_trans"])
    pose = torch.cat([params.rotation, params.neck, params.jaw, params.eyes], dim=1)
    np.testing.assert_array_equal(pose, golden["in_flame_pose"])
    np.testing.assert_allclose(camera.intrinsics, golden["in_cam_intrinsic"], rtol=1e-6)
    np.testing.assert_array_equal(camera.extrinsics, golden["in_cam_extrinsic"])
    assert camera.image_size == size


def test_intrinsics_follow_the_image_size(make_tracking):
    tracking = make_tracking(image_size=(96, 128))
    expected = [[2 * 128 * 0.5, 0, 32], [0, 2 * 128 * 0.25, 0.52 * 24], [0, 0, 1]]
    np.testing.assert_allclose(tracking.intrinsics_for((24, 64)), expected, rtol=1e-6)


def test_intrinsics_in_pixels_mean_the_same(make_tracking, tmp_path):
    tracking = make_tracking()
    in_pixels = dataclasses.replace(tracking, K=tracking.intrinsics_for(tracking.image_size))
    write_tracking(tmp_path / "t.npz", in_pixels)
    for size in ((96, 128), (48, 64), (100, 50)):
        np.testing.assert_allclose(
            read_tracking(tmp_path / "t.npz").intrinsics_for(size), tracking.intrinsics_for(size), rtol=1e-6
        )


def test_rows_are_found_by_frame_id(make_tracking):
    tracking = make_tracking()
    params = tracking.params_for([9, 2, 9])
    np.testing.assert_array_equal(params.expr, tracking.expr[[2, 0, 2]])
    assert params.shape.shape == (3, 300)
    with pytest.raises(UserError, match="no frame 3, 4;"):
        tracking.params_for([2, 3, 4])


@pytest.mark.parametrize(
    ("size", "fits"),
    [((96, 128), True), ((48, 64), True), ((33, 43), True), ((128, 96), False), ((96, 140), False)],
)
def test_fits_image_size_forgives_rounding_only(make_tracking, size, fits):
    assert make_tracking().fits_image_size(size) is fits


def test_either_published_name_and_the_folder_work(make_tracking, tmp_path):
    (tmp_path / "run").mkdir()
    write_tracking(tmp_path / "run" / "tracked_params.npy", make_tracking())
    for path in ("run", "run/tracked_params.npy", "run/tracked_flame_params.npz"):
        assert len(read_tracking(tmp_path / path)) == 3
    with pytest.raises(UserError, match="no tracking file"):
        read_tracking(tmp_path / "run" / "other.npz")


def test_keys_that_older_files_lack_get_defaults(make_tracking, tmp_path):
    tracking = make_tracking(frame=(0, 1, 2))
    keys = ("rotation", "translation", "neck_pose", "jaw_pose", "eyes_pose", "expr", "K", "image_size")
    np.savez(tmp_path / "t.npz", shape=tracking.shape[None], **{key: getattr(tracking, key) for key in keys})
    read = read_tracking(tmp_path / "t.npz")
    np.testing.assert_array_equal(read.shape, tracking.shape)
    np.testing.assert_array_equal(read.RT, np.eye(3, 4))
    assert read.frame.tolist() == [0, 1, 2]
    assert (read.light.shape, read.texture.shape, read.n_processed) == ((3, 9, 3), (0,), 3)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("expr", "expr is not a finite number in frame 5;"),
        ("light", "light .* frame 5;"),
        ("K", "K holds values"),
    ],
)
def test_nan_is_refused_with_key_and_frames(make_tracking, tmp_path, key, message):
    tracking = make_tracking()
    getattr(tracking, key)[1] = np.nan
    write_tracking(tmp_path / "t.npz", tracking)
    with pytest.raises(UserError, match=message):
        read_tracking(tmp_path / "t.npz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"jaw_pose": np.zeros((2, 3))}, "jaw_pose must be .3, 3. for 3 frames, but is .2, 3."),
        ({"expr": np.zeros(3)}, "expr must be .3, any."),
        ({"image_size": (96,)}, "image_size must be"),
        ({"frame": np.array([1, 1, 2])}, "each only once"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(make_tracking, tmp_path, changes, message):
    write_tracking(tmp_path / "t.npz", make_tracking(**changes))
    with pytest.raises(UserError, match=message):
        read_tracking(tmp_path / "t.npz")


def test_other_files_are_refused(tmp_path):
    np.savez(tmp_path / "keys.npz", rotation=np.zeros((1, 3)))
    with pytest.raises(UserError, match="lacks translation, neck_pose"):
        read_tracking(tmp_path / "keys.npz")
    for name, content, message in (
        ("empty.npz", b"", "is empty"),
        ("text.npz", b"hello", "not an npz archive"),
        ("cut.npz", b"PK\x03\x04 cut short", "is truncated"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=message):
            read_tracking(tmp_path / name)
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(UserError, match="a single array"):
        read_tracking(tmp_path / "one.npy")


def test_pickled_objects_are_not_loaded(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "objects.npz", rotation=np.array([{"a": 1}], dtype=object))
    for name in ("objects.npy", "objects.npz"):
        with pytest.raises(UserError, match="not an npz archive of plain arrays"):
            read_tracking(tmp_path / name)


def test_motion_without_a_camera_is_for_driving_only(make_tracking, tmp_path):
    tracking = make_tracking(frame=(0, 1, 2))
    np.savez(tmp_path / "motion.npz", expr=tracking.expr, jaw_pose=tracking.jaw_pose)
    with pytest.raises(UserError, match="not a tracking file: it lacks rotation"):
        read_tracking(tmp_path / "motion.npz")
    driving = read_tracking(tmp_path / "motion.npz", camera_needed=False)
    np.testing.assert_array_equal(driving.jaw_pose, tracking.jaw_pose)
    assert (driving.frame.tolist(), driving.image_size) == ([0, 1, 2], (512, 512))
    head = driving.translation[0] @ driving.RT[:, :3] + driving.RT[:, 3]
    np.testing.assert_allclose(head, [0, -0.1, 1], atol=1e-6)  # one metre in front of the camera
    assert (np.array([0, 0, 1]) @ driving.RT[:, :3])[2] < 0  # and looking at it

    pose = {
        key: getattr(tracking, key) for key in ("rotation", "translation", "neck_pose", "eyes_pose", "shape")
    }
    np.savez(tmp_path / "posed.npz", expr=tracking.expr, jaw_pose=tracking.jaw_pose, **pose)
    with pytest.raises(UserError, match=r"has no camera \(K, image_size missing\): it can drive an avatar"):
        read_tracking(tmp_path / "posed.npz")
    assert len(read_tracking(tmp_path / "posed.npz", camera_needed=False)) == 3
    np.savez(tmp_path / "still.npz", shape=tracking.shape)
    with pytest.raises(UserError, match="holds no motion"):
        read_tracking(tmp_path / "still.npz", camera_needed=False)


def test_files_of_another_kind_are_named(tmp_path):
    for name, message in (
        ("me.mp4", "is a video, not a tracking file; run `nha preprocess` and `nha track`"),
        ("avatar.ckpt", "is a checkpoint, not a tracking file"),
        ("weights.pth", "is a checkpoint, not a tracking file"),
        ("00001.frame", "is a file of metrical-tracker; convert it with `nha import-tracking"),
        ("motion.csv", "can drive an avatar .*, but holds no camera"),
    ):
        (tmp_path / name).write_bytes(b"content")
        with pytest.raises(UserError, match=message):
            read_tracking(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "program"),
    [
        ("00001.frame", "metrical-tracker"),
        ("checkpoint/00001.frame", "metrical-tracker"),
        ("flame_param/00000.npz", "VHAP's export for GaussianAvatars"),
        ("tracked_flame_params_30.npz", "VHAP"),
        ("00001.npz", "flame-head-tracker"),
    ],
)
def test_folders_of_other_programs_are_named(tmp_path, name, program):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    with pytest.raises(
        UserError, match=f"holds a tracking of {program}: convert it with `nha import-tracking"
    ):
        read_tracking(tmp_path)


def test_cases_from_outside(shared_dir):
    cases = shared_dir / "cases"
    assert len(read_tracking(cases / "motion_only.npz", camera_needed=False)) == 40
    with pytest.raises(UserError, match="has no camera"):
        read_tracking(cases / "motion_only.npz")
    assert read_tracking(cases / "emoca50.npz").expr.shape == (40, 50)
