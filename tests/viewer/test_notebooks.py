"""The notebooks run from top to bottom, small, and are stored without outputs."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.test_demo import QUICK

nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed ([notebook] in pyproject.toml)")
nbformat = pytest.importorskip("nbformat")

FOLDER = Path(__file__).resolve().parents[2] / "jupyter_notebooks"
NAMES = ("novel_pose_and_expression_synthesis", "tour")


def read(name: str):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def execute(name: str, folder: Path, **parameters: object):
    """Run a notebook of the repository with other values in its cell of parameters, as papermill does."""
    notebook = read(name)
    (row,) = (i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", ()))
    for key in parameters:
        assert f"{key} = " in notebook.cells[row].source, f"{name} has no parameter {key}"
    changed = "\n".join(f"{key} = {value!r}" for key, value in parameters.items())
    notebook.cells.insert(row + 1, nbformat.v4.new_code_cell(changed))
    client = nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3")
    client.execute(cwd=str(folder))
    return notebook


def images_of(notebook) -> list[np.ndarray]:
    """All images among the outputs, uint8 [H, W, 3]."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", {}):
                data = base64.b64decode(output["data"]["image/png"])
                found.append(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))
    return found


def test_these_are_all_notebooks():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_no_output_is_stored(name):
    notebook = read(name)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None
        assert cell.get("attachments", {}) == {}
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert "widgets" not in notebook.metadata


def test_the_tour_has_ten_short_cells():
    code = [cell.source.splitlines() for cell in read("tour").cells if cell.cell_type == "code"]
    assert len(code) == 10
    assert max(map(len, code)) <= 25


@pytest.mark.slow
def test_the_tour_makes_an_avatar(tmp_path):
    out = tmp_path / "a tour's folder"
    notebook = execute("tour", tmp_path, FRAMES=8, SIZE=64, EPOCHS=(1, 1, 1), OUT=str(out))
    assert len(images_of(notebook)) == 6
    assert all(image.std() > 5 for image in images_of(notebook))
    assert (out / "avatar" / "avatar.ckpt").is_file()
    assert (out / "export" / "avatar.glb").stat().st_size > 100_000


@pytest.mark.slow
def test_sliders_for_a_given_avatar(files, tmp_path):
    name = "novel_pose_and_expression_synthesis"
    notebook = execute(name, tmp_path, CKPT=str(files.ckpt), TRACKING=str(files.tracking), HEIGHT=48)
    poses, views = images_of(notebook)
    assert poses.shape[1] == 6 * 48
    assert views.shape[1] == 5 * 48
    tiles = [poses[18:66, 48 * i : 48 * (i + 1)] for i in range(6)]
    assert all((tile != tiles[0]).any() for tile in tiles[1:])
    states = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"].values()
    sliders = [state for state in states if state["model_name"] == "FloatSliderModel"]
    assert len(sliders) == 19


def test_the_demos_avatar_is_made_where_it_is_missing(tmp_path, monkeypatch):
    """The cell that does it, with another folder for the repository's; `test_demo.py` runs the demo itself."""
    source = next(c.source for c in read(NAMES[0]).cells if "def demo_avatar" in c.source)
    folder = f"__import__('pathlib').Path({str(tmp_path)!r})"
    assert source.count('REPOSITORY / "experiments"') == 2
    source = source.replace('REPOSITORY / "experiments"', folder)
    commands = []

    def make(command: list, check: bool) -> None:
        commands.append(command)
        ckpt = Path(command[3]) / "subject_1" / "avatar" / "avatar.ckpt"
        ckpt.parent.mkdir(parents=True)
        ckpt.touch()

    monkeypatch.setattr("subprocess.run", make)
    found = []
    for _ in range(2):
        scope: dict[str, object] = {"CKPT": None}
        exec(compile(source, "cell", "exec"), scope)  # noqa: S102 - a cell of our own notebook
        found.append(Path(str(scope["CKPT"])))
    assert found[0] == found[1] == tmp_path / "demo_quick" / "subject_1" / "avatar" / "avatar.ckpt"
    ((python, script, flag, _, *options),) = commands  # the second time it was there
    assert (python, Path(script).name, flag) == (sys.executable, "run_demo.py", "--out")
    assert Path(script).is_file()
    assert tuple(options) == QUICK


def test_the_panel_renders_the_values_of_its_sliders(scene):
    module = pytest.importorskip("nha.viewer.notebook_panel", reason="ipywidgets is not installed")
    panel = module.NotebookPanel(scene, 48)
    before = panel.images()
    image = panel.box.children[0].value
    panel.sliders["jaw_open"].value = 20.0
    assert panel.state.values["jaw_open"] == 20
    assert panel.box.children[0].value != image  # rendered again
    assert (panel.images()[0] != before[0]).any()
    panel.frame.value = 5
    assert panel.state.frame_id == 5
    panel.reset()
    assert panel.state.key == (None, ())
    assert panel.box.children[0].value == image
