"""Both modes on a short clip with ground truth: accuracy, gaps, outliers, resuming, wrong input."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from nha.core.errors import UserError
from nha.core.rotations import rotation_matrix, rotation_vector
from nha.data.dataset_folder import DatasetFolder, read_keypoints, write_keypoints
from nha.data.tracking_file import read_tracking, write_tracking
from nha.data.video_io import iterate_frames
from nha.head.joint_limits import neck_angles
from nha.render.camera import project
from nha.tracking.settings import BatchedSettings, SequentialSettings, TrackingSettings
from nha.tracking.tracker import track_dataset

SIZE = (72, 88)


def quick_settings(clip, tmp_path, **changes) -> TrackingSettings:
    settings = TrackingSettings(
        data_path=clip.folder,
        output_path=tmp_path / "out",
        head="procedural",
        device="cpu",
        n_shape=12,
        n_expr=12,
        video=False,
        batched=BatchedSettings(batch_size=3, n_keyframes=4, appearance_steps=5, refine_steps=5),
        sequential=SequentialSettings(init_steps=6, steps_per_frame=2, sub_steps=3, sampling_scale=1.0),
    )
    return replace(settings, **changes)


def head_rotation(params) -> torch.Tensor:
    return rotation_matrix(params.rotation) @ rotation_matrix(neck_angles(params.neck))


def rotation_errors_deg(result, clip, rows=slice(None)) -> torch.Tensor:
    ours = head_rotation(result.params_for(result.frame))[rows]
    true = head_rotation(clip.truth.head_params())[rows]
    return torch.rad2deg(torch.linalg.vector_norm(rotation_vector(ours.mT @ true), dim=1))


def landmark_errors_px(result, clip, mesh) -> torch.Tensor:
    vertices = mesh.head(result.params_for(result.frame))
    camera = result.camera_for(result.frame, result.image_size)
    projected = project(mesh.head.landmarks(vertices), camera)[..., :2]
    return torch.linalg.vector_norm(projected - clip.landmarks_px, dim=-1).mean(1)


def test_batched_mode_finds_the_head(clip, head_mesh, tmp_path):
    settings = quick_settings(clip, tmp_path, video=True)
    result = read_tracking(track_dataset(settings))
    assert result.frame.tolist() == [0, 1, 2, 4, 5, 6, 7]
    assert result.image_size == SIZE
    assert result.n_processed == 7
    assert float(rotation_errors_deg(result, clip).max()) < 2.0
    assert float(landmark_errors_px(result, clip, head_mesh).mean()) < 0.5

    report = json.loads((settings.output_path / "tracking_report.json").read_text())
    assert [row["frame"] for row in report["frames"]] == result.frame.tolist()
    assert report["landmark_px_mean"] < 0.6
    assert len(report["keyframes"]) == 4
    jitter = [row["jitter_px"] for row in report["frames"]]
    assert jitter[0] is None
    assert jitter[-1] is None
    assert all(0 <= value < 10 for value in jitter[1:-1])
    images = list(iterate_frames(settings.output_path / "tracking.mp4"))
    assert len(images) == 7
    assert images[0].shape[1] == 6 * images[0].shape[0] * SIZE[1] // SIZE[0]


def test_sequential_mode_follows_the_head(clip, head_mesh, tmp_path):
    settings = quick_settings(clip, tmp_path, mode="sequential", keyframes=[4])
    settings = replace(
        settings,
        sequential=SequentialSettings(init_steps=10, steps_per_frame=4, sub_steps=4, sampling_scale=1.0),
    )
    result = read_tracking(track_dataset(settings))
    assert result.n_processed == 7
    # published steps are small: frames lag behind a fast turn, but follow it
    assert float(rotation_errors_deg(result, clip).max()) < 20
    assert np.ptp(result.rotation[:, 1]) > 0.3


def test_frames_without_a_face_are_interpolated(clip, tmp_path):
    dataset = DatasetFolder(clip.folder)
    for frame_id, wrong in ((2, "nothing seen"), (5, "nonsense")):
        path = dataset.paths(frame_id).keypoints
        keypoints = read_keypoints(path)
        if wrong == "nothing seen":
            keypoints = replace(keypoints, confidence=np.zeros(68, np.float32))
        else:
            scrambled = keypoints.landmarks_px[np.random.default_rng(0).permutation(68)]
            keypoints = replace(keypoints, landmarks_px=scrambled)
        write_keypoints(path, keypoints)
    settings = quick_settings(clip, tmp_path)
    result = read_tracking(track_dataset(settings))
    report = json.loads((settings.output_path / "tracking_report.json").read_text())
    assert report["frames_without_landmarks"] == [2]
    assert report["outlier_frames"] == [5]
    assert report["gaps"] == [[2, 2], [5, 5]]
    assert report["shots_begin"] == [0]
    assert float(rotation_errors_deg(result, clip).max()) < 3.0


def test_a_frame_of_another_face_is_interpolated(clip, tmp_path):
    """Somebody else's face, whole and well detected, but far away and smaller."""
    path = DatasetFolder(clip.folder).paths(4).keypoints
    keypoints = read_keypoints(path)
    moved = keypoints.landmarks_px.mean(0) * 0.3 + 0.4 * keypoints.landmarks_px
    write_keypoints(path, replace(keypoints, landmarks_px=moved))
    settings = quick_settings(clip, tmp_path)
    result = read_tracking(track_dataset(settings))
    report = json.loads((settings.output_path / "tracking_report.json").read_text())
    assert report["outlier_frames"] == [4]
    assert report["shots_begin"] == [0]
    assert float(rotation_errors_deg(result, clip).max()) < 3.0


