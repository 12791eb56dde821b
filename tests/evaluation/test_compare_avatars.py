"""`nha compare`: two avatars on the frames that both hold out."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from nha.avatar.open import save_avatar
from nha.avatar.training_record import training_record
from nha.cli.main import main
from nha.core.errors import UserError
from nha.data.dataset_folder import read_rgb
from nha.data.frame_dataset import FrameSplits
from nha.data.splits import Split, write_split
from nha.evaluation.compare_avatars import compare_avatars, find_checkpoint
from nha.evaluation.settings import ComparisonSettings


@pytest.fixture
def pair(settings, avatar, assets, tmp_path) -> tuple[Path, Path]:
    """Folders of two avatars of the dataset: the one that rendered its images, and a darker one."""
    darker = copy.deepcopy(avatar)
    with torch.no_grad():
        for parameter in darker.texture_net.parameters():
            parameter.mul_(0.5)
    folders = (tmp_path / "exact" / "avatar", tmp_path / "darker" / "avatar")
    for folder, model in zip(folders, (avatar, darker), strict=True):
        folder.mkdir(parents=True)
        record = training_record(FrameSplits(settings), folder)
        save_avatar(folder / "avatar.ckpt", model, assets, {"head": "procedural"}, record)
    return folders


def test_scores_side_by_side_images_and_json(pair, tmp_path):
    exact, darker = pair
    # the folder that holds the folder `avatar`, as of `nha make`
    result = compare_avatars(ComparisonSettings(avatar=exact.parent, other=darker, out=tmp_path / "out"))
    assert list(result.names) == ["exact", "darker"]
    assert [[frame.frame_id for frame in frames] for frames in result.scores] == [[3], [3]]
    first, second = result.means
    assert first["psnr"] > second["psnr"] + 3
    assert result.better("psnr") == result.better("l1") == "exact"
    assert result.better("silhouette_iou") == ""  # the same geometry
    assert result.wins() == 0
    content = json.loads(result.json.read_text())
    assert content["frames"] == [3]
    assert content["mean"]["darker"]["psnr"] == pytest.approx(second["psnr"])
    assert content["better"]["head_l1"] == "exact"
    sheet = read_rgb(result.sheet)
    assert sheet.shape[1] >= 5 * 48  # truth, two renderings, two differences
    assert "exact: held-out (1)" in result.report.read_text()


def test_the_command_prints_the_table(pair, tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        main(["compare", *map(str, pair), "--out", str(tmp_path / "out"), "--device", "cpu"])
    assert left.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    header = next(line for line in lines if line.startswith("mean over frames"))
    assert header.split()[3:] == ["exact", "darker", "difference", "better"]
    (row,) = (line.split() for line in lines if line.startswith("head_psnr"))
    assert float(row[3]) == pytest.approx(float(row[2]) - float(row[1]), abs=2e-4)
    assert row[4] == "exact"
    assert "1 frames that neither was trained on; darker has the higher head_psnr in 0 of them" in lines
    assert [Path(line).name for line in lines[-3:]] == ["comparison.png", "comparison.json", "report.html"]


def test_frames_that_one_was_trained_on_are_not_compared(pair, settings, avatar, assets, tmp_path):
    exact, darker = pair
    other = tmp_path / "other.json"
    write_split(other, Split((0, 3), (1, 2)))
    record = training_record(FrameSplits(settings), darker)
    record["split"] = {"train": [0, 3], "val": [1, 2]}
    save_avatar(darker / "avatar.ckpt", avatar, assets, {"head": "procedural"}, record)
    with pytest.raises(UserError, match="no frame of .* is held out by both avatars"):
        compare_avatars(ComparisonSettings(avatar=exact, other=darker, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_another_video_and_lost_files_are_refused(pair, settings, tiny_dataset, tmp_path):
    exact, darker = pair
    elsewhere = tiny_dataset((0, 1, 2, 3), (48, 48), seed=5)
    with pytest.raises(UserError, match="'exact' was not trained on the frames of"):
        compare_avatars(ComparisonSettings(avatar=exact, other=darker, dataset=elsewhere.data_path))
    moved = tmp_path / "moved"
    shutil.move(settings.data_path, moved)
    with pytest.raises(UserError, match="name it with --dataset"):
        compare_avatars(ComparisonSettings(avatar=exact, other=darker))
    result = compare_avatars(
        ComparisonSettings(
            avatar=exact, other=darker, dataset=moved, tracking=[moved / "tracked_flame_params.npz"]
        )
    )
    assert result.out == exact / "comparison"
    assert np.isfinite(result.means[0]["psnr"])


def test_a_checkpoint_is_found(pair):
    exact, _ = pair
    file = exact / "avatar.ckpt"
    assert find_checkpoint(file) == find_checkpoint(exact) == find_checkpoint(exact.parent) == file
    with pytest.raises(UserError, match="is named twice"):
        compare_avatars(ComparisonSettings(avatar=exact, other=exact.parent))
