"""The evaluation as a whole: its files, its results, several avatars, and wrong settings."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys

import pytest
import torch
from markupsafe import escape

from nha.avatar.open import save_avatar
from nha.avatar.training_record import training_record
from nha.core.errors import UserError
from nha.data.frame_dataset import FrameSplits
from nha.data.settings import DataSettings
from nha.data.splits import Split, write_split
from nha.data.tracking_file import write_tracking
from nha.data.video_io import iterate_frames
from nha.evaluation.run import SCORES_FILE, evaluate_avatar
from nha.evaluation.settings import EvaluationSettings
from nha.render.rasterize import chosen_raster_backend
from tests.evaluation.conftest import FRAMES, make_tracking


def test_evaluation_writes_scores_videos_and_report(checkpoint, settings, spaced_dir):
    results = evaluate_avatar(
        EvaluationSettings(ckpt=[checkpoint], out=spaced_dir / "eval", turntable=8, data=settings)
    )
    out, table = results.out, results.table().as_text()
    content = json.loads((out / SCORES_FILE).read_text())
    assert results.means["avatar"]["held_out"]["head_psnr"] == content["mean"]["held_out"]["head_psnr"]
    assert [score.frame_id for score in results.scores["avatar"]] == [0, 1, 2, 3]
    assert [frame["frame"] for frame in content["frames"]] == [0, 1, 2, 3]
    assert content["mean"]["held_out"]["head_psnr"] > 50
    assert content["metrics_absent"].keys() | content["metrics_by"].keys() == {"lpips", "landmark_px"}
    assert "head_psnr" in table
    assert "held-out (1)" in table
    videos = {path.name: len(list(iterate_frames(path))) for path in out.glob("*.mp4")}
    assert videos == {"comparison.mp4": 4, "novel_views.mp4": 4, "turntable.mp4": 8}
    page = results.report.read_text()
    assert "worst train frame" in page
    assert page.count("data:image/png") >= 6
    assert "ms_ssim is not computed: it needs images of at least 176 pixels" in page
    for name, reason in content["metrics_absent"].items():
        assert escape(f"{name} is not computed: {reason}") in page
    assert not re.search(r'(src|href)="(https?:)?//', page)


def test_several_avatars_are_compared(checkpoint, avatar, assets, settings, tmp_path):
    with torch.no_grad():
        avatar.texture_net.static_head.bias += 0.3  # the second one has other colours
    other = save_avatar(tmp_path / "other" / "avatar.ckpt", avatar, assets, {"head": "procedural"})
    options = EvaluationSettings(
        ckpt=[checkpoint, other],
        out=tmp_path / "both",
        novel_views=[],
        turntable=0,
        split="val",
        data=settings,
    )
    results = evaluate_avatar(options)
    out, table = results.out, results.table().as_text()
    names = sorted(path.name for path in out.iterdir() if path.is_dir())
    assert len(names) == 2
    scores = [json.loads((out / name / SCORES_FILE).read_text()) for name in names]
    psnr = {s["checkpoint"]: s["mean"]["held_out"]["head_psnr"] for s in scores}
    assert psnr[str(checkpoint)] > 50 > 30 > psnr[str(other)]
    assert f"{psnr[str(other)]:.4f}" in table
    page = results.report.read_text()
    assert "Representative frames" in page
    assert all(f"{name}: held-out (1)" in page for name in names)


def test_a_tracking_file_of_another_video_gives_a_warning(checkpoint, head, settings, tmp_path, caplog):
    options = EvaluationSettings(
        ckpt=[checkpoint], out=tmp_path / "o", novel_views=[], turntable=0, data=settings
    )
    evaluate_avatar(options)
    assert "overlap by only" not in caplog.text
    elsewhere = make_tracking(head, FRAMES)
    elsewhere.translation[:, 0] += 0.1
    write_tracking(tmp_path / "other.npz", elsewhere)
    data = dataclasses.replace(settings, tracking_results_path=tmp_path / "other.npz")
    results = evaluate_avatar(dataclasses.replace(options, data=data))
    assert "check that the tracking file belongs to this dataset" in caplog.text
    assert "check that the tracking file belongs to this dataset" in results.report.read_text()


def test_lists_that_do_not_fit_are_errors(checkpoint, settings, tmp_path):
    good = EvaluationSettings(ckpt=[checkpoint], out=tmp_path / "o", data=settings)
    for changes, message in (
        ({"ckpt": []}, "names no checkpoint"),
        ({"ckpt": [checkpoint, checkpoint]}, "named twice"),
        ({"further_tracking_results": [tmp_path]}, "1 files for 0 further"),
        ({"turntable": -1}, "--turntable must be at least 0"),
        ({"frame_rate": 0.0}, "--fps must be at least"),
        ({"batch_size": 0}, "batch_size"),
    ):
        with pytest.raises(UserError, match=message):
            evaluate_avatar(dataclasses.replace(good, **changes))


def test_an_empty_part_is_an_error(checkpoint, settings, tmp_path):
    write_split(settings.split_config, Split(FRAMES, ()))
    with pytest.raises(UserError, match="no frames to evaluate"):
        evaluate_avatar(EvaluationSettings(ckpt=[checkpoint], out=tmp_path / "o", split="val", data=settings))


def test_the_raster_backend_of_the_settings_is_used_during_the_evaluation(
    checkpoint, settings, tmp_path, monkeypatch
):
    used = []
    monkeypatch.setattr(
        "nha.evaluation.run.write_avatar_report",
        lambda path, *_: used.append(chosen_raster_backend()) or path,
    )
    options = EvaluationSettings(
        ckpt=[checkpoint],
        out=tmp_path / "out",
        novel_views=[],
        turntable=0,
        raster_backend="reference",
        split="val",
        data=settings,
    )
    before = chosen_raster_backend()
    evaluate_avatar(options)
    assert used == ["reference"]
    assert chosen_raster_backend() == before


def test_lightning_is_not_imported():
    code = (
        "import sys, nha.evaluation.run, nha.reenactment.run; assert 'pytorch_lightning' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_settings_are_imported_without_torch():
    code = (
        "import sys, nha.evaluation.settings, nha.reenactment.settings; "
        "assert not {'torch', 'cv2', 'av', 'numba'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_split_of_the_checkpoint_decides(avatar, assets, settings, tmp_path):
    frames = FrameSplits(settings)
    own = Split(train=(1, 2, 3), val=(0,))
    record = {**training_record(frames, tmp_path), "split": {"train": [1, 2, 3], "val": [0]}}
    path = save_avatar(tmp_path / "with_record.ckpt", avatar, assets, {"head": "procedural"}, record)
    common = {"ckpt": [path], "out": tmp_path / "eval", "novel_views": [], "turntable": 0, "split": "all"}
    without = dataclasses.replace(settings, split_config=None)
    results = evaluate_avatar(EvaluationSettings(**common, data=without))
    assert results.avatars[0].subject.data.split == own
    assert not results.table().notes
    assert "Held-out frames are not used in training." in results.report.read_text()

    given = evaluate_avatar(EvaluationSettings(**common, data=settings))
    note = "this split is not the avatar's own: 1 of 1 held-out frames were used in the training, and 1 of 3 training"
    assert note in given.table().as_text()
    assert "held-out (1) *" in given.table().as_text()
    page = given.report.read_text()
    assert str(escape(note)) in page
    assert "Held-out frames are not used in training." not in page
    assert json.loads((given.out / SCORES_FILE).read_text())["split_note"].startswith("this split is not")


def test_a_missing_checkpoint_is_one_line_and_leaves_no_folder(tiny_dataset, tmp_path):
    tiny, missing = tiny_dataset(), tmp_path / "runs" / "avatar.ckpt"
    missing.parent.mkdir()
    data = DataSettings(tiny.data_path, tiny.tracking_path, tiny.split_path)
    with pytest.raises(UserError, match=r"checkpoint '.*avatar\.ckpt' does not exist; .*nha train"):
        evaluate_avatar(EvaluationSettings(ckpt=[missing], data=data, device="cpu"))
    assert list(missing.parent.iterdir()) == []
