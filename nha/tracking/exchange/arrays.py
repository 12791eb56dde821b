"""What the readers of other programs' files share: placements, stacked frames, rotations in other notations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from nha.tracking.exchange.files import Entries
from nha.tracking.exchange.placement import OPENGL_TO_OURS, ForeignTracking, Placement

VISIBLE_OFFSET_M = 1e-4  # smaller vertex offsets are not worth a note
_LARGEST_NUMBER = 1e6  # of coefficients, radians and metres
_LARGEST_FRAME_ID = 10**8
_LARGEST_SIDE_PX = 10**5


def require_usable(tracking: ForeignTracking) -> None:
    """Raise ValueError where the content of a file has shapes or numbers that no tracking has."""
    n, ids = len(tracking), tracking.ids
    if ids.ndim != 1 or not n or ids.min() < 0 or ids.max() >= _LARGEST_FRAME_ID:
        raise ValueError("numbers of frames out of range")
    if tracking.image_size is not None and not all(
        0 < side < _LARGEST_SIDE_PX for side in tracking.image_size
    ):
        raise ValueError("an image size out of range")
    wanted: list[tuple[str, np.ndarray, tuple[int, ...]]] = [
        ("shape", tracking.shape, (np.size(tracking.shape),)),
        ("expression", tracking.expr, (n, np.size(tracking.expr) // n)),
        ("neck", tracking.neck, (n, 3)),
        ("jaw", tracking.jaw, (n, 3)),
        ("eyes", tracking.eyes, (n, 6)),
    ]
    for placement in tracking.placements:
        wanted += [
            ("rotation", placement.rotation, (n, 3, 3)),
            ("camera", placement.joint_map, (n, 3, 3)),
            ("translation", placement.offset, (n, 3)),
        ]
        if placement.intrinsics is not None:
            wanted.append(("camera", placement.intrinsics, (3,)))
            if not placement.intrinsics[0] > 0:
                raise ValueError("a focal length that is not positive")
    for name, array, shape in wanted:
        if np.shape(array) != shape:
            raise ValueError(f"{name} of shape {list(np.shape(array))}, not {list(shape)}")
        if np.asarray(array).dtype.kind not in "fiu" or not (np.abs(array) < _LARGEST_NUMBER).all():
            raise ValueError(f"{name} that is not finite or out of range")


def opengl(
    name: str,
    rotation: np.ndarray,
    translation: np.ndarray,
    camera_rotation: np.ndarray,
    camera_offset: np.ndarray,
    intrinsics: np.ndarray | None,
) -> Placement:
    """FLAME's own placement p = R (v - J) + J + t in the world of an OpenGL camera p_camera = C p + d."""
    turn = np.broadcast_to(OPENGL_TO_OURS @ camera_rotation, rotation.shape)
    offset = np.einsum("fij,fj->fi", turn, translation) + camera_offset @ OPENGL_TO_OURS.T
    return Placement(name, turn @ rotation, turn, offset, intrinsics)


def published_placements(data: Entries, intrinsics: np.ndarray | None) -> tuple[Placement, ...]:
    """Poses as in the published tracking files of neural head avatars, stored under VHAP's names."""
    rotation = Rotation.from_rotvec(data["rotation"]).as_matrix()
    none = np.zeros_like(rotation)
    translation = np.asarray(data["translation"], float)
    name = "the conventions of neural head avatars"
    return (
        Placement(name, rotation, none, translation, intrinsics, unbounded=True),
        Placement(f"{name}, joints in radians", rotation, none, translation, intrinsics),
    )


def vhap_face(data: Entries) -> dict[str, np.ndarray]:
    """Shape, expression and joint angles of F frames under VHAP's names, as fields of `ForeignTracking`."""
    n = len(data["rotation"])
    return {
        "shape": mean_shape(data["shape"]),
        "expr": data["expr"].reshape(n, -1),
        "neck": data["neck_pose"].reshape(n, 3),
        "jaw": data["jaw_pose"].reshape(n, 3),
        "eyes": data["eyes_pose"].reshape(n, 6),
    }


def offset_notes(data: Entries) -> tuple[str, ...]:
    """A sentence about VHAP's vertex offsets where the file has visible ones."""
    sizes = [np.abs(data[name]).max() for name in ("static_offset", "dynamic_offset") if name in data]
    if max(sizes, default=0.0) < VISIBLE_OFFSET_M:
        return ()
    return (
        f"its vertex offsets (up to {1000 * max(sizes):.1f} mm) have no place in a tracking file and are left out",
    )


def stacked(frames: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
    """The entries of all frames along a new first axis, without a frame's own axis of length 1."""
    arrays = {}
    for name in frames[0]:
        values = [np.asarray(frame[name]) for frame in frames]
        arrays[name] = np.stack([v[0] if v.ndim > 1 and len(v) == 1 else v for v in values])
    return arrays


def mean_shape(shape: np.ndarray) -> np.ndarray:
    """Identity coefficients [S], the mean over frames where there are some for each frame [F, S]."""
    return np.asarray(shape, float).reshape(-1, np.shape(shape)[-1]).mean(0)


def rotation_vectors_6d(rows: np.ndarray) -> np.ndarray:
    """Rotation vectors [F, 3] of the first two rows [F, 6] of rotation matrices, which need not be orthonormal."""
    first = rows[:, :3] / np.linalg.norm(rows[:, :3], axis=1, keepdims=True)
    second = rows[:, 3:] - (first * rows[:, 3:]).sum(1, keepdims=True) * first
    second /= np.linalg.norm(second, axis=1, keepdims=True)
    return Rotation.from_matrix(np.stack([first, second, np.cross(first, second)], 1)).as_rotvec()


def zyx(angles: np.ndarray) -> np.ndarray:
    """R_z(roll) R_y(yaw) R_x(pitch) of angles (yaw, pitch, roll) in radians: [F, 3, 3]."""
    yaw, pitch, roll = (
        Rotation.from_rotvec(angles[:, [i]] * axis) for i, axis in enumerate(np.eye(3)[[1, 0, 2]])
    )
    return (roll * yaw * pitch).as_matrix()
