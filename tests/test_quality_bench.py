"""The quality benchmark: its schedule fits the time, and the script writes its rows and images."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

import quality_bench
from nha.core.errors import UserError
from nha.data.splits import Split, read_split
from nha.optimization.config import OptimizationSettings
from quality_bench import frame_share, mean_rows, parse, parse_change, probe_settings, scaled_schedule

KEYS = {"config", "part", "seconds", "psnr", "ssim", "head_psnr", "covered_psnr", "silhouette_iou"} | {
    *(f"{region}_psnr" for region in ("face", "eyes", "mouth", "hair")),
    "lip_slope",
    "lid_slope",
}


@pytest.fixture
def demo(tmp_path) -> OptimizationSettings:
    return OptimizationSettings.from_ini(
        "demo", dataset=tmp_path, tracking=tmp_path, out=tmp_path / "out", head="procedural"
    )


def test_epochs_and_fix_points_are_scaled_and_no_stage_vanishes(demo):
    half, tiny = scaled_schedule(demo, 0.5), scaled_schedule(demo, 1e-4)
    assert (half.schedule.epochs_offset, half.schedule.epochs_texture, half.schedule.epochs_joint) == (
        12,
        6,
        3,
    )
    assert half.losses.w_semantic_hair == [(0.2, 0), (0.1, 12.5)]
    assert (tiny.schedule.epochs_offset, tiny.schedule.epochs_texture, tiny.schedule.epochs_joint) == (
        1,
        1,
        1,
    )
    without = dataclasses.replace(demo, schedule=dataclasses.replace(demo.schedule, epochs_texture=0))
    assert scaled_schedule(without, 3).schedule.epochs_texture == 0


def test_training_takes_the_time_that_is_asked_for(demo, tmp_path, monkeypatch):
    """A training that takes 2 s, and 1, 3 and 5 s for an epoch of its stages, must get 4.1 times as many epochs."""
    clock, runs = [0.0], []

    def train(settings: OptimizationSettings) -> object:
        schedule = settings.schedule
        seconds = {
            "geometry": 1.0 * schedule.epochs_offset,
            "texture": 3.0 * schedule.epochs_texture,
            "joint": 5.0 * schedule.epochs_joint,
        }
        clock[0] += 2 + sum(seconds.values())
        runs.append(settings)
        return type("Result", (), {"stage_seconds": seconds, "avatar_path": tmp_path / "avatar.ckpt"})

    monkeypatch.setattr(quality_bench, "optimize_avatar", train)
    monkeypatch.setattr(quality_bench.time, "perf_counter", lambda: clock[0])
    split = type("Splits", (), {"split": Split(tuple(range(8)), (8,))})
    monkeypatch.setattr(quality_bench, "FrameSplits", lambda _: split)
    planned = 25 + 12 * 3 + 6 * 5
    _, seconds = quality_bench.train_for(demo, tmp_path / "run", 2 + 4 * planned)
    assert runs[-1].schedule.epochs_offset == 100
    assert runs[-1].schedule.epochs_joint == 24
    assert seconds == pytest.approx(2 + 4 * planned)


def test_the_probe_takes_a_share_of_both_parts(demo, tmp_path, monkeypatch):
    split = Split(tuple(range(128)), tuple(range(128, 148)))
    assert frame_share(split) == 0.25
    assert frame_share(Split((1, 2), (3,))) == 1
    monkeypatch.setattr(quality_bench, "FrameSplits", lambda _: type("Splits", (), {"split": split}))
    probe = probe_settings(demo, tmp_path / "probe")
    kept = read_split(probe.data.split_config)
    assert kept.train == tuple(range(0, 128, 4))
    assert kept.val == (128, 132, 136, 140, 144)
    assert (probe.schedule.epochs_offset, probe.run.resume) == (1, False)


def test_rows_are_means_over_subjects_without_undefined_values():
    def row(value: float) -> dict:
        return {"config": "demo", "part": "train", **dict.fromkeys(quality_bench.KEYS[2:], value)}

    (mean,) = mean_rows([[row(1.0)], [row(3.0)], [row(float("nan"))]], 1)
    assert mean["psnr"] == 2.0
    assert mean["config"] == "demo"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--minutes", "0"), "greater than 0"),
        (("--dataset", "a"), "belong together"),
        (("--dataset", "a", "--tracking", "b", "--seeds", "1"), "exclude each other"),
        (("--config", "demo", "demo"), "same name"),
        (("--config", "nowhere"), "nowhere"),
    ],
)
def test_options_that_contradict_each_other(options, message):
    with pytest.raises(UserError, match=message):
        parse(list(options))


def test_changes_are_keys_and_values():
    assert parse_change("tex_lr=[0, 1, 2]") == ("tex_lr", "[0, 1, 2]")
    with pytest.raises(UserError, match="KEY=VALUE"):
        parse_change("tex_lr")


@pytest.mark.slow
def test_the_script_writes_its_rows_and_images(run_script, tmp_path: Path):
    options = ["--seeds", "1", "--frames", "8", "--size", "64", "--minutes", "0.01", "--config", "blend"]
    run = run_script(
        "benchmarks/quality_bench.py", *options, "--out", tmp_path / "out", "--json", tmp_path / "rows.json"
    )
    assert run.returncode == 0, run.stderr[-2000:]
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert all(set(row) == KEYS for row in rows)
    parts = ["train", "held_out", "held_out_unfitted"]
    assert [(row["config"], row["part"]) for row in rows] == [("blend", part) for part in parts]
    assert all(0 < row["head_psnr"] < 60 and row["seconds"] > 0 for row in rows)
    assert rows[1]["psnr"] != rows[2]["psnr"], "the unfitted row leaves the corrections out"
    folder = tmp_path / "out" / "subject_1" / "blend"
    assert (folder / "avatar" / "avatar.ckpt").is_file()
    assert (folder / "held_out.png").is_file()
    assert list(json.loads((folder / "scores.json").read_text())["mean"]) == parts
