"""Readers of the tracking files of other programs; conventions as in the public sources of each program."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from nha.core.errors import UserError
from nha.core.text import shortened
from nha.data.foreign_tracking import FLAME_HEAD_TRACKER, GAUSSIAN_AVATARS, METRICAL, NERSEMBLE, SMPLX, VHAP
from nha.tracking.exchange.arrays import (
    mean_shape,
    offset_notes,
    opengl,
    published_placements,
    require_usable,
    rotation_vectors_6d,
    stacked,
    vhap_face,
    zyx,
)
from nha.tracking.exchange.files import Entries, find_files, number_of, read_entries
from nha.tracking.exchange.placement import OPENCV_TO_OURS, OPENGL_TO_OURS, ForeignTracking, Placement

# Errors that entries of wrong types, shapes and numbers cause; OSError: the file refers to one of an impossible name.
_UNREADABLE = (
    KeyError, IndexError, ValueError, TypeError, AttributeError, ArithmeticError, RuntimeWarning, OSError
)  # fmt: skip


def read_foreign(path: str | Path, cameras: Path | None = None, serial: str | None = None) -> ForeignTracking:
    """Read a tracking of another program.

    Args:
        path: its file or folder; of programs with one file for each frame, any of them or the folder.
        cameras: the calibration file of the NeRSemble benchmark.
        serial: the camera in it; None takes the first.

    Raises:
        UserError: the program is not supported, or a file is damaged.
    """
    program, files = find_files(Path(path))
    try:
        # `require_usable` refuses results that are not finite
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # complex numbers, means of empty arrays
            if program == NERSEMBLE:
                found = _nersemble(read_entries(files[0]), cameras, serial)
            else:
                found = READERS[program](files)
        require_usable(found)
        return found
    except _UNREADABLE as error:
        reason = shortened(f"{type(error).__name__}: {error}", 200)
        raise UserError(
            f"'{files[0]}' looks like a file of {program}, but cannot be read ({reason}); export it again with that "
            "program"
        ) from None


def _vhap(files: Sequence[Path]) -> ForeignTracking:
    """One archive; the camera is at (0, 0, 1) m and looks along -z, joints are axis-angle."""
    data = read_entries(files[0])
    n = len(data["rotation"])
    focal = data.get("focal_length")
    intrinsics = None if focal is None else np.array([float(np.ravel(focal)[0]), 0.5, 0.5])
    ids = [number_of(str(name)) for name in data.get("timestep_id", np.arange(n).astype(str))]
    size = data.get("image_size")
    rotation = Rotation.from_rotvec(data["rotation"]).as_matrix()
    own = opengl(VHAP, rotation, data["translation"], np.eye(3), np.array([0, 0, -1.0]), intrinsics)
    return ForeignTracking(
        program=VHAP,
        ids=np.array(ids[:n], np.int64),
        **vhap_face(data),
        image_size=None if size is None else (int(size[0]), int(size[1])),
        placements=(own, *published_placements(data, intrinsics)),
        notes=offset_notes(data),
    )


def _gaussian_avatars(files: Sequence[Path]) -> ForeignTracking:
    """transforms.json with one parameter file for each time step; cameras are OpenGL camera-to-world."""
    transforms = read_entries(files[0])
    frames = [frame for frame in transforms["frames"] if "flame_param_path" in frame]
    if not frames:
        raise UserError(f"'{files[0]}' names no flame_param_path; export with VHAP's option --mode param")
    camera = frames[0].get("camera_index", 0)
    frames = [frame for frame in frames if frame.get("camera_index", 0) == camera]
    frames.sort(key=lambda frame: frame["timestep_index"])
    data = stacked([read_entries(files[0].parent / frame["flame_param_path"]) for frame in frames])
    world_from_camera = np.array([frame["transform_matrix"] for frame in frames])
    camera_from_world = np.linalg.inv(world_from_camera)
    first = {key: frames[0].get(key, transforms.get(key)) for key in ("w", "h", "fl_x", "cx", "cy")}
    width, height = int(first["w"]), int(first["h"])
    rotation = Rotation.from_rotvec(data["rotation"]).as_matrix()
    placements = []
    for name, cy in ((GAUSSIAN_AVATARS, first["cy"]), ("with cy from the bottom", height - first["cy"])):
        intrinsics = np.array([first["fl_x"] / max(width, height), first["cx"] / width, 1 - cy / height])
        placements.append(
            opengl(
                name,
                rotation,
                data["translation"],
                camera_from_world[:, :3, :3],
                camera_from_world[:, :3, 3],
                intrinsics,
            )
        )
    ids = [
        number_of(str(frame.get("timestep_id", ""))) if frame.get("timestep_id") else frame["timestep_index"]
        for frame in frames
    ]
    return ForeignTracking(
        program=GAUSSIAN_AVATARS,
        ids=np.array(ids, np.int64),
        **vhap_face(data),
        image_size=(height, width),
        placements=tuple(placements),
        notes=offset_notes(data),
    )


def _metrical(files: Sequence[Path]) -> ForeignTracking:
    """One .frame file for each frame; the camera moves, the head does not; rotations as their first two rows."""
    frames = [read_entries(path) for path in files]
    flame = stacked([frame["flame"] for frame in frames])
    opencv = stacked([frame["opencv"] for frame in frames])
    size = np.ravel(frames[0]["img_size"])
    height, width = int(size[0]), int(size[1])
    matrix = opencv["K"].reshape(-1, 3, 3)[0]
    intrinsics = np.array(
        [matrix[0, 0] / max(height, width), matrix[0, 2] / width, 1 - matrix[1, 2] / height]
    )
    rotation = OPENCV_TO_OURS @ opencv["R"].reshape(-1, 3, 3)
    placement = Placement(
        METRICAL, rotation, rotation, opencv["t"].reshape(-1, 3) @ OPENCV_TO_OURS.T, intrinsics
    )
    n, eyes = len(frames), flame["eyes"].reshape(len(frames), 2, 6)
    notes = ()
    if np.abs(flame.get("eyelids", np.zeros(1))).max() > 0.05:
        notes = ("its eyelid blendshapes are not part of FLAME's expression space and are left out",)
    return ForeignTracking(
        program=METRICAL,
        ids=np.array([int(number_of(str(frame.get("frame_id", i)))) for i, frame in enumerate(frames)]),
        shape=mean_shape(flame["shape"]),
        expr=flame["exp"].reshape(n, -1),
        neck=np.zeros((n, 3)),
        jaw=rotation_vectors_6d(flame["jaw"].reshape(n, 6)),
        eyes=np.concatenate([rotation_vectors_6d(eyes[:, 0]), rotation_vectors_6d(eyes[:, 1])], 1),
        image_size=(height, width),
        placements=(placement,),
        notes=notes,
    )


def _flame_head_tracker(files: Sequence[Path]) -> ForeignTracking:
    """One archive for each frame; `cam` is the camera's pose (three angles, position), the image is square."""
    frames = [read_entries(path) for path in files]
    wanted = ("shape", "exp", "pose", "head_pose", "jaw_pose", "neck_pose", "eye_pose", "cam", "fov")
    data = stacked([{key: frame[key] for key in wanted if key in frame} for frame in frames])
    n = len(files)
    cam = data["cam"].reshape(n, 6)
    focal = 0.5 / np.tan(np.radians(np.median(data.get("fov", np.array([20.0])))) / 2)
    intrinsics = np.array([focal, 0.5, 0.5])
    pose = data.get("pose", np.zeros((n, 6))).reshape(n, 6)
    head = Rotation.from_rotvec(data.get("head_pose", pose[:, :3]).reshape(n, 3)).as_matrix()
    placements = []
    for name, world_from_camera in (
        (FLAME_HEAD_TRACKER, zyx(cam[:, :3])),
        ("rotation vectors in cam", Rotation.from_rotvec(cam[:, :3]).as_matrix()),
    ):
        turn = OPENGL_TO_OURS @ world_from_camera.transpose(0, 2, 1)
        offset = -np.einsum("fij,fj->fi", turn, cam[:, 3:])
        placements.append(Placement(name, turn @ head, turn, offset, intrinsics))
    return ForeignTracking(
        program=FLAME_HEAD_TRACKER,
        ids=np.array([number_of(path.stem) for path in files], np.int64),
        shape=mean_shape(data["shape"]),
        expr=data["exp"].reshape(n, -1),
        neck=data.get("neck_pose", np.zeros((n, 3))).reshape(n, 3),
        jaw=data.get("jaw_pose", pose[:, 3:]).reshape(n, 3),
        eyes=data.get("eye_pose", np.zeros((n, 6))).reshape(n, 6),
        image_size=None,
        placements=tuple(placements),
        notes=(
            "its poses are those of the images it was fitted to: run it with realign=False, so that these are the "
            "video's frames",
        ),
    )


