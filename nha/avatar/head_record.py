"""The head model that an avatar was trained on, as its checkpoint records it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from nha.head.assets import HeadAssets
from nha.head.file_guide import derived_surface
from nha.head.flame_files import model_file
from nha.head.releases import detect_release


def head_record(assets: HeadAssets) -> dict[str, Any]:
    """The head model's release, checksums of its triangles and its template, and its derived surface tables."""
    record = {"release": _release(assets), **_checksums(assets)}
    if derived := derived_surface(assets.derived):
        record["derived"] = list(derived)
    return record


def describe_head_mismatch(record: Mapping[str, Any] | None, assets: HeadAssets) -> str | None:
    """A description of how a head model differs from the recorded one; None if it does not or nothing is recorded."""
    if not record:
        return None
    differing = [what for what, checksum in _checksums(assets).items() if record.get(what) != checksum]
    if not differing:
        return None
    return (
        f"trained on the head model '{record.get('release')}', but '{assets.folder}' is '{_release(assets)}' with "
        f"other {' and '.join(differing)}"
    )


def _release(assets: HeadAssets) -> str:
    path = model_file(assets.folder)
    return assets.name if path is None else detect_release(path).name


def _checksums(assets: HeadAssets) -> dict[str, str]:
    arrays = {
        "triangles": np.ascontiguousarray(assets.closed.faces, np.int32),
        "template": np.ascontiguousarray(assets.template_vertices, np.float32),
    }
    return {what: hashlib.sha256(array.tobytes()).hexdigest()[:16] for what, array in arrays.items()}
