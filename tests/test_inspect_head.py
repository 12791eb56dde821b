"""`inspect_head.py` with existing and missing head models."""

from __future__ import annotations

import re
import shutil

import cv2
import pytest

from nha.head.file_guide import REQUIRED_FILES
from nha.head.load import load_head


def read_image(path):
    image = cv2.imread(str(path))
    assert image is not None
    assert 0.15 < (image < 250).any(-1).mean() < 0.7  # heads on white
    return image


def test_the_procedural_head(run_script, spaced_dir):
    load_head("procedural")  # generated if it does not exist
    out = spaced_dir / "head.png"
    done = run_script("inspect_head.py", "procedural", "--out", out)
    assert done.returncode == 0, done.stderr
    for line in (
        r"release: procedural \(generator version",
        r"vertices: 5417",
        r"faces: 10738, and 38 that close the mouth",
        r"jaw +child of neck",
        r"left_eyeball +362 vertices",
        r"landmarks: 70, from its file",
        r"UV map of the mouth: 40 points",
        r"found +FLAME_masks_mouth\.pkl",
    ):
        assert re.search(line, done.stdout), line
    assert "missing" not in done.stdout
    assert "non-commercial" not in done.stdout
    assert done.stdout.splitlines()[-1] == f"image: {out}"
    read_image(out)


def test_flame_shaped_files(run_script, flame_like, tmp_path):
    done = run_script("inspect_head.py", flame_like, "--out", tmp_path / "head.png")
    assert done.returncode == 0, done.stderr
    assert "16227 vertices (15135 carry offsets), 32392 faces" in done.stdout
    assert "derived" not in done.stdout.replace("or derived", "")
    read_image(tmp_path / "head.png")


def test_the_model_file_alone(run_script, flame_alone, tmp_path):
    done = run_script("inspect_head.py", flame_alone / "flame2023_Open.pkl", "--out", tmp_path / "head.png")
    assert done.returncode == 0, done.stderr
    assert "16227 vertices (15135 carry offsets), 32392 faces" in done.stdout
    assert "landmarks: 70, estimated" in done.stdout
    for name in REQUIRED_FILES:
        assert re.search(
            rf"missing +{re.escape(name)}: .*\n +replaced by: .*\n +source: .*\n +licence: ",
            done.stdout,
        )
    assert f"put it into {flame_alone}" in done.stdout
    read_image(tmp_path / "head.png")


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("empty folder", r"has no generic_model\.pkl .*flame2023_Open\.pkl.*flame\.is\.tue\.mpg\.de"),
        ("no folder", r"neither auto, flame, procedural nor an existing folder"),
        ("incomplete", r"get FLAME_masks_mouth\.pkl from the published project"),
        ("a text", r"notes\.pkl is damaged"),
        ("no png", r"ends in \.png"),
    ],
)
def test_what_is_missing_is_one_line(run_script, tmp_path, what, says):
    path, out = tmp_path / "head", tmp_path / "head.png"
    if what == "empty folder":
        path.mkdir()
    elif what == "incomplete":
        shutil.copytree(load_head("procedural").folder, path, ignore=shutil.ignore_patterns("FLAME_*"))
    elif what == "a text":
        path.mkdir()
        path = path / "notes.pkl"
        path.write_text("hello")
    elif what == "no png":
        path, out = "procedural", tmp_path / "head.jpg"
    done = run_script("inspect_head.py", path, "--out", out)
    assert done.returncode == 2
    assert re.fullmatch(rf"error: .*{says}.*\n", done.stderr)
    assert not out.exists()
