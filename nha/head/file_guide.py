"""The files of a head model: names, content, licences, sources, and what replaces a missing file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# Known names of the model itself; messages about a missing file use the first one.
MODEL_FILES = ("generic_model.pkl", "flame2023.pkl", "flame2023_Open.pkl")
# Further names in use: smplx's, those of the gendered models, FLAME 2023 without jaw motion in its expressions.
OTHER_MODEL_FILES = (
    "FLAME_NEUTRAL.pkl",
    "flame2023_no_jaw.pkl",
    "flame_model.pkl",
    "FLAME_FEMALE.pkl",
    "FLAME_MALE.pkl",
    "female_model.pkl",
    "male_model.pkl",
)
DECA_LANDMARK_FILE = "landmark_embedding.npy"  # 68 landmarks, without irises
OFFICIAL_PARTS_FILE = "FLAME_masks.pkl"  # 14 parts, without those of the mouth
CLOSED_MESH = "head_template_mesh_mouth.obj"
OPEN_MESH = "head_template_mesh.obj"
PARTS_FILE = "FLAME_masks_mouth.pkl"
LANDMARK_FILE = "landmark_embedding_with_eyes.npy"
LOWER_NECK_FILE = "lower_neck_face_idcs.npy"
TEXTURE_FILE = "FLAME_texture.npz"
DESCRIPTION_FILE = "head.json"

# The files beside the model itself. If one is missing, its table is derived for a model with FLAME's mesh.
REQUIRED_FILES = (CLOSED_MESH, OPEN_MESH, PARTS_FILE, LANDMARK_FILE, LOWER_NECK_FILE)

FLAME_SITE = "flame.is.tue.mpg.de (registration)"
_PUBLISHED_PROJECT = "the published project's repository philgras/neural-head-avatars, folder assets/flame"
RESEARCH_LICENCE = "FLAME model licence: non-commercial research"
OPEN_LICENCE = "CC BY 4.0: name the authors (Li, Bolkart, Black, Li, Romero, 2017)"


@dataclass(frozen=True)
class HeadFile:
    """A file of a head model, described for messages and reports.

    Attributes:
        names: file names in the order in which they are looked for.
        holds: the content.
        licence: the licence of the file.
        source: where to download it.
        fallback: what replaces it if it is missing.
    """

    names: tuple[str, ...]
    holds: str
    licence: str
    source: str
    fallback: str


HEAD_FILES = (
    HeadFile(
        MODEL_FILES,
        "template, identity and expression directions, joints, skinning",
        f"2023 Open: {OPEN_LICENCE}; 2020 and 2023: {RESEARCH_LICENCE}",
        f"{FLAME_SITE}, page Download: FLAME 2023 Open, FLAME 2023 or FLAME 2020",
        "nothing: the file is required",
    ),
    HeadFile(
        (CLOSED_MESH,),
        "triangles with those that close the mouth, UV maps of head and mouth",
        f"adapted from FLAME: {RESEARCH_LICENCE}",
        _PUBLISHED_PROJECT,
        "derived mouth faces and mouth UV map; the head's UV map is that of head_template_mesh.obj or derived",
    ),
    HeadFile(
        (OPEN_MESH,),
        "triangles without the mouth's, UV map of the head",
        f"adapted from FLAME: {RESEARCH_LICENCE}",
        "the repository HavenFeng/photometric_optimization, folder data",
        "the mesh of head_template_mesh_mouth.obj, or the model's triangles with a derived UV map",
    ),
    HeadFile(
        (PARTS_FILE,),
        "named vertex sets (24 parts)",
        f"adapted from FLAME: {RESEARCH_LICENCE}",
        _PUBLISHED_PROJECT,
        "vertex sets derived from rings and outlines of this project",
    ),
    HeadFile(
        (LANDMARK_FILE,),
        "68 iBUG landmarks and two iris points on the triangles",
        f"adapted from FLAME: {RESEARCH_LICENCE}",
        _PUBLISHED_PROJECT,
        "estimated landmarks; those of jaw and brows may differ by a centimetre",
    ),
    HeadFile(
        (LOWER_NECK_FILE,),
        "triangles of the lower neck, which are removed",
        f"adapted from FLAME: {RESEARCH_LICENCE}",
        _PUBLISHED_PROJECT,
        "the five strips of triangles at the neck's border",
    ),
    HeadFile(
        (TEXTURE_FILE,),
        "albedo space for tracking, on the head's own UV map",
        "FLAME texture space: CC BY-NC-SA 4.0, non-commercial",
        f"{FLAME_SITE}, page Download: texture space",
        "a grey albedo at the start of tracking",
    ),
    HeadFile(
        (DESCRIPTION_FILE,),
        "name, licence, mouth features and names of directions of a head model other than FLAME",
        "that of the head model",
        "the author of the head model (python_scripts/make_head.py writes one)",
        "nothing: without mouth features there is no avatar; FLAME's description is part of this project",
    ),
)


def where_from(names: Iterable[str]) -> str:
    """The sources of these files in one line, grouped by source."""
    by_source: dict[str, list[str]] = {}
    for name in names:
        source = next(file.source for file in HEAD_FILES if name in file.names)
        by_source.setdefault(source, []).append(name)
    return "; ".join(f"{', '.join(group)} from {source}" for source, group in by_source.items())


def derived_surface(derived: Iterable[str]) -> tuple[str, ...]:
    """The surface tables that are not FLAME's own if these files are derived, in words.

    An avatar can only be used with a head model that has the same list. The lower neck is not included because
    its derived faces are the same as those in the file.
    """
    derived = set(derived)
    words = {
        "UV map": {CLOSED_MESH, OPEN_MESH} <= derived,
        "mouth faces": CLOSED_MESH in derived,
        "parts": PARTS_FILE in derived,
    }
    return tuple(word for word, is_derived in words.items() if is_derived)


def derived_summary(derived: Iterable[str]) -> str:
    """The tables that are derived in place of these files, in one line."""
    derived = set(derived)
    words = [*derived_surface(derived)]
    words += ["landmarks (estimated)"] if LANDMARK_FILE in derived else []
    words += ["lower neck"] if LOWER_NECK_FILE in derived else []
    return ", ".join(words) or "nothing"
