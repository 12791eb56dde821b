"""The parity script on the published reference numbers, and on folders derived from them.

The derived folders have other frames, another order and other settings than the reference, and some have wrong numbers:
the script must read the settings of a folder and report the wrong numbers.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import parity as parity_script
from nha.core.errors import UserError
from parity_checks.deterministic import images_of, waves

KEYS = ["name", "shape", "worst", "mean", "tolerance", "pass"]


@pytest.fixture
def parity(run_script, flame_like, tmp_path):
    """parity("--golden", folder, ...) runs the script and returns (exit code, rows by name, output)."""

    def run(*arguments):
        report = tmp_path / "rows.json"
        done = run_script("benchmarks/parity.py", *arguments, "--assets", flame_like, "--json", report)
        assert done.returncode in (0, 1), done.stderr
        rows = json.loads(report.read_text())
        assert all(list(row) == KEYS for row in rows)
        by_name = {row["name"]: row for row in rows}
        assert len(by_name) == len(rows)
        return done.returncode, by_name, done.stdout

    return run


def failed(rows: dict) -> set[str]:
    return {name for name, row in rows.items() if not row["pass"]}


def quantities(folder: Path, inputs: tuple[str, ...]) -> set[str]:
    """Names of the quantities in a folder, without those that begin or end like `inputs`."""
    with np.load(folder / "golden.npz") as arrays:
        names = {*arrays.files, *json.loads((folder / "scalars.json").read_text())["scalars"]}
    return {name for name in names if not (name.startswith(inputs) or name.endswith(inputs))}


# --- the reference numbers ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["a", "c"])
def test_every_quantity_of_an_avatar_is_within_its_tolerance(folder, golden_dir, parity):
    code, rows, printed = parity("--golden", golden_dir / folder)
    assert failed(rows) == set()
    assert code == 0
    assert rows.keys() >= quantities(golden_dir / folder, ("in_", "/epoch"))
    assert "not checked" not in printed


@pytest.mark.slow
def test_every_quantity_of_tracker_and_networks_is_within_its_tolerance(golden_dir, parity):
    code, rows, printed = parity("--tracker", golden_dir / "tracker_a", "--networks", golden_dir / "networks")
    assert failed(rows) == set()
    assert code == 0
    inputs = ("_rgb", "_lmk2d", "/step", "/frames", "/seconds")
    assert rows.keys() >= quantities(golden_dir / "tracker_a", inputs)
    for path in (golden_dir / "networks").glob("*.npz"):
        checked = {name for name in rows if name.startswith(f"{path.stem}/")}
        with np.load(path) as outputs:
            expected = {f"{path.stem}/{name}" for name in (*outputs.files, "state_dict")}
        assert checked == expected or f"not checked: {path.stem} " in printed
    assert "arcface_r18/grad" in rows


# --- derived folders --------------------------------------------------------------------------------------


def copy_of(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / f"copy of {folder.name}"))


def change_arrays(folder: Path, change) -> None:
    with np.load(folder / "golden.npz") as arrays:
        changed = {name: change(name, arrays[name]) for name in arrays.files}
    np.savez(folder / "golden.npz", **{name: x for name, x in changed.items() if x is not None})


def change_scalars(folder: Path, change) -> None:
    content = json.loads((folder / "scalars.json").read_text())
    change(content)
    (folder / "scalars.json").write_text(json.dumps(content))


def with_frames(rows: list[int], n_faces: int):
    """A function that keeps these rows of the batch, in this order; gradients and tables are unchanged."""

    def change(name: str, value: np.ndarray) -> np.ndarray:
        if name == "in_eye_distance":
            return value[:, rows]
        per_frame = name.startswith(("in_", "prep_", "rgba_", "trust_")) or name in {
            "shaded", "reenact", "verts", "verts_no_offsets", "lmks", "mouth_conditioning", "offsets",
            "pix_to_face", "bary", "zbuf", "screen_coords", "normals", "semantics",
        }  # fmt: skip
        if not per_frame:
            return value
        if name == "pix_to_face":  # face ids are numbered through the batch
            place = np.arange(len(rows)).reshape(-1, 1, 1)
            return np.where(value[rows] < 0, -1, value[rows] % n_faces + n_faces * place)
        return value[rows]

    return change


@pytest.mark.slow
def test_other_frame_order_and_wrong_numbers(golden_dir, parity, tmp_path):
    folder = copy_of(golden_dir / "a", tmp_path)
    in_another_order = with_frames([1, 0], n_faces=len(np.load(folder / "golden.npz")["faces"]))
    wrong = {"verts", "faces", "bary", "rgba_eval", "grad_joint_expr", "prep_lmk2d", "trust_semantics"}

    def change(name: str, value: np.ndarray) -> np.ndarray:
        value = in_another_order(name, value)
        if name == "trust_semantics":
            return value[:1]
        return value * 1.1 + 1 if name in wrong else value

    def make_wrong(content: dict) -> None:
        content["scalars"]["offset/lmk_loss"] *= 1.001
        content["scalars"]["joint/weight/w_lap"] = float("nan")
        content["scalars"]["joint/new_loss"] = 1.0
        content["labels"][0] = "elbow"

    change_arrays(folder, change)
    change_scalars(folder, make_wrong)
    code, rows, printed = parity("--golden", folder)
    assert code == 1
    assert failed(rows) == wrong | {"offset/lmk_loss", "joint/weight/w_lap", "labels"}
    assert "not checked: joint/new_loss" in printed


@pytest.mark.slow
def test_single_frame_with_the_reference_rasteriser(golden_dir, parity, tmp_path):
    folder = copy_of(golden_dir / "a", tmp_path)
    one_frame = with_frames([1], n_faces=len(np.load(folder / "golden.npz")["faces"]))
    # the reference has no losses and gradients of a single frame, only inference and weights
    change_arrays(folder, lambda name, x: None if name.startswith("grad_") else one_frame(name, x))

    def keep_weights(content: dict) -> None:
        kept = ("weight/", "decay_", "epoch")
        scalars = content["scalars"].items()
        content["scalars"] = {name: x for name, x in scalars if name.split("/", 1)[1].startswith(kept)}

    change_scalars(folder, keep_weights)
    code, rows, _ = parity("--golden", folder, "--backend", "reference")
    assert (code, failed(rows)) == (0, set())
    assert rows["rgba_eval"]["shape"][0] == 1
    assert rows["joint/weight/w_lap"]["pass"]


@pytest.mark.slow
def test_tracker_with_other_settings(golden_dir, parity, tmp_path):
    """The energy is linear in its weights, so total and gradients for another weight follow from the folder's numbers.

    They are written to the folder for one point; at the other point the old numbers must fail.
    """
    folder = copy_of(golden_dir / "tracker_a", tmp_path)
    right, wrong = "init", "frame_first"
    config = json.loads((folder / "scalars.json").read_text())["config"]
    more = 3.0 - config["w_photo"]
    moved = ("K", "translation", "rotation")

    def reweigh(content: dict) -> None:
        content["config"]["w_photo"] += more
        scalars = content["scalars"]
        scalars[f"{right}/E_total"] += more * scalars[f"{right}/E_photo"]
        kept = (f"{right}/", f"{wrong}/")
        content["scalars"] = {name: x for name, x in scalars.items() if name.startswith(kept)}

    with np.load(folder / "golden.npz") as arrays:
        pairs = {f"{right}_grad_{name}": f"{right}_photo_grad_{name}" for name in moved}
        follows = {name: arrays[name] + more * arrays[photo] for name, photo in pairs.items()}
    ends = ("_rgb", "_lmk2d", "_verts", "_render", *(f"_grad_{name}" for name in moved))
    kept = {f"{point}{end}" for point in (right, wrong) for end in ends}
    change_arrays(folder, lambda name, x: follows.get(name, x) if name in kept else None)
    change_scalars(folder, reweigh)

    code, rows, _ = parity("--tracker", folder)
    assert code == 1
    assert {f"{right}/E_total", *follows, *(f"{name}/length" for name in follows)} <= rows.keys()
    noticed = {f"{wrong}/E_total", *(f"{wrong}_grad_{name}/length" for name in moved)}
    directions = {f"{wrong}_grad_{name}" for name in moved}
    assert noticed <= failed(rows) <= noticed | directions


def test_unknown_networks_and_wrong_outputs(golden_dir, run_script, tmp_path):
    folder = tmp_path / "networks"
    folder.mkdir()
    shutil.copy(golden_dir / "networks" / "arcface_r18.json", folder)
    with np.load(golden_dir / "networks" / "arcface_r18.npz") as outputs:
        np.savez(
            folder / "arcface_r18.npz",
            **{**outputs, "relu2": outputs["relu2"] * 1.01, "relu9": outputs["relu2"]},
        )
    (folder / "unheard_of.json").write_text(json.dumps({"input": "image(1,3,8,8,0)", "state_dict": {}}))
    done = run_script("benchmarks/parity.py", "--networks", folder)  # needs no head model
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "failed: arcface_r18/relu2"
    assert "not checked: unheard_of (" in done.stdout
    assert "not checked: arcface_r18/relu9 (" in done.stdout

    description = json.loads((folder / "arcface_r18.json").read_text())
    description["state_dict"]["layer1.0.conv1.weight"] = [64, 64, 1, 1]
    (folder / "arcface_r18.json").write_text(json.dumps(description))
    done = run_script("benchmarks/parity.py", "--networks", folder)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "failed: arcface_r18/state_dict"


def test_image_descriptions_are_parsed():
    first, second = images_of("image(2,3,8,6,0)*2-1 against image(1,1,4,5,3)")
    torch.testing.assert_close(first, waves(2, 3, 8, 6, 0) * 2 - 1)
    torch.testing.assert_close(second, waves(1, 1, 4, 5, 3))
    assert first.min() < -0.5
    frames = images_of(
        "two frames image(1,3,8,6,0) then (…,1), recurrent state carried, downsample_ratio 0.5"
    )
    torch.testing.assert_close(frames[1], waves(1, 3, 8, 6, 1))
    assert len(frames) == 2
    # formula of the README: channel k of item b = sin(6.283 (x (k+1) + y (2k+1) + 0.37 s + 0.11 b)) / 2 + 0.5
    x, y, k, b, s = 3 / 5, 5 / 7, 2, 1, 4
    expected = np.sin(6.283 * (x * (k + 1) + y * (2 * k + 1) + 0.37 * s + 0.11 * b)) / 2 + 0.5
    assert waves(2, 3, 8, 6, s)[b, k, 5, 3].item() == pytest.approx(expected, abs=1e-5)


# --- wrong arguments --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to check; pass --golden, --tracker or --networks DIR"),
        (["--golden", "x"], "need --assets DIR"),
        (["--goldn", "x"], "did you mean 'golden'?"),
        (["--networks", "x", "--backend", "cuda"], "invalid choice: 'cuda'"),
        (["--networks", "no such folder"], "holds no networks"),
    ],
)
def test_wrong_command_line_gives_a_user_error(arguments, message):
    with pytest.raises(UserError) as caught:
        parity_script.main(arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["--golden", "--tracker"])
def test_missing_folder_gives_one_line(kind, run_script, flame_like, tmp_path):
    done = run_script("benchmarks/parity.py", kind, tmp_path / "none", "--assets", flame_like)
    assert done.returncode == 2
    assert "has no golden.npz" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("backend", ["triton", "pytorch3d"])
def test_missing_backend_gives_a_user_error(backend, tmp_path):
    if importlib.util.find_spec(backend) and (backend != "triton" or torch.cuda.is_available()):
        pytest.skip(f"{backend} can be used on this machine")
    with pytest.raises(UserError, match=f"raster backend '{backend}' needs") as caught:
        parity_script.main(["--networks", str(tmp_path), "--backend", backend])
    assert "\n" not in str(caught.value)
