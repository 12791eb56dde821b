"""Head model files under their published names, read without executing anything that they contain."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import scipy.sparse

from nha.core.errors import UserError
from nha.core.safe_pickle import load_npy, load_pickle
from nha.head.assets import N_EXPRESSION, N_SHAPE, HeadAssets, MeshTopology, MouthFeatureTable

# The first name is the one asked for when none is there.
MODEL_FILES = ("generic_model.pkl", "flame2023.pkl", "flame2023_Open.pkl")
CLOSED_MESH = "head_template_mesh_mouth.obj"
OPEN_MESH = "head_template_mesh.obj"
PARTS_FILE = "FLAME_masks_mouth.pkl"
LANDMARK_FILE = "landmark_embedding_with_eyes.npy"
LOWER_NECK_FILE = "lower_neck_face_idcs.npy"
TEXTURE_FILE = "FLAME_texture.npz"
DESCRIPTION_FILE = "head.json"
REQUIRED_FILES = (CLOSED_MESH, OPEN_MESH, PARTS_FILE, LANDMARK_FILE, LOWER_NECK_FILE)

FLAME_VERTICES = 5023
_DESCRIPTIONS = Path(__file__).parent / "descriptions"


def model_file(folder: Path) -> Path | None:
    """The head model's main file in `folder`, or None."""
    return next((folder / name for name in MODEL_FILES if (folder / name).is_file()), None)


def missing_files(folder: Path) -> list[str]:
    """Names of the required files that `folder` lacks; empty when the head model is complete."""
    missing = [] if model_file(folder) else [MODEL_FILES[0]]
    return missing + [name for name in REQUIRED_FILES if not (folder / name).is_file()]


def read_head_folder(folder: str | Path) -> HeadAssets:
    """Read a folder of FLAME-shaped files (FLAME 2020, 2023, 2023 Open or the procedural head).

    Raises UserError when a file is missing, broken, inconsistent or asks for code to be run.
    """
    folder = Path(folder)
    missing = missing_files(folder)
    if missing:
        raise UserError(
            f"head model folder '{folder}' lacks {', '.join(missing)}; "
            "see README 'What to download', or use --head procedural"
        )
    model = _read_model(model_file(folder))
    closed, open_ = _read_obj(folder / CLOSED_MESH), _read_obj(folder / OPEN_MESH)
    parts = _read_parts(folder / PARTS_FILE)
    landmark_faces, landmark_barycentric = _read_landmarks(folder / LANDMARK_FILE)
    description = _read_description(folder, len(model["v_template"]))
    texture = folder / TEXTURE_FILE
    assets = HeadAssets(
        name=description.get("name", folder.name),
        folder=folder,
        licence=description.get("licence", "unknown"),
        template_vertices=model["v_template"],
        shape_directions=model["shapedirs"][:, :, :N_SHAPE],
        expression_directions=model["shapedirs"][:, :, N_SHAPE:],
        pose_directions=model["posedirs"],
        joint_regressor=model["J_regressor"],
        skinning_weights=model["weights"],
        joint_parents=(-1, *(int(parent) for parent in model["kintree_table"][0][1:])),
        closed=closed,
        open=open_,
        parts=parts,
        landmark_faces=landmark_faces,
        landmark_barycentric=landmark_barycentric,
        lower_neck_faces=load_npy(folder / LOWER_NECK_FILE).astype(np.int64).reshape(-1),
        mouth_features=_mouth_features(description),
        texture_file=texture if texture.is_file() else None,
        shape_names=tuple(description.get("shape_names", ())),
        expression_names=tuple(description.get("expression_names", ())),
    )
    _check(assets)
    return assets


