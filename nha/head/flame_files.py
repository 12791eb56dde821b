"""Head model files under their published names, read without executing anything that they contain."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import scipy.sparse

from nha.core.errors import UserError
from nha.core.safe_pickle import load_npy, load_pickle
from nha.head.assets import N_EXPRESSION, N_SHAPE, HeadAssets, MeshTopology, MouthFeatureTable
from nha.head.derived.completion import HeadTables, complete_tables
from nha.head.description import read_description
from nha.head.file_guide import (
    CLOSED_MESH,
    LANDMARK_FILE,
    LOWER_NECK_FILE,
    MODEL_FILES,
    OPEN_MESH,
    PARTS_FILE,
    REQUIRED_FILES,
    TEXTURE_FILE,
    derived_surface,
    where_from,
)

FLAME_VERTICES = 5023
_DESCRIPTIONS = Path(__file__).parent / "descriptions"

# The corners of a face in a Wavefront OBJ file: vertex/texture or vertex/texture/normal.
_VERTEX_AND_UV = re.compile(r"(\d+)/(\d+)(?:/\d*)?")
_TEXTURED_TRIANGLE = re.compile(rf"\s*{_VERTEX_AND_UV.pattern}(?:\s+{_VERTEX_AND_UV.pattern}){{2}}\s*")

T = TypeVar("T")


def model_file(path: Path) -> Path | None:
    """The head model's main file: `path` itself, or the first known name in that folder, or None."""
    if path.is_file():
        return path
    return next((path / name for name in MODEL_FILES if (path / name).is_file()), None)


def missing_files(folder: Path) -> list[str]:
    """Names of the published files that `folder` lacks; empty when nothing must be derived."""
    missing = [] if model_file(folder) else [MODEL_FILES[0]]
    return missing + [name for name in REQUIRED_FILES if not (folder / name).is_file()]


def read_head_folder(path: str | Path) -> HeadAssets:
    """Read a head model in the files that FLAME is published in (FLAME 2020, 2023, 2023 Open, the procedural head).

    path: the folder, or the model's .pkl in it. Where files are missing and the model has FLAME's triangles, their
    tables are derived; `HeadAssets.derived` names those files. Raises UserError when a file is missing that cannot
    be derived, is broken, inconsistent or asks for code to be run.
    """
    path = Path(path)
    main_file = model_file(path)
    if main_file is None:
        names = f"{MODEL_FILES[0]} (or {', '.join(MODEL_FILES[1:])})"
        raise UserError(
            f"head model folder '{path}' lacks {names}: put it there ({where_from(MODEL_FILES[:1])}), "
            "or use the procedural head"
        )
    folder = main_file.parent
    model, triangles = _read_model(main_file)
    found = HeadTables(
        closed=_if_there(_read_obj, folder / CLOSED_MESH),
        open=_if_there(_read_obj, folder / OPEN_MESH),
        parts=_if_there(_read_parts, folder / PARTS_FILE),
        landmarks=_if_there(_read_landmarks, folder / LANDMARK_FILE),
        lower_neck_faces=_if_there(_read_lower_neck, folder / LOWER_NECK_FILE),
    )
    tables = complete_tables(found, model["v_template"], triangles)
    if tables is None:
        raise UserError(
            f"'{main_file}' does not have FLAME's triangles, so nothing can stand in for what its folder lacks: "
            f"{where_from(found.missing)}; or use the procedural head"
        )
    description = _description(folder, len(model["v_template"]))
    texture = folder / TEXTURE_FILE
    # an albedo space is painted on FLAME's own UV map
    has_texture = texture.is_file() and "UV map" not in derived_surface(found.missing)
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
        closed=tables.closed,
        open=tables.open,
        parts=tables.parts,
        landmark_faces=tables.landmarks[0],
        landmark_barycentric=tables.landmarks[1],
        lower_neck_faces=tables.lower_neck_faces,
        mouth_features=_mouth_features(description),
        texture_file=texture if has_texture else None,
        shape_names=tuple(description.get("shape_names", ())),
        expression_names=tuple(description.get("expression_names", ())),
        derived=found.missing,
    )
    _check(assets)
    return assets


def _if_there(read: Callable[[Path], T], path: Path) -> T | None:
    return read(path) if path.is_file() else None


def _read_model(path: Path) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """The model's arrays by name, and its triangles [F, 3] where it has some."""
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
    triangles = raw.get("f")
    return model, None if triangles is None else np.asarray(triangles).astype(np.int64)


def _read_obj(path: Path) -> MeshTopology:
    """Triangles and texture coordinates of a Wavefront OBJ file; its vertices are not used."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    faces = [line[2:] for line in lines if line.startswith("f ")]
    uvs = [line.split()[1:3] for line in lines if line.startswith("vt ")]
    if not faces:
        raise UserError(f"'{path}' holds no triangles; fetch the file again")
    for face in faces:
        if not _TEXTURED_TRIANGLE.fullmatch(face):
            raise UserError(f"'{path}' has a face that is no triangle with texture coordinates: 'f {face}'")
    corners = np.array(_VERTEX_AND_UV.findall(" ".join(faces))).astype(np.int64).reshape(-1, 3, 2) - 1
    return MeshTopology(corners[..., 0].copy(), np.array(uvs, np.float64), corners[..., 1].copy())


def _read_parts(path: Path) -> dict[str, np.ndarray]:
    raw = load_pickle(path)
    return {str(name): np.asarray(ids).astype(np.int64).reshape(-1) for name, ids in raw.items()}


def _read_landmarks(path: Path) -> tuple[np.ndarray, np.ndarray]:
    embedding = load_npy(path)
    embedding = embedding.item() if isinstance(embedding, np.ndarray) else embedding
    faces = np.asarray(embedding["full_lmk_faces_idx"]).astype(np.int64).reshape(-1)
    barycentric = np.asarray(embedding["full_lmk_bary_coords"]).astype(np.float32).reshape(-1, 3)
    return faces, barycentric


def _read_lower_neck(path: Path) -> np.ndarray:
    return load_npy(path).astype(np.int64).reshape(-1)


def _description(folder: Path, n_vertices: int) -> dict:
    """The asset's own description, or the packaged one of a mesh with FLAME's vertices."""
    own = read_description(folder)
    if own is None and n_vertices == FLAME_VERTICES:
        return json.loads((_DESCRIPTIONS / "flame.json").read_text(encoding="utf-8"))
    return own or {}


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
