"""Results that are not finite are refused, faults of annotations are reported, texts cannot control the terminal."""

from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest

from nha.core.errors import UserError
from nha.core.json_file import json_text
from nha.core.system import run_script
from nha.core.tables import Table
from nha.data.annotation_faults import report_annotation_faults, unsuitable_kind
from nha.data.dataset_folder import DatasetFolder, write_labels
from nha.data.frame_store import FrameStore
from nha.export.glb_file import GlbFile
from nha.export.mesh_files import TexturedMesh
from nha.export.parameters import write_parameters


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_exports_with_values_that_are_not_finite_are_refused(tmp_path, value):
    good, bad = np.zeros((3, 3), np.float32), np.full((3, 3), value, np.float32)
    faces = np.zeros((1, 3), np.int64)
    for vertices, normals in ((bad, good), (good, bad)):
        with pytest.raises(
            UserError, match="the mesh that was to be exported holds values that are not finite"
        ):
            TexturedMesh(vertices, normals, good[:, :2], faces, faces, np.zeros(1, np.int64))
    with pytest.raises(UserError, match="head parameters that were to be exported"):
        write_parameters(tmp_path, {"expression": bad}, {})
    for store in (lambda file: file.accessor(bad), lambda file: file.sparse_accessor(bad)):
        with pytest.raises(UserError, match="GLB"):
            store(GlbFile({"licence": "a comment"}))
    with pytest.raises(UserError, match="x holds values that are not finite"):
        json_text({"a": [float(value)]}, "x", "try again")
    assert not list(tmp_path.iterdir())


def test_images_with_values_that_are_not_finite_are_refused(monkeypatch):
    import torch

    from nha.evaluation import rendered_frames

    class Broken:
        rgba = torch.tensor([0.5, float("nan")]).reshape(2, 1, 1, 1).expand(2, 4, 2, 2)

    class Batch:
        frame_id = torch.tensor([7, 9])
        tracked = camera = None

    monkeypatch.setattr(rendered_frames, "render_images", lambda *_, **__: Broken())
    with pytest.raises(UserError, match=r"the rendered image holds values that are not finite \(frame 9\)"):
        rendered_frames.render_batch(None, Batch())


# --- annotations ----------------------------------------------------------------------------------------


def faults(tiny, caplog) -> str:
    folder = DatasetFolder(tiny.data_path)
    caplog.clear()
    report_annotation_faults(folder, FrameStore(folder, folder.frame_ids(), "none"), folder.frame_ids())
    return caplog.text


def test_training_names_faults_of_the_annotations(tiny_dataset, caplog):
    tiny = tiny_dataset(image_size=(48, 64))
    folder = DatasetFolder(tiny.data_path)
    assert "unknown label values" not in faults(tiny, caplog)
    write_labels(folder.paths(1).parsing, np.full((48, 64), 77, np.uint8))
    write_labels(folder.paths(2).segmentation, np.zeros((48, 64), np.uint8))
    text = faults(tiny, caplog)
    assert "unknown label values in 1 of 4 frames that were looked at (1; frame 1: parsing holds 77)" in text
    assert "empty head mask in 1 of 4 frames" in text
    assert f"`nha check dataset {tiny.data_path}` checks all frames" in text


def test_label_files_that_change_labels_are_named(tiny_dataset, tmp_path, caplog):
    tiny = tiny_dataset(image_size=(48, 64))
    folder = DatasetFolder(tiny.data_path)
    labels = np.zeros((48, 64), np.uint8)
    cv2.imwrite(str(tmp_path / "x.jpg"), labels)
    folder.paths(3).parsing.write_bytes((tmp_path / "x.jpg").read_bytes())
    assert "parsing_0003.png is no PNG" in faults(tiny, caplog)
    header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\x03"
    (tmp_path / "palette.png").write_bytes(header)
    assert "palette" in unsuitable_kind(tmp_path / "palette.png")


# --- terminal -------------------------------------------------------------------------------------------

HOSTILE = "\x1b[2J\x1b]0;owned\x07\u202egnp.x\x00\x9b31m"


def test_what_a_program_prints_cannot_control_the_terminal(capsys):
    def main() -> None:
        print(f"name: {HOSTILE}")
        sys.stdout.writelines([HOSTILE, "\n"])
        print(Table(("a", "b"), [(f"x\nerror: forged{HOSTILE}", 1.0)], notes=("note",)).as_text())
        raise UserError(f"first\nerror: second {HOSTILE}")

    before = sys.stdout
    with pytest.raises(SystemExit) as ended:
        run_script(main)
    assert ended.value.code == 2
    assert sys.stdout is before
    out, errors = capsys.readouterr()
    assert out.replace("\n", "").isprintable()
    assert "\nerror" not in out
    assert errors.count("\n") == 1
    assert errors.rstrip("\n").isprintable()


def test_what_a_program_logs_cannot_control_the_terminal(capsys):
    from nha.core.system import get_logger

    def main() -> None:
        log = get_logger("nha.test")
        log.warning("file %s: %s", HOSTILE + "\nerror: forged", ValueError(HOSTILE))
        log.warning(f"built {HOSTILE}\nerror: forged")

    with pytest.raises(SystemExit):
        run_script(main)
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 2
    assert out.replace("\n", "").isprintable()
