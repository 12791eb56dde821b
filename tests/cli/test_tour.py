"""`nha tour` without JupyterLab being started."""

from __future__ import annotations

import subprocess
import sys

import pytest

from nha.cli import tour
from nha.cli.tour import TourSettings
from nha.core.errors import UserError


@pytest.fixture
def started(monkeypatch):
    """The programs that were started instead of running."""
    programs = []
    monkeypatch.setattr(subprocess, "run", lambda program, check: programs.append(program))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    return programs


def test_a_copy_is_opened_in_any_folder_and_kept(started, tmp_path, monkeypatch, repository):
    monkeypatch.chdir(tmp_path)
    copy = tour.open_tour(TourSettings(out="a tour"))
    assert copy.read_bytes() == (repository / "jupyter_notebooks" / "tour.ipynb").read_bytes()
    copy.write_text("changed")
    tour.open_tour(TourSettings(out="a tour"))
    assert copy.read_text() == "changed"
    assert started == [[sys.executable, "-m", "jupyterlab", str(copy)]] * 2


def test_without_jupyterlab_the_error_names_the_installation(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"install it with: python -m pip install -e") as error:
        tour.open_tour(TourSettings(out=tmp_path))
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_without_the_repository_the_error_says_so(started, monkeypatch, tmp_path):
    monkeypatch.setattr(tour, "_NOTEBOOKS", tmp_path)
    with pytest.raises(UserError, match="part of the repository"):
        tour.open_tour(TourSettings(out=tmp_path))
