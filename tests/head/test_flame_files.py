"""Reading head model folders and choosing a head model."""

import json
import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse
import torch

from nha.core import paths
from nha.core.errors import UserError
from nha.core.paths import new_asset_folder
from nha.head.description import FLAME_VERTICES
from nha.head.flame_files import MODEL_FILES, missing_files, read_head_folder
from nha.head.load import load_head, resolve_head_folder
from nha.head.model import HeadModel


@pytest.fixture
def folder(tmp_path, assets):
    """A copy of the procedural head's files without the large texture."""
    target = tmp_path / "a head's files"
    shutil.copytree(assets.folder, target, ignore=shutil.ignore_patterns("FLAME_texture.npz"))
    return target


def test_a_missing_file_is_named(folder):
    (folder / "FLAME_masks_mouth.pkl").unlink()
    assert missing_files(folder) == ["FLAME_masks_mouth.pkl"]
    with pytest.raises(
        UserError, match=r"not have FLAME's triangles.*get FLAME_masks_mouth\.pkl from the publ"
    ):
        read_head_folder(folder)


def test_an_empty_folder_is_an_error_with_names_and_sources(tmp_path):
    with pytest.raises(
        UserError, match=r"has no generic_model\.pkl.*flame2023_Open\.pkl.*flame\.is\.tue\.mpg\.de"
    ):
        read_head_folder(tmp_path)


@pytest.mark.parametrize("name", MODEL_FILES)
def test_every_flame_release_is_found_by_its_name(folder, name):
    (folder / "generic_model.pkl").rename(folder / f"{name}.part")
    (folder / f"{name}.part").rename(folder / name)
    assert read_head_folder(folder).texture_file is None


def test_the_format_of_2023_open_is_read(folder):
    """As described by its users: protocol 5, no chumpy, a sparse regressor, and entries of no other release."""
    model = pickle.loads((folder / "generic_model.pkl").read_bytes())
    model["J_regressor"] = scipy.sparse.csc_matrix(model["J_regressor"])
    model["J"] = np.zeros((5, 3))
    model["supr_expression_metadata"] = {"expr_components": "last_100", "n_expr": 100, "scale": np.float64(1)}
    (folder / "generic_model.pkl").unlink()
    (folder / "flame2023_Open.pkl").write_bytes(pickle.dumps(model, protocol=5))
    assets = read_head_folder(folder)
    np.testing.assert_array_equal(assets.joint_regressor, model["J_regressor"].toarray().astype(np.float32))


class Malicious:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def test_a_malicious_model_file_is_refused_and_not_executed(folder, tmp_path):
    trace = tmp_path / "trace"
    (folder / "generic_model.pkl").write_bytes(pickle.dumps({"v_template": Malicious(trace)}))
    with pytest.raises(UserError, match=r"generic_model\.pkl refers to \w+\.mkdir"):
        read_head_folder(folder)
    assert not trace.exists()


def test_a_model_of_other_sizes_is_refused(folder):
    model = pickle.loads((folder / "generic_model.pkl").read_bytes())
    model["weights"] = model["weights"][:-1]
    (folder / "generic_model.pkl").write_bytes(pickle.dumps(model))
    with pytest.raises(UserError, match="weights has shape"):
        read_head_folder(folder)


def test_files_of_two_head_models_are_an_error(folder):
    parts = {"mouth": np.array([10**6])}
    (folder / "FLAME_masks_mouth.pkl").write_bytes(pickle.dumps(parts))
    with pytest.raises(UserError, match="different head models"):
        read_head_folder(folder)


def test_an_obj_without_texture_coordinates_is_refused(folder):
    (folder / "head_template_mesh.obj").write_text("v 0 0 0\nf 1 1 1\n")
    with pytest.raises(UserError, match="no triangle with texture coordinates"):
        read_head_folder(folder)


def test_the_path_of_the_model_file_stands_for_its_folder(folder):
    assert read_head_folder(folder / "generic_model.pkl").folder == folder
    (folder / "generic_model.pkl").rename(folder / "any name.pkl")
    assert read_head_folder(folder / "any name.pkl").name == "procedural"


def test_head_choice(tmp_path):
    with pytest.raises(UserError, match="neither auto, flame, procedural nor an existing folder"):
        load_head(tmp_path / "nowhere")
    assert load_head("procedural").folder == new_asset_folder() / "procedural"
    assert load_head(new_asset_folder() / "procedural").name == "procedural"


def test_the_procedural_head_is_generated_in_the_working_directory_of_an_installed_package(
    tmp_path, monkeypatch
):
    monkeypatch.delenv(paths.ASSETS_VARIABLE, raising=False)
    monkeypatch.setattr(paths, "REPOSITORY", tmp_path / "site-packages")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "assets" / "procedural"
    assert load_head("auto").folder == folder
    description = json.loads((folder / "head.json").read_text("utf-8"))
    (folder / "head.json").write_text(json.dumps(description | {"generator_version": 0}), "utf-8")
    assert load_head("auto").folder == folder
    assert json.loads((folder / "head.json").read_text("utf-8")) == description


def test_flame_is_preferred_where_an_asset_folder_has_it(flame_like, tmp_path, monkeypatch):
    monkeypatch.setenv(paths.ASSETS_VARIABLE, str(tmp_path))
    (tmp_path / "flame").symlink_to(flame_like)
    assert resolve_head_folder("auto") == tmp_path / "flame"


