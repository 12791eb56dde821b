"""The reader of a head model's folder: the files in which FLAME is published, read without running code from them."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import scipy.sparse

from nha.core.array_kinds import as_ids, as_numbers
from nha.core.conventions import N_FACE_LANDMARKS
from nha.core.errors import UserError
from nha.core.plain_file import LARGEST_TEXT_BYTES, read_plain
from nha.core.safe_pickle import load_npy, load_pickle
from nha.core.system import get_logger
from nha.core.text import shortened
from nha.core.untrusted_file import RejectedFileError, check_zip, open_untrusted
from nha.head.assets import N_EXPRESSION, N_SHAPE, HeadAssets, MeshTopology
from nha.head.assets_check import check_head
from nha.head.derived.completion import HeadTables, complete_tables
from nha.head.description import head_description, mouth_feature_table
from nha.head.file_guide import (
    CLOSED_MESH,
    DECA_LANDMARK_FILE,
    LANDMARK_FILE,
    LOWER_NECK_FILE,
    MODEL_FILES,
    OFFICIAL_PARTS_FILE,
    OPEN_MESH,
    PARTS_FILE,
    REQUIRED_FILES,
    TEXTURE_FILE,
    derived_surface,
    where_from,
)
from nha.head.model_files import model_file, no_model
from nha.head.releases import release_of

# The corners of a face in a Wavefront OBJ file: vertex/texture or vertex/texture/normal.
_VERTEX_AND_UV = re.compile(r"(\d+)/(\d+)(?:/\d*)?")
_TEXTURED_TRIANGLE = re.compile(rf"\s*{_VERTEX_AND_UV.pattern}(?:\s+{_VERTEX_AND_UV.pattern}){{2}}\s*")

T = TypeVar("T")
_logger = get_logger(__name__)


def missing_files(folder: Path) -> list[str]:
    """Names of the published files that are missing in `folder`; empty if nothing has to be derived."""
    missing = [] if model_file(folder) else [MODEL_FILES[0]]
    return missing + [name for name in REQUIRED_FILES if not (folder / name).is_file()]


def read_head_folder(path: str | Path) -> HeadAssets:
    """Read FLAME 2020, FLAME 2023, FLAME 2023 Open, the procedural head or a head model in the same files.

    The tables of missing files are derived if the model has FLAME's triangles.

    Args:
        path: the folder, or the model's .pkl or .npz file in it.

    Returns:
        The content of the files; `HeadAssets.derived` lists the files whose tables were derived.

    Raises:
        UserError: a file is missing and cannot be derived, is damaged, belongs to another head model, or refers to
            code.
    """
    path = Path(path)
    main_file = model_file(path)
    if main_file is None:
        raise no_model(path)
    folder = main_file.parent
    with _named(main_file):
        model, triangles, release = _read_model(main_file)
    landmarks = _if_present(_read_landmarks, folder / LANDMARK_FILE)
    partial = _if_present(_read_landmarks, folder / DECA_LANDMARK_FILE) if landmarks is None else None
    if landmarks is not None and len(landmarks[0]) == N_FACE_LANDMARKS:
        landmarks, partial = None, landmarks  # DECA's file under the other name
    found = HeadTables(
        closed=_if_present(_read_obj, folder / CLOSED_MESH),
        open=_if_present(_read_obj, folder / OPEN_MESH),
        parts=_if_present(_read_parts, folder / PARTS_FILE),
        landmarks=landmarks,
        lower_neck_faces=_if_present(_read_lower_neck, folder / LOWER_NECK_FILE),
    )
    with _named(folder):
        tables = complete_tables(found, model["v_template"], triangles)
    if tables is None:
        raise UserError(
            f"'{main_file}' does not have FLAME's triangles, so the missing files cannot be derived; get "
            f"{where_from(found.missing)}; or use the procedural head"
        )
    if partial is not None and len(partial[0]) == N_FACE_LANDMARKS and LANDMARK_FILE in found.missing:
        tables = _with_landmarks(tables, partial)
    _log_unused_parts(folder, found.missing)
    with _named(folder):
        assets = _assemble(folder, model, tables, found.missing, release)
        _check(assets)
    check_head(assets)
    return assets


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn errors of values that no head model has, such as text in place of numbers, into a UserError of one line."""
    try:
        yield
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        reason = shortened(str(error).split("\n")[0])
        raise UserError(
            f"'{path}' is damaged or no file of a head model ({type(error).__name__}: {reason}); get the file again"
        ) from None


def _assemble(
    folder: Path,
    model: dict[str, np.ndarray],
    tables: HeadTables,
    derived: tuple[str, ...],
    release: str,
) -> HeadAssets:
    description = head_description(folder, len(model["v_template"]))
    texture = folder / TEXTURE_FILE
    # the albedo space is defined on FLAME's own UV map
    has_texture = texture.is_file() and "UV map" not in derived_surface(derived)
    return HeadAssets(
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
        mouth_features=mouth_feature_table(description),
        texture_file=texture if has_texture else None,
        shape_names=tuple(description.get("shape_names", ())),
        expression_names=tuple(description.get("expression_names", ())),
        derived=derived,
        release=release,
    )