def _read_model(path: Path) -> dict[str, np.ndarray]:
    raw = load_pickle(path)
    if not isinstance(raw, dict):
        raise UserError(f"'{path}' is not a head model: it holds a {type(raw).__name__}, not a dictionary")
    expected = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table")
    absent = [key for key in expected if key not in raw]
    if absent:
        raise UserError(f"'{path}' is not a head model: it lacks {', '.join(absent)}")
    model = {}
    for key in expected:
        value = raw[key].toarray() if scipy.sparse.issparse(raw[key]) else np.asarray(raw[key])
        model[key] = value.astype(np.int64 if key == "kintree_table" else np.float32)
    vertices = len(model["v_template"])
    shapes = {
        "v_template": (vertices, 3),
        "shapedirs": (vertices, 3, N_SHAPE + N_EXPRESSION),
        "posedirs": (vertices, 3, 36),
        "J_regressor": (5, vertices),
        "weights": (vertices, 5),
        "kintree_table": (2, 5),
    }
    for key, shape in shapes.items():
        if model[key].shape != shape:
            raise UserError(f"'{path}': {key} has shape {model[key].shape}, expected {shape}")
    return model


def _read_obj(path: Path) -> MeshTopology:
    """Triangles and texture coordinates of a Wavefront OBJ file; its vertices are not used."""
    uvs, faces, uv_faces = [], [], []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "vt":
            uvs.append([float(value) for value in rest.split()[:2]])
        elif kind == "f":
            corners = [corner.split("/") for corner in rest.split()]
            if len(corners) != 3 or any(len(corner) < 2 or not corner[1] for corner in corners):
                raise UserError(f"'{path}' has a face that is no triangle with texture coordinates: '{line}'")
            faces.append([int(corner[0]) - 1 for corner in corners])
            uv_faces.append([int(corner[1]) - 1 for corner in corners])
    if not faces:
        raise UserError(f"'{path}' holds no triangles; fetch the file again")
    return MeshTopology(np.array(faces, np.int64), np.array(uvs, np.float64), np.array(uv_faces, np.int64))


def _read_parts(path: Path) -> dict[str, np.ndarray]:
    raw = load_pickle(path)
    return {str(name): np.asarray(ids).astype(np.int64).reshape(-1) for name, ids in raw.items()}


def _read_landmarks(path: Path) -> tuple[np.ndarray, np.ndarray]:
    embedding = load_npy(path)
    embedding = embedding.item() if isinstance(embedding, np.ndarray) else embedding
    faces = np.asarray(embedding["full_lmk_faces_idx"]).astype(np.int64).reshape(-1)
    barycentric = np.asarray(embedding["full_lmk_bary_coords"]).astype(np.float32).reshape(-1, 3)
    return faces, barycentric


def _read_description(folder: Path, n_vertices: int) -> dict:
    """The asset's own description, or the packaged one of a mesh with FLAME's vertices."""
    own = folder / DESCRIPTION_FILE
    if own.is_file():
        return json.loads(own.read_text(encoding="utf-8"))
    if n_vertices == FLAME_VERTICES:
        return json.loads((_DESCRIPTIONS / "flame.json").read_text(encoding="utf-8"))
    return {}


def _mouth_features(description: dict) -> MouthFeatureTable | None:
    table = description.get("mouth_features")
    if table is None:
        return None
    return MouthFeatureTable(
        np.array(table["pairs"], np.int64),
        np.array(table["minimum"], np.float32),
        np.array(table["maximum"], np.float32),
    )


def _check(assets: HeadAssets) -> None:
    """Ids must lie inside what they index, or a file belongs to another head model."""
    vertices, faces = len(assets.template_vertices), len(assets.closed.faces)
    limits = {
        CLOSED_MESH: (assets.closed.faces, vertices),
        OPEN_MESH: (assets.open.faces, vertices),
        LANDMARK_FILE: (assets.landmark_faces, faces),
        LOWER_NECK_FILE: (assets.lower_neck_faces, faces),
        **{f"{PARTS_FILE} ({name})": (ids, vertices) for name, ids in assets.parts.items()},
    }
    for name, (ids, limit) in limits.items():
        if ids.size and not 0 <= ids.min() <= ids.max() < limit:
            raise UserError(
                f"'{assets.folder}': {name} names index {ids.max()}, the head model has {limit}; "
                "the files belong to different head models"
            )