def _nersemble(data: Entries, cameras: Path | None, serial: str | None) -> ForeignTracking:
    """One archive in the coordinates of the calibrated cameras, which are in a file of their own."""
    n, scale = len(data["expression"]), float(np.ravel(data["scale"])[0])
    matrices = data["rotation_matrices"].reshape(n, 3, 3)
    camera, intrinsics, size, note = np.eye(4), None, None, ()
    if cameras is None:
        note = (
            "it has no camera: name the calibration file with --cameras camera_params.json, and --serial",
        )
    else:
        calibration = read_entries(cameras)
        serial = serial or next(iter(calibration["world_2_cam"]))
        camera = np.array(calibration["world_2_cam"][serial], float)
        matrix = np.array(calibration["intrinsics"][serial], float)
        width, height = round(2 * matrix[0, 2]), round(2 * matrix[1, 2])
        intrinsics = np.array(
            [matrix[0, 0] / max(width, height), matrix[0, 2] / width, 1 - matrix[1, 2] / height]
        )
    turn = OPENCV_TO_OURS @ camera[:3, :3] @ matrices
    offset = (data["translation"] @ camera[:3, :3].T + camera[:3, 3]) @ OPENCV_TO_OURS.T / scale
    return ForeignTracking(
        program=NERSEMBLE,
        ids=np.ravel(data.get("frames", np.arange(n))).astype(np.int64),
        shape=mean_shape(data["shape"]),
        expr=data["expression"],
        neck=data["neck"],
        jaw=data["jaw"],
        eyes=data["eyes"],
        image_size=size,
        placements=(Placement(NERSEMBLE, turn, turn, offset, intrinsics),),
        notes=note,
    )