def _with_landmarks(tables: HeadTables, partial: tuple[np.ndarray, np.ndarray]) -> HeadTables:
    """The tables with 68 landmarks of a file; the two irises remain derived."""
    faces, barycentric = tables.landmarks
    joined = (
        np.concatenate([partial[0], faces[N_FACE_LANDMARKS:]]),
        np.concatenate([partial[1], barycentric[N_FACE_LANDMARKS:]]),
    )
    _logger.info("landmarks from %s, which has no irises; these are estimated", DECA_LANDMARK_FILE)
    return dataclasses.replace(tables, landmarks=joined)


def _log_unused_parts(folder: Path, missing: tuple[str, ...]) -> None:
    if PARTS_FILE in missing and (folder / OFFICIAL_PARTS_FILE).is_file():
        _logger.info(
            "%s lacks the parts of the mouth and is not used: the parts are derived, or taken from %s",
            OFFICIAL_PARTS_FILE,
            PARTS_FILE,
        )


def _if_present(read: Callable[[Path], T], path: Path) -> T | None:
    if not path.is_file():
        return None
    with _named(path):
        return read(path)


def _read_model(path: Path) -> tuple[dict[str, np.ndarray], np.ndarray | None, str]:
    """The model's arrays by name, its triangles [F, 3], None if the file has none, and its release."""
    raw = _load_npz(path) if path.suffix == ".npz" else load_pickle(path)
    if not isinstance(raw, dict):
        raise UserError(f"'{path}' is not a head model: it contains a {type(raw).__name__}, not a dictionary")
    expected = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table")
    absent = [key for key in expected if key not in raw]
    if absent:
        raise UserError(f"'{path}' is not a head model: it has no {', '.join(absent)}")
    model = {}
    for key in expected:
        value = raw[key].toarray() if scipy.sparse.issparse(raw[key]) else np.asarray(raw[key])
        model[key] = as_ids(value) if key == "kintree_table" else as_numbers(value)
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
    triangles = None if triangles is None else as_ids(triangles)
    return model, triangles, release_of(raw, path).name


def _load_npz(path: Path) -> dict[str, np.ndarray]:
    """The plain arrays of an .npz file; objects, such as names, are left out."""
    content = {}
    with open_untrusted(path) as file:
        check_zip(file)
        archive = np.load(file, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise RejectedFileError("is a single array, no head model")
        for name in archive.files:
            with contextlib.suppress(ValueError):
                content[name] = archive[name]
    return content


def _read_obj(path: Path) -> MeshTopology:
    """Triangles and texture coordinates of a Wavefront OBJ file; its vertices are not used."""
    lines = read_plain(path, LARGEST_TEXT_BYTES).decode(errors="replace").splitlines()
    faces = [line[2:] for line in lines if line.startswith("f ")]
    uvs = [line.split()[1:3] for line in lines if line.startswith("vt ")]
    if not faces:
        raise UserError(f"'{path}' contains no triangles; download the file again")
    for face in faces:
        if not _TEXTURED_TRIANGLE.fullmatch(face):
            raise UserError(
                f"'{path}' has a face that is no triangle with texture coordinates: 'f {shortened(face)}'; "
                "download the file again"
            )
    corners = np.array(_VERTEX_AND_UV.findall(" ".join(faces))).astype(np.int64).reshape(-1, 3, 2) - 1
    return MeshTopology(corners[..., 0].copy(), np.array(uvs, np.float64), corners[..., 1].copy())


def _read_parts(path: Path) -> dict[str, np.ndarray]:
    raw = load_pickle(path)
    return {str(name): as_ids(ids).reshape(-1) for name, ids in raw.items()}


def _read_landmarks(path: Path) -> tuple[np.ndarray, np.ndarray]:
    embedding = load_npy(path)
    embedding = embedding.item() if isinstance(embedding, np.ndarray) else embedding
    faces = as_ids(embedding["full_lmk_faces_idx"]).reshape(-1)
    barycentric = as_numbers(embedding["full_lmk_bary_coords"]).reshape(-1, 3)
    return faces, barycentric


def _read_lower_neck(path: Path) -> np.ndarray:
    return as_ids(load_npy(path)).reshape(-1)


def _check(assets: HeadAssets) -> None:
    """Raise UserError if an id is outside the table that it indexes: the file belongs to another head model."""
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
                f"'{assets.folder}': {name} contains the index {ids.max()}, but the head model has {limit}; "
                "the files belong to different head models: put all files of one model into the folder"
            )
