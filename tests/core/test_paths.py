"""Where asset files are looked for."""

from __future__ import annotations

import pytest

from nha.core import paths


@pytest.fixture(autouse=True)
def no_variable(monkeypatch):
    monkeypatch.delenv(paths.ASSETS_VARIABLE, raising=False)


def put(folder, name="arcface/backbone.pth"):
    path = folder / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    return path


def test_the_variable_comes_before_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here = put(tmp_path / "assets")
    assert paths.find_asset("arcface/backbone.pth") == here
    monkeypatch.setenv(paths.ASSETS_VARIABLE, str(tmp_path / "elsewhere"))
    assert paths.find_asset("arcface/backbone.pth") == here
    there = put(tmp_path / "elsewhere")
    assert paths.find_asset("arcface/backbone.pth") == there


def test_the_checkout_is_searched_from_every_folder(tmp_path, monkeypatch, repository):
    monkeypatch.chdir(tmp_path)
    assert paths.asset_folders() == [tmp_path / "assets", repository / "assets"]
    assert paths.find_asset("README.md") == repository / "assets" / "README.md"


def test_a_missing_asset_gets_the_path_where_it_belongs(tmp_path, monkeypatch, repository):
    monkeypatch.chdir(tmp_path)
    assert paths.find_asset("no such file") == repository / "assets" / "no such file"
    monkeypatch.setattr(paths, "REPOSITORY", tmp_path / "site-packages")  # an installed package
    assert paths.asset_folders() == [tmp_path / "assets"]
    assert paths.find_asset("no such file") == tmp_path / "assets" / "no such file"
    monkeypatch.setenv(paths.ASSETS_VARIABLE, str(tmp_path / "elsewhere"))
    assert paths.find_asset("no such file") == tmp_path / "elsewhere" / "no such file"
