"""The videos of a reenactment, and the effect of each option."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from pathlib import Path

import av
import numpy as np
import pytest

from nha.core.errors import UserError
from nha.data.origin import TrackingOrigin
from nha.data.tracking_file import write_tracking
from nha.data.video_io import VideoWriter, iterate_frames, video_info
from nha.reenactment.files import ReenactmentFiles
from nha.reenactment.run import reenact_avatar, video_frame_ids
from nha.reenactment.settings import ReenactmentSettings
from tests.avatar.test_arkit_motion import write_table
from tests.data.test_sound import write_with_sound
from tests.evaluation.conftest import SIZE, make_tracking

OTHER_HEAD = TrackingOrigin({"release": "FLAME 2023", "fingerprint": "0123456789abcdef"})


@pytest.fixture
def options(checkpoint, settings, spaced_dir) -> ReenactmentSettings:
    """The avatar driven by its own tracking file."""
    return ReenactmentSettings(
        target_ckpt=checkpoint,
        target_tracking_results=settings.tracking_results_path,
        neutral_target_frame=0,
        driving_tracking_results=[settings.tracking_results_path.parent],
        neutral_driving_frame=[0],
        outpath=spaced_dir / "videos",
        batch_size=3,
    )


def frames_of(path: Path) -> np.ndarray:
    return np.stack(list(iterate_frames(path))).astype(int)


def heads_in(frames: np.ndarray) -> np.ndarray:
    """Pixels that are not white: bool [N, H, W]."""
    return (frames < 230).any(-1)


def test_self_reenactment_shows_the_same_images(options, checkpoint):
    (files,) = reenact_avatar(dataclasses.replace(options, driving_ckpt=[checkpoint]))
    assert sorted(path.name for path in options.outpath.iterdir()) == [
        ".manifest.jsonl",
        "driving.mp4",
        "motion.json",
        "prediction.mp4",
        "side_by_side.mp4",
    ]
    prediction, driving = frames_of(files.prediction), frames_of(files.driving)
    assert prediction.shape == driving.shape == (4, *SIZE, 3)
    assert np.abs(prediction - driving).mean() < 1
    assert np.abs(prediction[0] - prediction[3]).mean() > 1  # the head moves
    assert next(iterate_frames(files.side_by_side)).shape[1] == 2 * SIZE[1]
    assert video_info(files.prediction).fps == 25


def test_driving_by_a_tracking_file_shows_the_tracked_mesh(options, avatar):
    (files,) = reenact_avatar(options)
    prediction, driving = frames_of(files.prediction), frames_of(files.driving)
    assert (heads_in(prediction) == heads_in(driving)).mean() > 0.97  # same pose
    assert np.abs(prediction - driving).mean() > 3  # other colours: the driving image is a shaded mesh
    tracking = make_tracking(avatar.head, (0, 1, 2, 3))
    rendered = avatar(tracking.params_for([2]), tracking.camera_for([2], SIZE), None)[0, :3]
    expected = rendered.detach().permute(1, 2, 0).clamp(0, 1).numpy() * 255
    assert np.abs(prediction[2] - expected).mean() < 2


def test_selected_neutral_frames_are_logged(options, head, tmp_path, caplog):
    tracking = make_tracking(head, (4, 5, 6))
    tracking.expr[:, 0] = (3.0, 0.1, 2.0)  # frame 5 is the most neutral one
    tracking.rotation[:] = tracking.rotation[:1]
    tracking.jaw_pose[:] = tracking.jaw_pose[:1]
    write_tracking(tmp_path / "tracked_flame_params.npz", tracking)
    selected = dataclasses.replace(
        options, driving_tracking_results=[tmp_path], neutral_driving_frame=[], outpath=tmp_path / "selected"
    )
    given = dataclasses.replace(selected, neutral_driving_frame=[5], outpath=tmp_path / "given")
    wrong = dataclasses.replace(selected, neutral_driving_frame=[4], outpath=tmp_path / "wrong")
    videos = [frames_of(reenact_avatar(o)[0].prediction) for o in (selected, given, wrong)]
    assert (videos[0] == videos[1]).all()
    assert (videos[0] != videos[2]).any()
    assert "neutral frame of driving: 5 (selected; set another with --neutral_driving_frame)" in caplog.text


def test_several_driving_people(options, head, tmp_path):
    for name, n in (("one", 2), ("other", 3)):
        write_tracking(tmp_path / name / "tracked_flame_params.npz", make_tracking(head, tuple(range(n))))
    several = dataclasses.replace(
        options, driving_tracking_results=[tmp_path / "one", tmp_path / "other"], neutral_driving_frame=[]
    )
    files = reenact_avatar(several)
    assert [f.prediction.parent for f in files] == [several.outpath / "one", several.outpath / "other"]
    assert [len(frames_of(f.side_by_side)) for f in files] == [2, 3]


def test_keep_pose_keeps_the_head_position(options, tmp_path):
    fixed = dataclasses.replace(options, keep_pose=True, outpath=tmp_path / "fixed")
    kept, moving = (heads_in(frames_of(reenact_avatar(o)[0].prediction)) for o in (fixed, options))
    changed = [(heads[0] != heads[3]).mean() for heads in (kept, moving)]
    assert changed[0] < 0.5 * changed[1]


def test_smoothing_halves_the_jitter_of_the_video(options, head, tmp_path):
    tracking = make_tracking(head, tuple(range(12)))
    tracking.translation[::2, 0] += 0.02
    write_tracking(tmp_path / "tracked_flame_params.npz", tracking)
    noisy = dataclasses.replace(options, driving_tracking_results=[tmp_path], outpath=tmp_path / "noisy")
    smoothed = dataclasses.replace(noisy, smooth=2.0, outpath=tmp_path / "smoothed")
    steps = [
        np.abs(np.diff(frames_of(reenact_avatar(o)[0].prediction)[2:10], axis=0)).mean()
        for o in (noisy, smoothed)
    ]
    assert steps[1] < 0.5 * steps[0]


def test_driving_camera_sets_image_size_and_position(options, head, tmp_path):
    tracking = dataclasses.replace(make_tracking(head, (0, 1)), image_size=(64, 80))
    tracking.translation[:, 0] -= 0.08  # to the right of the image
    write_tracking(tmp_path / "tracked_flame_params.npz", tracking)
    target_camera = dataclasses.replace(options, driving_tracking_results=[tmp_path])
    (own,) = reenact_avatar(target_camera)
    (other,) = reenact_avatar(
        dataclasses.replace(target_camera, camera="driving", outpath=tmp_path / "other")
    )
    assert frames_of(own.prediction).shape[1:3] == SIZE
    prediction, driving = frames_of(other.prediction), frames_of(other.driving)
    assert prediction.shape[1:3] == (64, 80)
    assert (heads_in(prediction) == heads_in(driving)).mean() > 0.97


def test_background_is_visible_in_the_prediction_only(options):
    (files,) = reenact_avatar(dataclasses.replace(options, background="#2040c0"))
    prediction, driving = frames_of(files.prediction), frames_of(files.driving)
    assert np.abs(prediction[0, 1, 1] - (0x20, 0x40, 0xC0)).max() < 12
    assert driving[0, 1, 1].min() > 240


def test_driving_video_provides_images_sound_and_frame_rate(options, head, tmp_path):
    video = write_with_sound(tmp_path / "video.mp4", "aac")  # 50 frames of levels 0, 1, 2, ...
    write_tracking(tmp_path / "tracked_flame_params.npz", make_tracking(head, (20, 21, 24, 40)))
    with_video = dataclasses.replace(
        options, driving_tracking_results=[tmp_path], driving_video=[video], neutral_driving_frame=[20]
    )
    (files,) = reenact_avatar(with_video)
    driving = frames_of(files.driving)
    assert len(driving) == 21  # 20 to 40: frames that were not tracked repeat the previous one
    levels = driving[:, 10, 10, 0]
    assert levels[:5] == pytest.approx([20, 21, 21, 21, 24], abs=2)
    for path in files:
        with av.open(str(path)) as container:
            assert container.streams.audio[0].codec_context.name == "aac"
            assert float(container.duration / av.time_base) == pytest.approx(21 / 25, abs=0.1)
    (silent,) = reenact_avatar(dataclasses.replace(with_video, sound=False, outpath=tmp_path / "silent"))
    with av.open(str(silent.prediction)) as container:
        assert not container.streams.audio


def test_gaps_are_filled_for_videos_with_sound():
    assert video_frame_ids([7, 3, 4], fill_gaps=False) == [7, 3, 4]
    assert video_frame_ids([7, 3, 4], fill_gaps=True) == [3, 4, 4, 4, 7]


def test_outpath_mp4_names_the_side_by_side_video(tmp_path):
    files = ReenactmentFiles.at(tmp_path / "me.mp4")
    assert files.side_by_side == tmp_path / "me.mp4"
    assert {files.prediction.name, files.driving.name} == {"me_prediction.mp4", "me_driving.mp4"}


def test_different_head_models_are_refused(options, checkpoint, avatar, monkeypatch):
    other = copy.deepcopy(avatar)
    other.head.identity = {"release": "FLAME 2023", "fingerprint": "0123456789abcdef"}
    avatars = iter([avatar, other])
    monkeypatch.setattr("nha.reenactment.tracked_people.load_avatar", lambda *_: next(avatars))
    with pytest.raises(UserError, match="the driving avatar 'FLAME 2023'"):
        reenact_avatar(dataclasses.replace(options, driving_ckpt=[checkpoint]))


def test_wrong_input_is_a_one_line_error_and_leaves_no_file(options, head, tmp_path):
    short = tmp_path / "short.mp4"
    with VideoWriter(short) as video:
        video.write(np.zeros((16, 16, 3), np.uint8))
    fewer = make_tracking(head, (0, 1))
    write_tracking(tmp_path / "f.npz", dataclasses.replace(fewer, origin=OTHER_HEAD))
    one = options.driving_tracking_results[0]
    for changes, message in (
        ({"neutral_driving_frame": [7]}, "neutral_driving_frame 7 was not tracked"),
        ({"neutral_target_frame": 77}, "neutral_target_frame 77 was not tracked"),
        ({"target_ckpt": tmp_path / "none.ckpt"}, "none.ckpt"),
        ({"driving_ckpt": [tmp_path / "none.ckpt"]}, "none.ckpt"),
        ({"driving_tracking_results": [tmp_path / "nowhere"]}, "no tracking file"),
        ({"driving_tracking_results": []}, "no driving person"),
        ({"driving_tracking_results": [one, one], "neutral_driving_frame": []}, "named twice"),
        (
            {"driving_tracking_results": [tmp_path / "f.npz"]},
            "f.npz' was tracked with the head model 'FLAME 2023'",
        ),
        ({"neutral_driving_frame": [0, 1]}, "has 2 values for 1 driving"),
        ({"driving_video": [tmp_path / "no.mp4"]}, "video not found"),
        ({"driving_video": [short]}, "has 1 frames, but frame 1 was tracked"),
        ({"background": "reddish"}, "neither a colour"),
        ({"frame_rate": 0.0}, "--fps must be at least"),
        ({"smooth": -1.0}, "smooth"),
    ):
        with pytest.raises(UserError, match=message) as error:
            reenact_avatar(dataclasses.replace(options, **changes))
        assert "\n" not in str(error.value)
    assert not list(options.outpath.glob("*.mp4"))


@pytest.mark.slow
def test_a_driving_video_is_tracked_first(options, run_script, tmp_path):
    from nha.synthetic.settings import SyntheticSettings
    from nha.synthetic.write_dataset import write_subject

    write_subject(tmp_path / "video", SyntheticSettings(frames=6, size=(64, 64), progress=False))
    arguments = [
        "--target_ckpt", options.target_ckpt, "--target_tracking_results", options.target_tracking_results,
        "--driving_video", tmp_path / "video" / "video.mp4", "--driving_estimators", "truth",
        "--outpath", tmp_path / "out", "--device", "cpu",
    ]  # fmt: skip
    run = run_script("reenact_avatar.py", *arguments)
    assert run.returncode == 0, run.stderr[-2000:]
    assert len(frames_of(tmp_path / "out" / "prediction.mp4")) == 6
    driving, video = (
        frames_of(p) for p in (tmp_path / "out" / "driving.mp4", tmp_path / "video" / "video.mp4")
    )
    assert np.abs(driving - video).mean() < 4
    tracked = tmp_path / "out" / "video_tracked" / "tracking" / "tracked_flame_params.npz"
    before = tracked.stat().st_mtime_ns
    again = run_script("reenact_avatar.py", *arguments, "--keep_pose", "true")
    assert again.returncode == 0, again.stderr[-2000:]
    assert tracked.stat().st_mtime_ns == before


def test_a_wrong_setting_is_reported_before_tracking(options, run_script, tmp_path):
    video = write_with_sound(tmp_path / "video.mp4", "aac")
    arguments = [
        "--target_ckpt",
        options.target_ckpt,
        "--target_tracking_results",
        options.target_tracking_results,
    ]
    arguments += ["--driving_video", video, "--outpath", tmp_path / "out", "--background", "reddish"]
    run = run_script("reenact_avatar.py", *arguments)
    assert run.returncode == 2
    assert run.stderr.startswith("error: --background 'reddish' is neither")
    assert not (tmp_path / "out").exists()


def test_motion_without_camera_and_with_fewer_coefficients_drives(options, head, tmp_path, caplog):
    tracking = make_tracking(head, (0, 1))
    np.savez(tmp_path / "motion.npz", expr=tracking.expr[:, :50], jaw_pose=tracking.jaw_pose)
    driven = dataclasses.replace(options, driving_tracking_results=[tmp_path / "motion.npz"])
    (files,) = reenact_avatar(driven)
    assert len(frames_of(files.prediction)) == 2
    driving = frames_of(files.driving)
    assert (driving != 255).any(-1).mean() > 0.1  # the head is in front of the camera that was added
    assert "has 50 of 100 expression coefficients; the others are zero" in caplog.text


def test_a_table_of_arkit_coefficients_drives_the_avatar(options, tmp_path):
    rows = [{"JawOpen": float(i % 2), "HeadYaw": 0.2 * i} for i in range(100)]
    write_table(tmp_path / "take.csv", rows, frames_per_second=30)
    driven = dataclasses.replace(
        options, driving_tracking_results=[tmp_path / "take.csv"], outpath=tmp_path / "out", max_frames=4
    )
    (files,) = reenact_avatar(driven)
    assert video_info(files.prediction).fps == 30
    prediction = frames_of(files.prediction)
    assert len(prediction) == 4
    assert all(np.abs(a - b).mean() > 0.5 for a, b in itertools.pairwise(prediction))
