"""Checks of inputs: hyper-parameters of checkpoints, splits with a frame in both parts, byte order marks."""

from __future__ import annotations

import dataclasses
import json

import pytest

from nha.avatar.open import avatar_settings
from nha.avatar.settings import AvatarSettings
from nha.core.config_values import read_ini
from nha.core.errors import UserError
from nha.data.frame_dataset import FrameSplits
from nha.data.splits import Split, read_split, write_split

HYPER_PARAMETERS = dataclasses.asdict(AvatarSettings())


@pytest.mark.parametrize("name", HYPER_PARAMETERS)
def test_hyper_parameters_of_checkpoints_are_in_their_ranges(name):
    for value in (10**7, -(10**7), 10**400, 1e300, float("nan"), float("inf"), "x", [], {}, "9" * 400, b"x"):
        try:
            made = avatar_settings({**HYPER_PARAMETERS, name: value})
        except UserError as error:
            text = str(error)
        else:
            text = ""
            assert getattr(made, name) == value
        assert "\n" not in text
        assert len(text) < 1000
    with pytest.raises(UserError):
        avatar_settings({**HYPER_PARAMETERS, "subdivide_mesh": 9})


@pytest.mark.parametrize("val", [(2, 5), (0, 1, 2)])
def test_a_split_with_frames_in_both_parts_is_refused(six_frames, val):
    write_split(six_frames.split_config, Split((0, 1, 2), val))
    with pytest.raises(UserError, match="frames .*2.* in both parts, train and val"):
        FrameSplits(six_frames)


def test_a_byte_order_mark_is_skipped(tmp_path):
    mark = "\ufeff"
    (tmp_path / "split.json").write_text(mark + json.dumps({"train": [0, 1], "val": [2]}), "utf-8")
    assert read_split(tmp_path / "split.json") == Split((0, 1), (2,))
    (tmp_path / "x.ini").write_text(f"{mark}[part]\nseed = 3\n", "utf-8")
    assert read_ini(tmp_path / "x.ini", ["seed"]) == {"seed": "3"}