def _smplx(files: Sequence[Path]) -> ForeignTracking:
    """One archive with smplx's names, in the axes of an OpenCV camera at the origin; joints are axis-angle."""
    data = read_entries(files[0])
    n, intrinsics, size = len(data["expression"]), None, None
    if {"intrinsics", "image_size"} <= set(data):
        (height, width), matrix = (int(value) for value in data["image_size"]), data["intrinsics"]
        size = (height, width)
        intrinsics = np.array(
            [matrix[0, 0] / max(height, width), matrix[0, 2] / width, 1 - matrix[1, 2] / height]
        )
    rotation = OPENCV_TO_OURS @ Rotation.from_rotvec(data["global_orient"].reshape(n, 3)).as_matrix()
    joint_map = np.broadcast_to(OPENCV_TO_OURS, rotation.shape)
    offset = data["transl"].reshape(n, 3) @ OPENCV_TO_OURS.T
    zeros = np.zeros((n, 3))
    eyes = [data.get(name, zeros).reshape(n, 3) for name in ("leye_pose", "reye_pose")]
    return ForeignTracking(
        program=SMPLX,
        ids=np.ravel(data.get("frame", np.arange(n))).astype(np.int64),
        shape=mean_shape(data["betas"]),
        expr=data["expression"].reshape(n, -1),
        neck=data.get("neck_pose", zeros).reshape(n, 3),
        jaw=data["jaw_pose"].reshape(n, 3),
        eyes=np.concatenate(eyes, 1),
        image_size=size,
        placements=(Placement(SMPLX, rotation, joint_map, offset, intrinsics),),
    )


READERS: dict[str, Callable[[Sequence[Path]], ForeignTracking]] = {
    VHAP: _vhap,
    GAUSSIAN_AVATARS: _gaussian_avatars,
    METRICAL: _metrical,
    FLAME_HEAD_TRACKER: _flame_head_tracker,
    SMPLX: _smplx,
}
