"""Detection of a model file's release: from its content first, from its name last."""

import json
import pickle
import shutil

import numpy as np
import pytest

from nha.core.errors import UserError
from nha.head.file_guide import HEAD_FILES, OPEN_LICENCE, REQUIRED_FILES, RESEARCH_LICENCE, where_from
from nha.head.flame_files import model_file
from nha.head.releases import OPEN_KEY, detect_release


def written(folder, name: str, **content):
    path = folder / name
    path.write_bytes(pickle.dumps({"v_template": np.zeros((4, 3)), **content}, protocol=5))
    return path


def test_the_entry_of_2023_open_counts_more_than_the_name(tmp_path):
    release = detect_release(written(tmp_path, "generic_model.pkl", **{OPEN_KEY: {"n_expr": 100}}))
    assert release.name == "FLAME 2023 Open"
    assert release.licence == OPEN_LICENCE
    assert OPEN_KEY in release.evidence


def test_other_triangles_are_not_flame_whatever_the_name(tmp_path):
    path = written(tmp_path, "flame2023.pkl", f=np.uint32([[0, 1, 2], [0, 2, 3]]))
    release = detect_release(path)
    assert release.name == "unknown, FLAME-shaped"
    assert release.licence == "unknown"


def test_the_procedural_head_has_its_own_description(assets):
    release = detect_release(model_file(assets.folder))
    assert release.name.startswith("procedural (generator version")
    assert release.licence.startswith("Apache-2.0")


def test_a_broken_description_is_one_line(assets, tmp_path):
    path = tmp_path / "generic_model.pkl"
    shutil.copy(assets.folder / path.name, path)
    (tmp_path / "head.json").write_text("{")
    with pytest.raises(UserError, match=r"head\.json"):
        detect_release(path)
    (tmp_path / "head.json").write_text(json.dumps([1]))
    with pytest.raises(UserError, match=r"head\.json"):
        detect_release(path)


@pytest.mark.parametrize(
    ("name", "expected", "licence"),
    [
        ("flame2023.pkl", "FLAME 2023", RESEARCH_LICENCE),
        ("flame2023_Open.pkl", "FLAME 2023 Open (not certain)", None),
        ("generic_model.pkl", "FLAME, release unknown", None),
    ],
)
def test_flame_without_the_entry_is_detected_by_its_name(flame_like, tmp_path, name, expected, licence):
    shutil.copy(flame_like / "generic_model.pkl", tmp_path / name)
    release = detect_release(tmp_path / name)
    assert release.name == expected
    if licence is None:  # either is possible: both are named
        assert RESEARCH_LICENCE in release.licence
        assert OPEN_LICENCE in release.licence
    else:
        assert release.licence == licence


def test_sources_are_named_once_for_all_their_files():
    line = where_from(REQUIRED_FILES)
    assert "\n" not in line
    for name in REQUIRED_FILES:
        assert line.count(name) == 1
    assert line.count("philgras/neural-head-avatars") == 1


def test_the_guide_lists_every_file():
    assert {name for guide in HEAD_FILES for name in guide.names} >= set(REQUIRED_FILES)
    assert all(guide.licence and guide.source and guide.fallback for guide in HEAD_FILES)