@pytest.fixture(scope="module")
def flame_chumpy(shared_dir, tmp_path_factory):
    """FLAME-shaped files with chumpy arrays, as those of 2020 are."""
    out = tmp_path_factory.mktemp("flame_chumpy")
    script = shared_dir / "flame_like" / "expand.py"
    subprocess.run([sys.executable, script, out, "--texture", "0"], check=True)
    return out


def test_flame_files_with_chumpy_arrays(flame_chumpy, shared_dir):
    assets = read_head_folder(flame_chumpy)
    assert assets.name == "flame"
    assert len(assets.template_vertices) == FLAME_VERTICES
    assert assets.joint_parents == (-1, 0, 1, 1, 1)
    source = np.load(shared_dir / "flame_like" / "generic_model.npz")
    np.testing.assert_allclose(assets.joint_regressor, source["J_regressor"])
    assert len(assets.closed.faces) == 10006
    assert len(assets.open.faces) == 9976


def test_flame_topology_has_the_published_counts(flame_like):
    head = HeadModel(read_head_folder(flame_like), blur_sigma=None)
    assert (head.n_vertices, len(head.faces), len(head.offset_vertices)) == (16227, 32392, 15135)
    assert torch.isfinite(head(head.neutral_params(1))).all()


@pytest.mark.parametrize("name", ["FLAME_NEUTRAL.pkl", "flame2023_no_jaw.pkl", "female_model.pkl"])
def test_further_names_of_the_model_are_taken(folder, name):
    (folder / "generic_model.pkl").rename(folder / name)
    assert read_head_folder(folder).release.startswith("procedural")
    assert missing_files(folder) == []


def test_of_two_gendered_models_one_must_be_named(folder):
    shutil.copy(folder / "generic_model.pkl", folder / "male_model.pkl")
    (folder / "generic_model.pkl").rename(folder / "female_model.pkl")
    with pytest.raises(
        UserError, match=r"has female_model\.pkl and male_model\.pkl: name one of these files"
    ):
        read_head_folder(folder)
    assert len(read_head_folder(folder / "male_model.pkl").template_vertices) == 5417


def test_a_folder_with_other_pickles_names_them(tmp_path):
    (tmp_path / "my_flame.pkl").touch()
    with pytest.raises(UserError, match=r"it has my_flame\.pkl: name a model file itself with --head"):
        read_head_folder(tmp_path)


@pytest.mark.parametrize(
    ("names", "hint"),
    [
        (["FLAME2020/generic_model.pkl"], "FLAME2020' has a model: name that folder with --head, or move"),
        (["FLAME2020.zip", "Readme.pdf"], "unpack FLAME2020.zip there"),
        (["FLAME_masks.pkl", "my_flame.pkl"], "it has my_flame.pkl: name a model file itself"),
        (["female_model.pkl", "male_model.pkl"], "has female_model.pkl and male_model.pkl: name one of"),
    ],
)
def test_a_model_that_is_not_taken_is_said(tmp_path, monkeypatch, caplog, names, hint):
    """The procedural head in the place of FLAME would be silently wrong."""
    monkeypatch.setenv(paths.ASSETS_VARIABLE, str(tmp_path))
    for name in names:
        (tmp_path / "flame" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "flame" / name).touch()
    assert resolve_head_folder("auto").name == "procedural"
    assert "head model: the procedural one, because no model file of a known name is in" in caplog.text
    assert hint in caplog.text
    with pytest.raises(UserError, match="head model folder") as caught:
        load_head("flame")
    assert hint.split(":")[0] in str(caught.value)


def test_a_model_as_npz_is_the_same(folder):
    model = pickle.loads((folder / "generic_model.pkl").read_bytes())
    expected = read_head_folder(folder).identity
    (folder / "generic_model.pkl").unlink()
    arrays = {key: value.toarray() if scipy.sparse.issparse(value) else value for key, value in model.items()}
    np.savez(folder / "FLAME_NEUTRAL.npz", **{k: v for k, v in arrays.items() if isinstance(v, np.ndarray)})
    assert read_head_folder(folder).identity == expected


def test_decas_landmarks_and_the_official_parts(flame_like, tmp_path, caplog):
    """68 landmarks without irises: these are derived; the parts without a mouth are named, not used."""
    full = np.load(flame_like / "landmark_embedding_with_eyes.npy", allow_pickle=True).item()
    shutil.copytree(flame_like, tmp_path / "flame")
    target = tmp_path / "flame"
    (target / "landmark_embedding_with_eyes.npy").unlink()
    (target / "FLAME_masks_mouth.pkl").rename(target / "FLAME_masks.pkl")
    deca = {
        "full_lmk_faces_idx": np.asarray(full["full_lmk_faces_idx"])[:, :68],
        "full_lmk_bary_coords": np.asarray(full["full_lmk_bary_coords"])[:, :68],
    }
    np.save(target / "landmark_embedding.npy", np.array(deca, dtype=object), allow_pickle=True)
    assets = read_head_folder(target)
    expected = read_head_folder(flame_like)
    np.testing.assert_array_equal(assets.landmark_faces[:68], expected.landmark_faces[:68])
    np.testing.assert_array_equal(assets.landmark_barycentric[:68], expected.landmark_barycentric[:68])
    assert assets.landmark_faces.shape == (70,)
    assert "landmarks from landmark_embedding.npy, which has no irises" in caplog.text
    assert "FLAME_masks.pkl lacks the parts of the mouth and is not used" in caplog.text
