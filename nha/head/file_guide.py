"""The files of a head model: what each holds, under which licence it is, where it comes from, what is done without."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# The first name is the one asked for when none is there.
MODEL_FILES = ("generic_model.pkl", "flame2023.pkl", "flame2023_Open.pkl")
CLOSED_MESH = "head_template_mesh_mouth.obj"
OPEN_MESH = "head_template_mesh.obj"
PARTS_FILE = "FLAME_masks_mouth.pkl"
LANDMARK_FILE = "landmark_embedding_with_eyes.npy"
LOWER_NECK_FILE = "lower_neck_face_idcs.npy"
TEXTURE_FILE = "FLAME_texture.npz"
DESCRIPTION_FILE = "head.json"

# All but the model itself; without one of them, a model with FLAME's mesh gets a derived table.
REQUIRED_FILES = (CLOSED_MESH, OPEN_MESH, PARTS_FILE, LANDMARK_FILE, LOWER_NECK_FILE)

FLAME_SITE = "flame.is.tue.mpg.de (registration)"
_PUBLISHED_PROJECT = "the published project's repository philgras/neural-head-avatars, folder assets/flame"
RESEARCH_LICENCE = "FLAME model licence: non-commercial research"
OPEN_LICENCE = "CC BY 4.0: name the authors (Li, Bolkart, Black, Li, Romero, 2017)"


@dataclass(frozen=True)
class HeadFile:
    """names: the first one found is taken; holds, licence, source: for people; without: what is done where it lacks."""

    names: tuple[str, ...]
    holds: str
    licence: str
    source: str
    without: str


HEAD_FILES = (
    HeadFile(
        MODEL_FILES,
        "template, identity and expression directions, joints, skinning",
        f"2023 Open: {OPEN_LICENCE}; 2020 and 2023: {RESEARCH_LICENCE}",
        f"{FLAME_SITE}, page Download: FLAME 2023 Open, FLAME 2023 or FLAME 2020",
        "no head: needed",
    ),
    HeadFile(
        (CLOSED_MESH,),
        "triangles with those that close the mouth, UV maps of head and mouth",
        f"adapted from FLAME: {RESEARCH_LICENCE}",
        _PUBLISHED_PROJECT,
        "mouth faces and their UV map are derived; the head's UV map is that of head_template_mesh.obj or derived",
    ),
    HeadFile(
        (OPEN_MESH,),
        "triangles without the mouth's, UV map of the head",
        f"adapted from FLAME: {RESEARCH_LICENCE}",
        "the repository HavenFeng/photometric_optimization, folder data",
        "taken from head_template_mesh_mouth.obj, or triangles of the model with a derived UV map",
    ),
    HeadFile(
        (PARTS_FILE,),
        "named vertex sets (24 parts)",
        f"adapted from FLAME: {RESEARCH_LICENCE}",
        _PUBLISHED_PROJECT,
        "derived from rings and outlines of our own",
    ),
    HeadFile(
        (LANDMARK_FILE,),
        "68 iBUG landmarks and two iris points on the triangles",
        f"adapted from FLAME: {RESEARCH_LICENCE}",
        _PUBLISHED_PROJECT,
        "estimated: points of our own; jaw and brows are a matter of convention to a centimetre",
    ),
    HeadFile(
        (LOWER_NECK_FILE,),
        "triangles of the lower neck, which are cut off",
        f"adapted from FLAME: {RESEARCH_LICENCE}",
        _PUBLISHED_PROJECT,
        "derived: the five strips at the neck's border",
    ),
    HeadFile(
        (TEXTURE_FILE,),
        "albedo space for tracking, on the head's own UV map",
        "FLAME texture space's own: CC BY-NC-SA 4.0, non-commercial",
        f"{FLAME_SITE}, page Download: texture space",
        "tracking starts from a grey albedo",
    ),
    HeadFile(
        (DESCRIPTION_FILE,),
        "name, licence, mouth features and names of directions of a head model of one's own",
        "of the head model",
        "whoever made the head (python_scripts/make_head.py writes one)",
        "no mouth features, hence no avatar; FLAME needs none, its description comes with this project",
    ),
)


def where_from(names: Iterable[str]) -> str:
    """One line that says for each of these file names where it comes from, one clause a source."""
    by_source: dict[str, list[str]] = {}
    for name in names:
        source = next(file.source for file in HEAD_FILES if name in file.names)
        by_source.setdefault(source, []).append(name)
    return "; ".join(f"{', '.join(group)} from {source}" for source, group in by_source.items())


def derived_surface(derived: Iterable[str]) -> tuple[str, ...]:
    """What an avatar is painted on that is not FLAME's, in words, with these files derived.

    An avatar fits only a head that has the same ones. The lower neck is not among them: it comes out the same.
    """
    derived = set(derived)
    words = {
        "UV map": {CLOSED_MESH, OPEN_MESH} <= derived,
        "mouth faces": CLOSED_MESH in derived,
        "parts": PARTS_FILE in derived,
    }
    return tuple(word for word, is_derived in words.items() if is_derived)


def derived_words(derived: Iterable[str]) -> str:
    """One line that says which tables stand in for these files."""
    derived = set(derived)
    words = [*derived_surface(derived)]
    words += ["landmarks (estimated)"] if LANDMARK_FILE in derived else []
    words += ["lower neck"] if LOWER_NECK_FILE in derived else []
    return ", ".join(words) or "nothing"
