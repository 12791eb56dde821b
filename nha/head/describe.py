"""A text report on a head model: counts, joints, parts, landmarks, UV maps, release, and files with licences."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nha.core.conventions import FLAME_JOINTS, LANDMARK_GROUPS
from nha.core.text import printable
from nha.head.assets import HeadAssets
from nha.head.file_guide import (
    CLOSED_MESH,
    DESCRIPTION_FILE,
    HEAD_FILES,
    LANDMARK_FILE,
    PARTS_FILE,
    TEXTURE_FILE,
    derived_surface,
)
from nha.head.releases import detect_release
from nha.head.topology import build_topology


def describe_head(assets: HeadAssets, main_file: Path) -> str:
    """A report of many lines on a head model. main_file: the model's .pkl file."""
    release = detect_release(main_file)
    sections = [
        [
            f"head model {assets.name}: {main_file}",
            f"release: {release.name} ({release.evidence})",
            f"licence of the model: {release.licence}",
        ],
        ["", "counts", *_indented(_counts(assets))],
        ["", "joints (rest position, mm from the root)", *_indented(_joints(assets))],
        ["", f"parts{_derived_note(assets, PARTS_FILE)}", *_indented(_parts(assets))],
        ["", "on the surface", *_indented(_surface(assets))],
        ["", "files", *_indented(_files(assets, main_file, release.licence))],
    ]
    return "\n".join(printable(line) for section in sections for line in section)


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _derived_note(assets: HeadAssets, name: str) -> str:
    return " (derived)" if name in assets.derived else ""


def _counts(assets: HeadAssets) -> list[str]:
    def used(directions: np.ndarray) -> str:
        count = directions.shape[2]
        moving = int((np.abs(directions).max((0, 1)) > 0).sum())
        return str(count) if moving == count else f"{count}, of which {moving} are not zero"

    closing = len(assets.closed.faces) - len(assets.open.faces)
    rendered = build_topology(assets, blur_sigma=None)
    on_skin = int((~rendered.is_eyeball).sum())
    return [
        f"vertices: {len(assets.template_vertices)}",
        f"faces: {len(assets.open.faces)}, and {closing} that close the mouth",
        f"identity directions: {used(assets.shape_directions)}",
        f"expression directions: {used(assets.expression_directions)}",
        f"pose correctives: {used(assets.pose_directions)}",
        f"lower neck, removed: {len(assets.lower_neck_faces)} faces",
        f"rendered mesh, subdivided once: {len(rendered.kept_vertices)} vertices ({on_skin} carry offsets), "
        f"{len(rendered.faces)} faces",
    ]


def _joints(assets: HeadAssets) -> list[str]:
    joints_mm = 1000 * assets.joint_regressor @ assets.template_vertices
    lines = []
    for name, parent, place in zip(FLAME_JOINTS, assets.joint_parents, joints_mm - joints_mm[0], strict=True):
        of = f"child of {FLAME_JOINTS[parent]}" if parent >= 0 else "no parent"
        x, y, z = place.round(1) + 0.0  # no -0.0
        lines.append(f"{name:<10} {of:<14} {x:7.1f} {y:7.1f} {z:7.1f}")
    return lines


def _parts(assets: HeadAssets) -> list[str]:
    named = [f"{name:<22} {len(assets.parts[name]):5d} vertices" for name in assets.part_names]
    unnamed = int((~assets.hard_labels().any(1)).sum())
    return [*named, f"{'(in no part)':<22} {unnamed:5d} vertices"]


def _surface(assets: HeadAssets) -> list[str]:
    groups = ", ".join(f"{name} {len(ids)}" for name, ids in LANDMARK_GROUPS.items())
    origin = "estimated" if LANDMARK_FILE in assets.derived else "from its file"
    closing = assets.closed.uv_faces[len(assets.open.faces) :]
    own_map = "UV map" in derived_surface(assets.derived)
    features = assets.mouth_features
    texture = assets.folder / TEXTURE_FILE
    if assets.texture_file is None and texture.is_file():
        albedo = f"{TEXTURE_FILE} is not used because it needs FLAME's own UV map"
    else:
        albedo = "none; tracking starts from a grey albedo" if assets.texture_file is None else TEXTURE_FILE
    return [
        f"landmarks: {len(assets.landmark_faces)}, {origin} ({groups})",
        f"UV map of the head: {len(np.unique(assets.open.uv_faces))} points, "
        + ("derived by this project, not FLAME's" if own_map else "from its file"),
        f"UV map of the mouth: {len(np.unique(closing))} points{_derived_note(assets, CLOSED_MESH)}",
        "mouth features: " + ("none" if features is None else f"{len(features.pairs)} vertex pairs"),
        f"albedo space: {albedo}",
    ]


def _files(assets: HeadAssets, main_file: Path, licence: str) -> list[str]:
    """Lines on each file: its licence, and for a missing file its source, its folder and what replaces it."""
    has_own_description = (assets.folder / DESCRIPTION_FILE).is_file()
    lines = []
    for guide in HEAD_FILES:
        is_model = guide is HEAD_FILES[0]
        found = main_file if is_model else assets.folder / guide.names[0]
        if guide.names == (DESCRIPTION_FILE,) and not found.is_file() and assets.mouth_features is not None:
            continue  # FLAME's description is part of this project
        if found.is_file():
            # the licence in head.json applies to all files
            file_licence = licence if is_model or has_own_description else guide.licence
            lines += [f"found    {found.name}: {guide.holds}", f"         licence: {file_licence}"]
        else:
            lines += [
                f"missing  {guide.names[0]}: {guide.holds}",
                f"         replaced by: {guide.fallback}",
                f"         source: {guide.source}",
                f"         licence: {guide.licence}",
                f"         put it into {assets.folder}",
            ]
    return lines
