"""The head model that an avatar was trained on, as its checkpoint records it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from nha.head.assets import HeadAssets
from nha.head.file_guide import derived_surface
from nha.head.identity import same_head


def head_record(assets: HeadAssets) -> dict[str, Any]:
    """The head model's identity, checksums of its triangles and its template, and its derived surface tables."""
    record = {**assets.identity, **_checksums(assets)}
    if derived := derived_surface(assets.derived):
        record["derived"] = list(derived)
    return record


def describe_head_mismatch(record: Mapping[str, Any] | None, assets: HeadAssets) -> str | None:
    """A description of how a head model differs from the recorded one; None if it does not or nothing is recorded.

    Records of earlier versions have no fingerprint; their template and triangles are compared alone.
    """
    if not record:
        return None
    if same_head(record, assets.identity):
        return None
    checksums = {**_checksums(assets), "directions": assets.identity["fingerprint"]}
    recorded = {**record, "directions": record.get("fingerprint", assets.identity["fingerprint"])}
    differing = [what for what, checksum in checksums.items() if recorded.get(what) != checksum]
    if "template" in differing and "directions" in differing:
        differing.remove("directions")  # the fingerprint depends on both
    if not differing:
        return None
    return (
        f"trained on the head model '{record.get('release')}', but '{assets.folder}' is "
        f"'{assets.identity['release']}' with other {' and '.join(differing)}"
    )


def _checksums(assets: HeadAssets) -> dict[str, str]:
    arrays = {
        "triangles": np.ascontiguousarray(assets.closed.faces, np.int32),
        "template": np.ascontiguousarray(assets.template_vertices, np.float32),
    }
    return {what: hashlib.sha256(array.tobytes()).hexdigest()[:16] for what, array in arrays.items()}
