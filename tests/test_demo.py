"""The demo with its quick settings, up to the report; then other commands with its avatars."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nha.core.json_file import read_json
from nha.data.video_io import iterate_frames

QUICK = ("--quick", "--frames", "8", "--size", "64")
RESULTS = ("rotation_deg", "translation_mm", "landmark_px", "psnr", "ssim", "vertex_mm")
STAGES = {"video", "dataset", "tracking", "geometry", "texture", "joint", "evaluation"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def demo(tmp_path_factory, run_script) -> tuple[Path, str]:
    """The output folder of a finished quick demo, and its standard output."""
    out = tmp_path_factory.mktemp("the demo's output") / "demo"
    with pytest.MonkeyPatch.context() as environment:
        # as in a fresh checkout: nothing is compiled yet, the number of threads is not set
        environment.setenv("NUMBA_CACHE_DIR", str(tmp_path_factory.mktemp("compiled")))
        environment.delenv("NUMBA_NUM_THREADS", raising=False)
        run = run_script("run_demo.py", "--out", out, *QUICK, new_process=True)
    assert run.returncode == 0, run.stderr[-2000:]
    return out, run.stdout


def test_results_are_complete(demo):
    out, printed = demo
    results = read_json(out / "results.json")  # refuses NaN
    assert [subject["seed"] for subject in results["subjects"]] == [1, 2]
    for subject in results["subjects"]:
        for name in RESULTS:
            assert subject[name] > 0, name
        assert set(subject["seconds"]) == STAGES
        assert subject["annotations"] == "truth"
        assert f"{subject['psnr']:.2f}" in printed
    assert set(results["reenactment"]) == {
        "lip_slope",
        "lip_correlation",
        "lid_slope",
        "lid_correlation",
        "lid_share_slope",
    }
    assert (
        "annotations: ground truth, from the renderer and without error (--annotations mediapipe" in printed
    )
    for line in printed.splitlines()[-3:]:
        assert Path(line).is_file()


def test_report_and_videos_exist(demo):
    out, _ = demo
    page = (out / "report.html").read_text()
    assert page.count("data:image/jpeg") >= 5
    for video in (
        "reenactment/side_by_side.mp4",
        "subject_1/comparison.mp4",
        "subject_2/tracking/tracking.mp4",
    ):
        assert f'src="{video}"' in page
        assert (out / video).is_file()
    assert len(list(iterate_frames(out / "reenactment" / "side_by_side.mp4"))) == 8


def test_a_second_run_repeats_only_the_report(demo, run_script):
    out, _ = demo
    trained = (out / "subject_1" / "avatar" / "avatar.ckpt").stat().st_mtime_ns
    run = run_script("run_demo.py", "--out", out, *QUICK)
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.count("done before") == 9
    assert (out / "subject_1" / "avatar" / "avatar.ckpt").stat().st_mtime_ns == trained


def test_reenactment_with_the_option_names_of_the_published_readme(demo, run_script, tmp_path):
    out, _ = demo
    config = tmp_path / "reenactment.ini"
    one, two = out / "subject_1", out / "subject_2"
    config.write_text(
        f"target_model = {two / 'avatar' / 'avatar.ckpt'}\n"
        f"target_tracking_results = {two / 'tracking' / 'tracked_flame_params.npz'}\n"
        f"source_model = {one / 'avatar' / 'avatar.ckpt'}\n"
        f"source_tracking_results = {one / 'tracking' / 'tracked_flame_params.npz'}\n"
        f"neutral_source_frame = 0\noutpath = {tmp_path / 'video.mp4'}\n"
    )
    run = run_script("reenact_avatar.py", "--config", config, "--max_frames", "2")
    assert run.returncode == 0, run.stderr[-2000:]
    videos = sorted(path.name for path in tmp_path.glob("*.mp4"))
    assert videos == ["video.mp4", "video_driving.mp4", "video_prediction.mp4"]
    assert len(list(iterate_frames(tmp_path / "video.mp4"))) == 2


def test_evaluation_script(demo, run_script, tmp_path):
    out, _ = demo
    subject = out / "subject_1"
    arguments = ("--ckpt", subject / "avatar" / "avatar.ckpt", "--data_path", subject / "dataset")
    arguments += (
        "--tracking_results_path",
        subject / "tracking",
        "--split",
        "val",
        "--out",
        tmp_path / "scores",
    )
    run = run_script("evaluate_avatar.py", *arguments)
    assert run.returncode == 0, run.stderr[-2000:]
    assert "head_psnr" in run.stdout
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text())
    expected = json.loads((out / "results.json").read_text())["subjects"][0]["psnr"]
    assert scores["mean"]["held_out"]["head_psnr"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--frames", "3"), "--frames must be at least 8"),
        (("--seeds", "1", "1"), "two different numbers"),
        (("--framse", "9"), "did you mean 'frames'?"),
    ],
)
def test_bad_settings_are_one_line(run_script, tmp_path, arguments, message):
    run = run_script("run_demo.py", "--out", tmp_path / "out", *arguments)
    assert run.returncode == 2
    assert message in run.stderr
    assert run.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