def test_cuts_are_detected(clip, head_mesh, tmp_path):
    """From frame 5 on the head is nearer and at the other side: no frame may lie between the shots."""
    dataset = DatasetFolder(clip.folder)
    for frame_id in (5, 6, 7):
        path = dataset.paths(frame_id).keypoints
        keypoints = read_keypoints(path)
        write_keypoints(path, replace(keypoints, landmarks_px=0.5 * keypoints.landmarks_px))
    settings = quick_settings(clip, tmp_path, batched=BatchedSettings(joint_steps=0, refine_steps=0))
    result = read_tracking(track_dataset(settings))
    report = json.loads((settings.output_path / "tracking_report.json").read_text())
    assert report["shots_begin"] == [0, 5]
    assert report["outlier_frames"] == []
    # half as large: twice as far away
    assert (result.translation[4:, 2] / result.translation[:4, 2].mean()).min() > 1.8
    assert float(rotation_errors_deg(result, clip, slice(0, 4)).max()) < 3.0


def test_tensorboard_gets_curves_and_images(clip, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = quick_settings(clip, tmp_path)
    track_dataset(settings)
    log = EventAccumulator(str(settings.output_path / "logs"))
    log.Reload()
    curves = set(log.Tags()["scalars"])
    assert {"appearance/photo", "joint/photo", "frames/lmk", "frames/landmark_px"} <= curves
    assert [point.step for point in log.Scalars("frames/photometric")] == [0, 1, 2, 4, 5, 6, 7]
    assert len(log.Images("keyframes")) == 4


class StoppedError(Exception):
    """Simulates a stopped process."""


@pytest.mark.parametrize("mode", ["batched", "sequential"])
def test_a_resumed_run_gives_the_same_result(clip, tmp_path, monkeypatch, mode):
    from nha.tracking.progress import RunFolder

    whole = track_dataset(quick_settings(clip, tmp_path, mode=mode, output_path=tmp_path / "whole"))
    settings = quick_settings(clip, tmp_path, mode=mode)
    save, saved = RunFolder.save, []

    def stop_after_two(self, progress):
        save(self, progress)
        saved.append(progress.n_processed)
        if len(saved) == 2:
            raise StoppedError

    monkeypatch.setattr(RunFolder, "save", stop_after_two)
    with pytest.raises(StoppedError):
        track_dataset(settings)
    assert 0 < read_tracking(settings.output_path).n_processed < 7
    monkeypatch.setattr(RunFolder, "save", save)
    resumed, uninterrupted = read_tracking(track_dataset(settings)), read_tracking(whole)
    for name in ("rotation", "translation", "expr", "jaw_pose", "shape", "texture", "light", "K"):
        assert np.array_equal(getattr(resumed, name), getattr(uninterrupted, name)), name


def test_other_settings_are_refused_or_start_again(clip, tmp_path):
    path = track_dataset(quick_settings(clip, tmp_path))
    before = read_tracking(path).expr
    with pytest.raises(UserError, match=r"with other settings \(n_expr = 12, now 5\); .* --resume false"):
        track_dataset(quick_settings(clip, tmp_path, n_expr=5))
    assert np.array_equal(read_tracking(path).expr, before)
    track_dataset(quick_settings(clip, tmp_path, n_expr=5, resume=False))
    assert np.abs(before[:, 5:12]).max() > 0
    assert np.array_equal(read_tracking(path).expr[:, 5:], np.zeros_like(before[:, 5:]))


def test_a_tracking_of_another_program_is_not_replaced(clip, tmp_path, make_tracking):
    settings = quick_settings(clip, tmp_path)
    settings.output_path.mkdir()
    write_tracking(settings.output_path / "tracked_flame_params.npz", make_tracking())
    with pytest.raises(UserError, match="of another program or version"):
        track_dataset(settings)


def test_the_result_names_its_head_model_and_its_video(clip, tmp_path, assets):
    origin = read_tracking(track_dataset(quick_settings(clip, tmp_path))).origin
    assert dict(origin.head) == assets.identity
    assert origin.is_of(DatasetFolder(clip.folder))


def test_a_result_of_another_run_is_not_continued(clip, tmp_path):
    """A run stopped between both files, with the result of another run in the folder."""
    other = track_dataset(quick_settings(clip, tmp_path, focal=1.5, output_path=tmp_path / "other"))
    settings = quick_settings(clip, tmp_path)
    path = track_dataset(settings).path
    expected = read_tracking(path).shape
    path.write_bytes(other.path.read_bytes())
    (settings.output_path / "tracking_report.json").unlink()
    track_dataset(settings)
    assert np.array_equal(read_tracking(path).shape, expected)


def test_smaller_images_give_the_same_head(clip, tmp_path):
    result = read_tracking(track_dataset(quick_settings(clip, tmp_path, downscale_factor=2.0)))
    assert result.image_size == (36, 44)
    assert float(rotation_errors_deg(result, clip).max()) < 2.0


def test_missing_files_are_listed(clip, tmp_path):
    paths = DatasetFolder(clip.folder).paths(4)
    paths.image.unlink()
    paths.keypoints.unlink()
    with pytest.raises(UserError, match=r"image_0004.png, .*keypoints_static_0004.json"):
        track_dataset(quick_settings(clip, tmp_path))
    assert not (tmp_path / "out").exists()


def test_no_landmarks_at_all(clip, tmp_path):
    dataset = DatasetFolder(clip.folder)
    for frame_id in dataset.frame_ids():
        path = dataset.paths(frame_id).keypoints
        write_keypoints(path, replace(read_keypoints(path), confidence=np.zeros(68, np.float32)))
    with pytest.raises(UserError, match="no frame of .* has landmarks"):
        track_dataset(quick_settings(clip, tmp_path))


def collapse_landmarks(clip, frame_ids) -> None:
    """Move all landmarks of some frames to one place, as a detector that fails may do."""
    for frame_id in frame_ids:
        path = DatasetFolder(clip.folder).paths(frame_id).keypoints
        keypoints = read_keypoints(path)
        write_keypoints(path, replace(keypoints, landmarks_px=np.full_like(keypoints.landmarks_px, 40.0)))


@pytest.mark.parametrize("mode, which", [("batched", "any frame"), ("sequential", "the first frame")])
def test_landmarks_to_which_no_pose_fits(clip, tmp_path, mode, which):
    collapse_landmarks(clip, DatasetFolder(clip.folder).frame_ids())
    with pytest.raises(UserError, match=f"no head pose fits the landmarks of {which}.* `nha preprocess`"):
        track_dataset(quick_settings(clip, tmp_path, mode=mode))


def test_a_first_frame_to_which_no_pose_fits_is_interpolated(clip, tmp_path):
    collapse_landmarks(clip, [0])
    result = read_tracking(track_dataset(quick_settings(clip, tmp_path)))
    assert float(rotation_errors_deg(result, clip, slice(1, None)).max()) < 2.0
    assert result.rotation[0] == pytest.approx(result.rotation[1])


def test_output_that_cannot_be_written(clip, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match="cannot write"):
        track_dataset(quick_settings(clip, tmp_path))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"keyframes": [3]}, "keyframes names frames .3."),
        ({"calibrated": True}, "--focal"),
        ({"downscale_factor": 0.5}, "downscale_factor"),
        ({"head": "no such folder"}, "neither auto"),
    ],
)
def test_wrong_settings_are_refused(clip, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        track_dataset(quick_settings(clip, tmp_path, **changes))


@pytest.mark.parametrize("changes", [{"focal": 2.0}, {"focal": 2.0, "calibrated": True}])
@pytest.mark.parametrize("mode", ["batched", "sequential"])
def test_a_given_focal_length_stays(clip, tmp_path, mode, changes):
    result = read_tracking(track_dataset(quick_settings(clip, tmp_path, mode=mode, **changes)))
    assert result.K[0] == pytest.approx(2.0, rel=1e-4)


def test_the_result_gives_parameters_and_cameras(clip, tmp_path):
    tracked = track_dataset(
        quick_settings(clip, tmp_path, batched=BatchedSettings(joint_steps=0, refine_steps=0))
    )
    stored = read_tracking(tracked)  # it is accepted as a path
    assert tracked.frame_ids == stored.frame.tolist()
    assert np.array_equal(tracked.params(4).rotation[0].numpy(), stored.rotation[3])
    assert tracked.camera(4).image_size == SIZE
    larger = tracked.camera(4, (2 * SIZE[0], 2 * SIZE[1]))
    assert torch.allclose(larger.intrinsics[:, :2], 2 * tracked.camera(4).intrinsics[:, :2])
    with pytest.raises(UserError, match="frame 3 was not tracked"):
        tracked.params(3)
