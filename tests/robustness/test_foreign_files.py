"""Tracking files of other programs whose entries are of wrong kinds: each is read as finite numbers, or refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nha.tracking.exchange.placement import ForeignTracking
from nha.tracking.exchange.readers import read_foreign
from tests.robustness.conftest import MOST_SECONDS, bounded_memory

N = 3
_RNG = np.random.default_rng(0)
_POSE = {name: _RNG.normal(size=(N, 3)) for name in ("rotation", "translation", "neck_pose", "jaw_pose")}
_CAMERA = {"w": 64, "h": 48, "fl_x": 90.0, "cx": 32.0, "cy": 24.0}

# Program -> the entries of its file, or of each of its files.
VHAP = _POSE | {
    "eyes_pose": np.zeros((N, 6)), "shape": np.ones(10), "expr": np.ones((N, 5)), "focal_length": np.ones(1),
    "timestep_id": np.array(["00003", "00004", "00006"]), "image_size": np.array([48, 64]),
    "static_offset": np.zeros((1, 4, 3)),
}  # fmt: skip
SMPLX = {
    "betas": np.ones(10), "expression": np.ones((N, 5)), "global_orient": np.zeros((N, 3)), "transl": np.ones((N, 3)),
    "jaw_pose": np.zeros((N, 3)), "neck_pose": np.zeros((N, 3)), "frame": np.arange(N), "leye_pose": np.zeros((N, 3)),
    "intrinsics": np.array([[90.0, 0, 32], [0, 90, 24], [0, 0, 1]]), "image_size": np.array([48, 64]),
}  # fmt: skip
NERSEMBLE = {
    "shape": np.ones((1, 10)), "expression": np.ones((N, 5)), "rotation_matrices": np.stack([np.eye(3)] * N),
    "translation": np.ones((N, 3)), "jaw": np.zeros((N, 3)), "neck": np.zeros((N, 3)), "eyes": np.zeros((N, 6)),
    "frames": np.arange(N), "scale": np.ones((1, 1)),
}  # fmt: skip
FLAME_HEAD_TRACKER = {
    "shape": np.ones((1, 10)), "exp": np.ones((1, 5)), "head_pose": np.zeros((1, 3)), "jaw_pose": np.zeros((1, 3)),
    "neck_pose": np.zeros((1, 3)), "eye_pose": np.zeros((1, 6)), "cam": np.ones((1, 6)), "fov": np.full(1, 20.0),
}  # fmt: skip
METRICAL = {
    "flame": {"shape": np.ones((1, 10)), "exp": np.ones((1, 5)), "eyes": np.ones((1, 12)) + np.arange(12) % 5,
              "jaw": np.float64([[1, 0, 0, 0, 1, 0]]), "eyelids": np.zeros((1, 2))},
    "camera": {"R": np.eye(3)[None]},
    "opencv": {"K": np.array([[[90.0, 0, 32], [0, 90, 24], [0, 0, 1]]]), "R": np.eye(3)[None], "t": np.ones((1, 3))},
    "img_size": np.array([48, 64]), "frame_id": "00003",
}  # fmt: skip
FRAME = {
    **_CAMERA, "camera_index": 0, "timestep_index": 0, "timestep_id": "00000", "flame_param_path": "0.npz",
    "transform_matrix": np.eye(4).tolist(),
}  # fmt: skip

CHANGES: dict[str, Callable[[np.ndarray], Any]] = {
    "nan": lambda array: np.full(array.shape, np.nan),
    "infinite": lambda array: np.full(array.shape, np.inf),
    "1e300": lambda array: np.full(array.shape, 1e300),
    "-1": lambda array: np.full(array.shape, -1),
    "1e30": lambda array: np.full(array.shape, 1e30),
    "zero": lambda array: np.zeros(array.shape),
    "text": lambda array: np.full(array.shape, "a"),
    "digits": lambda array: np.full(array.shape, "9" * 400),
    "complex": lambda array: np.full(array.shape, 1j),
    "empty": lambda array: np.zeros(0),
    "scalar": lambda array: np.float64(1),
    "shorter": lambda array: np.atleast_1d(array)[:-1],
    "longer": lambda array: np.concatenate([np.atleast_1d(array)] * 2),
    "one more axis": lambda array: np.asarray(array)[..., None, None],
}
JSON_CHANGES = (
    None,
    True,
    [],
    {},
    "x",
    -1,
    0,
    1e308,
    10**400,
    "9" * 400,
    [[0]],
    [[1e308] * 4] * 4,
    "../x.npz",
    "",
)


def finite(path: Path) -> ForeignTracking:
    """Read a foreign tracking, and demand of one that is read what the rest of the program relies on."""
    found = read_foreign(path)
    n = len(found.ids)
    arrays = [found.shape, found.expr, found.neck, found.jaw, found.eyes]
    for placement in found.placements:
        arrays += [placement.rotation, placement.joint_map, placement.offset]
        if placement.intrinsics is not None:
            arrays.append(placement.intrinsics)
            assert placement.intrinsics[0] > 0
        assert placement.rotation.shape == placement.joint_map.shape == (n, 3, 3)
    assert all(np.isfinite(np.asarray(array, float)).all() for array in arrays)
    assert found.shape.ndim == 1
    assert [len(array) for array in arrays[1:5]] == [n] * 4
    assert n > 0
    assert 0 <= found.ids.min() <= found.ids.max() < 10**8
    assert found.image_size is None or min(found.image_size) > 0
    return found


def variants(entries: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The entries, each missing or changed in turn, also within an entry that is a dictionary."""
    for key, value in entries.items():
        yield {name: other for name, other in entries.items() if name != key}
        if isinstance(value, dict):
            yield from ({**entries, key: changed} for changed in variants(value))
            continue
        for change in CHANGES.values():
            yield {**entries, key: change(np.asarray(value))}


@pytest.mark.parametrize(
    "entries",
    [VHAP, SMPLX, NERSEMBLE, FLAME_HEAD_TRACKER],
    ids=["vhap", "smplx", "nersemble", "head tracker"],
)
def test_archives_of_other_programs(attempts, tmp_path, entries):
    path = tmp_path / "frame_0.npz"
    np.savez(path, **entries)
    assert finite(path).program
    with bounded_memory():
        for changed in variants(entries):
            np.savez(path, **changed)
            attempts.read(finite, path)
    assert attempts.slowest_s < MOST_SECONDS


def test_frame_files_of_metrical_tracker(attempts, tmp_path):
    path = tmp_path / "00003.frame"
    torch.save(METRICAL, path)
    assert finite(path).program
    with bounded_memory():
        for changed in variants(METRICAL):
            torch.save(changed, path)
            attempts.read(finite, path)
    assert attempts.slowest_s < MOST_SECONDS


def test_transforms_of_gaussian_avatars(attempts, tmp_path):
    path = tmp_path / "transforms.json"
    rows = {
        key: value[:1] if len(value) == N else value for key, value in VHAP.items() if key != "timestep_id"
    }
    np.savez(tmp_path / "0.npz", **rows)
    whole = {**_CAMERA, "frames": [FRAME]}
    path.write_text(json.dumps(whole))
    assert finite(path).program
    for key in [*FRAME, *_CAMERA, "frames"]:
        for value in JSON_CHANGES:
            for place in ("whole", "frame"):
                changed = copy.deepcopy(whole)
                (changed if place == "whole" else changed["frames"][0])[key] = value
                path.write_text(json.dumps(changed))
                attempts.read(finite, path)
    assert attempts.slowest_s < MOST_SECONDS
