"""Saved poses: files and text, and what is wrong with those of others."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from nha.core.errors import UserError
from nha.viewer.saved_pose import SavedPose, command_of, open_pose, parse_pose, read_pose, write_pose
from nha.viewer.viewpoint import Viewpoint

VIEW = Viewpoint((0.0, 1.0, 0.0, 0.0), (0.1, 0.2, 0.9), 0.35)
POSE = SavedPose({"jaw_open": 20.0, "expression_smile": 0.55}, 12, VIEW)
SLIDERS = ("jaw_open", "expression_smile")


@pytest.mark.parametrize("pose", [POSE, SavedPose(), SavedPose({"jaw_open": -1.5}), SavedPose(frame=0)])
def test_files_and_texts_give_the_same_pose(pose, tmp_path):
    path = tmp_path / "new folder" / "pose_001.json"
    write_pose(path, pose)
    assert read_pose(path) == pose
    assert parse_pose(pose.to_text()) == pose


def test_the_option_takes_a_file_or_words(tmp_path):
    path = tmp_path / "a=b.json"
    write_pose(path, POSE)
    assert open_pose(str(path), SLIDERS) == POSE
    assert open_pose("frame=12 jaw_open=3", SLIDERS) == SavedPose({"jaw_open": 3.0}, 12)
    assert open_pose("smile=0.5 jaw_open=3", SLIDERS).values == {"expression_smile": 0.5, "jaw_open": 3}
    with pytest.raises(UserError, match="no slider 'jaw'; the sliders are jaw_open, expression_smile"):
        open_pose("jaw=3", SLIDERS)


def test_the_command_is_quoted_for_a_shell():
    command = command_of(POSE, avatar=Path("my avatar/avatar.ckpt"), tracking=None, driving=Path("friend"))
    words = shlex.split(command)
    assert words[:6] == ["nha", "view", "--avatar", "my avatar/avatar.ckpt", "--driving", "friend"]
    assert parse_pose(words[7]) == POSE
    assert command_of(SavedPose(), avatar=None, tracking=None, driving=None) == "nha view"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jaw_open", "consists of words such as jaw_open=20, not 'jaw_open'"),
        ("jaw_open=wide", "sets 'jaw_open' to 'wide'; sliders take numbers"),
        ("jaw_open=nan", "sets 'jaw_open' to 'nan'"),
        ("frame=first", "the frame 'first', which is no frame number"),
        ("frame=-2", "no frame number"),
        ("camera=1,2,3", "a camera that is not 8 numbers"),
        ("camera=0,0,0,0,1,1,1,0.3", "a camera that is not 8 numbers"),
    ],
)
def test_wrong_texts_are_user_errors(text, message):
    with pytest.raises(UserError, match=message) as error:
        parse_pose(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content",
    [
        "", "[]", "{}", "nul\0", json.dumps({"frame": True, "values": {}, "camera": None}),
        json.dumps({"frame": None, "values": [], "camera": None}),
        json.dumps({"frame": None, "values": {"jaw_open": "1"}, "camera": None}),
        json.dumps({"frame": None, "values": {"<b>": 1}, "camera": None}),
        json.dumps({"frame": None, "values": {}, "camera": "front"}), "[" * 50_000, " " * 70_000,
    ],
)  # fmt: skip
def test_broken_files_are_user_errors(content, tmp_path):
    path = tmp_path / "pose.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"pose\.json") as error:
        read_pose(path)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="no pose file at"):
        open_pose(str(tmp_path / "nowhere.json"), SLIDERS)
