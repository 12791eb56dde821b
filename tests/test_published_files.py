"""The published project's settings: every key of its files and every spelling of its README keep their meaning."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import pytest

from nha.avatar.checkpoint import read_checkpoint
from nha.core.config import ignored_keys, names_of, parse_settings, setting_keys
from nha.core.config_values import parse_value
from nha.data.tracking_file import TRACKING_FILE_NAMES, find_tracking_file
from nha.optimization.config import OptimizationSettings
from nha.reenactment.files import ReenactmentFiles
from nha.reenactment.settings import ReenactmentSettings
from nha.tracking.settings import TrackingSettings

FILES = {
    "optimize_avatar.ini": OptimizationSettings,
    "reenactment.ini": ReenactmentSettings,
    "tracking.ini": TrackingSettings,
}


def entries_of(path: Path) -> dict[str, str]:
    """Key and value of every line of an INI file that sets something."""
    lines = (line.strip() for line in path.read_text("utf-8").splitlines())
    pairs = (line.partition("=") for line in lines if "=" in line and line[0] not in ";#[")
    return {key.strip(): value.strip() for key, _, value in pairs}


def known_keys(settings_type: type) -> set[str]:
    return {*names_of(setting_keys(settings_type)), *dict(ignored_keys(settings_type))}


@pytest.mark.parametrize("name", FILES)
def test_every_key_of_a_published_file_has_its_effect(name, shared_dir, capsys):
    settings_type, path = FILES[name], shared_dir / "published_configs" / name
    entries, ignored = entries_of(path), dict(ignored_keys(settings_type))
    assert len(entries) >= 7
    settings = parse_settings(settings_type, ["--config", str(path)], description="d")
    by_name = {key: entry for entry in setting_keys(settings_type) for key in entry.names}
    for key, text in entries.items():
        if key not in ignored:
            assert by_name[key].value_in(settings) == parse_value(text, by_name[key].kind), key
    # keys without effect are reported
    without_effect = [key for key in entries if key in ignored]
    printed = capsys.readouterr().out
    assert all(key in printed for key in without_effect)


@pytest.mark.parametrize("name", FILES)
def test_our_file_sets_what_the_published_one_sets(name, shared_dir, repository):
    ours = entries_of(repository / "configs" / name)
    published = entries_of(shared_dir / "published_configs" / name)
    settings_type = FILES[name]
    kinds = {entry.key: entry.kind for entry in setting_keys(settings_type)}
    for key, text in published.items():
        is_the_users = (
            kinds.get(key) in (Path, list[Path]) and "/" not in text or text.startswith(("PATH", "path"))
        )
        if key in dict(ignored_keys(settings_type)) or is_the_users:
            continue
        assert parse_value(ours[key], kinds[key]) == parse_value(text, kinds[key]), key


def test_every_setting_stored_in_a_published_avatar_is_known(golden_dir, tmp_path):
    path = tmp_path / "avatar.ckpt"
    path.write_bytes(lzma.decompress((golden_dir / "a" / "avatar.ckpt.xz").read_bytes()))
    stored = read_checkpoint(path).hyper_parameters.keys()
    assert len(stored) > 50
    # the largest frame id comes from the data, the name of the configuration is no setting
    assert stored - known_keys(OptimizationSettings) == {"max_frame_id", "config"}


def test_every_setting_of_the_published_tracker_is_known(golden_dir):
    config = json.loads((golden_dir / "tracker_a" / "scalars.json").read_text())["config"]
    assert config.keys() <= known_keys(TrackingSettings)


# --- where the published README and code disagree ---------------------------------------------------------

CODE = [
    "--target_ckpt=t",
    "--target_tracking_results=tt",
    "--driving_ckpt=d",
    "--driving_tracking_results=dt",
]


@pytest.mark.parametrize(
    ("spellings", "key", "text", "value"),
    [
        (("target_model", "target_ckpt"), "target_ckpt", "x", Path("x")),
        (("source_model", "driving_ckpt"), "driving_ckpt", "x", [Path("x")]),
        (("neutral_source_frame", "neutral_driving_frame"), "neutral_driving_frame", "5", [5]),
        (("outpath",), "outpath", "video.mp4", Path("video.mp4")),
        (("outpath",), "outpath", "folder", Path("folder")),
    ],
)
def test_both_spellings_of_a_reenactment_setting(spellings, key, text, value, tmp_path):
    rest = [option for option in [*CODE, "--outpath=o"] if not option.startswith(f"--{key}=")]
    for spelling in spellings:
        ini = tmp_path / "reenactment.ini"
        ini.write_text(f"{spelling} = {text}\n")
        for given in ([f"--{spelling}={text}"], ["--config", str(ini)]):
            settings = parse_settings(ReenactmentSettings, [*rest, *given], description="d")
            assert getattr(settings, key) == value


def test_outpath_is_a_video_or_a_folder(tmp_path):
    video, folder = tmp_path / "video.mp4", tmp_path / "folder"
    assert ReenactmentFiles.at(video).side_by_side == video
    assert ReenactmentFiles.at(folder).side_by_side.parent == folder


@pytest.mark.parametrize("key", ["gpus", "devices"])
def test_gpus_and_devices_are_accepted(key):
    paths = ["--data_path=x", "--tracking_results_path=x", "--default_root_dir=x"]
    parse_settings(OptimizationSettings, [*paths, f"--{key}=1"], description="d")


@pytest.mark.parametrize("there", TRACKING_FILE_NAMES)
@pytest.mark.parametrize("asked", ["tracked_params.npy", "tracked_flame_params.npz", ""])
def test_a_tracking_file_is_found_under_either_name(there, asked, tmp_path):
    (tmp_path / there).touch()
    assert find_tracking_file(tmp_path / asked) == tmp_path / there
