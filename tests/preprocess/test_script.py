"""`video_to_dataset.py` as a user runs it: exit codes, one line of error, nothing left behind."""

from __future__ import annotations

import numpy as np
import pytest

from nha.data.dataset_folder import (
    DatasetFolder,
    Keypoints,
    write_keypoints,
    write_labels,
    write_normals,
)


def test_a_synthetic_video_with_truth(run_script, fakes, spaced_dir):
    video = fakes.write_video(spaced_dir / "video.mp4", fakes.walking_square(3))
    truth = DatasetFolder(spaced_dir / "truth")
    for frame_id in range(3):
        paths = truth.paths(frame_id)
        write_labels(paths.parsing, np.ones((fakes.HEIGHT, fakes.WIDTH), np.uint8))
        write_normals(paths.normals, np.ones((fakes.HEIGHT, fakes.WIDTH, 3), np.float32) / 3**0.5)
        points = np.full((68, 2), 30, np.float32)
        write_keypoints(paths.keypoints, Keypoints(points, np.zeros(68), np.ones(68), np.full((2, 2), 30.0)))
    out = spaced_dir / "the data"
    arguments = (
        "--video",
        video,
        "--out_path",
        out,
        "--estimators",
        "truth",
        "--scale",
        96,
        "--force_square",
    )
    first = run_script("video_to_dataset.py", *arguments)
    assert first.returncode == 0, first.stderr
    assert "3 frames" in first.stdout
    assert "frames without a face (left out): none" in first.stdout
    assert str(out) in first.stdout
    assert DatasetFolder.open(out).frame_ids() == [0, 1, 2]
    assert "frames" in first.stderr  # the progress bar


@pytest.mark.parametrize("estimators", ["mediapipe"])
def test_a_video_without_a_face(run_script, fakes, spaced_dir, estimators):
    video = fakes.write_video(spaced_dir / "empty room.mp4", [fakes.draw_frame()] * 3)
    out = spaced_dir / "data"
    result = run_script(
        "video_to_dataset.py", "--video", video, "--out_path", out, "--estimators", estimators
    )
    assert result.returncode == 2
    assert (
        result.stderr.strip().splitlines()[-1].startswith("error: no face was found in any of the 3 frames")
    )
    assert "Traceback" not in result.stderr
    assert "XNNPACK" not in result.stderr
    assert not out.exists()


def test_bad_command_lines(run_script, spaced_dir):
    text = spaced_dir / "letter.mp4"
    text.write_text("Dear reader")
    out = spaced_dir / "data"
    for arguments, message in (
        (("--video", text, "--out_path", out), "not a video"),
        (("--video", text, "--out_path", out, "--scael", 128), "scale"),
    ):
        result = run_script("video_to_dataset.py", *arguments)
        assert result.returncode == 2
        assert message in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
    assert not out.exists()
