"""The dataset folder: where a frame's files lie, and how each of them is read and written.

    DATA/transforms.json                       crop, pad and scale that every frame went through
    DATA/split.json                            optional: frames for training and validation
    DATA/frame_0007/image_0007.png             RGB
    DATA/frame_0007/keypoints_static_0007.json 68 landmarks and two irises
    DATA/frame_0007/parsing_0007.png           labels of `conventions.Parsing`
    DATA/frame_0007/seg_0007.png               labels of `conventions.Segmentation`
    DATA/frame_0007/normals_0007.png           camera-space normals

These are the published project's names and formats: its datasets are read here, and ours are read there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np

from nha.core.conventions import N_FACE_LANDMARKS
from nha.core.errors import UserError
from nha.core.system import atomic_path

FRAME_FOLDER = re.compile(r"frame_(\d{4,})")

# 8-bit files cannot say 0: it becomes 127 or 128, that is +-1/255. Anything shorter is "unknown".
UNKNOWN_NORMAL_BELOW = 0.004

# Half the time of level 3 with libpng's choice of filters, and files of the same size to a few percent.
_PNG_COMPRESSION = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP)


@dataclass(frozen=True)
class FramePaths:
    """The files of one frame. They need not exist."""

    folder: Path
    image: Path
    keypoints: Path
    parsing: Path
    segmentation: Path
    normals: Path

    def files(self) -> Iterator[Path]:
        """Image, keypoints, parsing, segmentation and normals, in this order."""
        return (getattr(self, field.name) for field in fields(self) if field.name != "folder")

    def missing(self) -> list[Path]:
        """The files that are not there."""
        return [path for path in self.files() if not path.is_file()]


class DatasetFolder:
    """A dataset on disk, existing or about to be written."""

    def __init__(self, root: str | Path):
        self.root = Path(root)

    @classmethod
    def open(cls, root: str | Path) -> DatasetFolder:
        """A dataset that must exist. Raises UserError where there is no such folder, or no frame in it."""
        folder = cls(root)
        if not folder.root.is_dir():
            raise UserError(f"dataset folder '{root}' does not exist; make one with video_to_dataset.py")
        if not folder.frame_ids():
            raise UserError(f"'{root}' holds no frame_0000-like folders; make them with video_to_dataset.py")
        return folder

    @property
    def transforms(self) -> Path:
        return self.root / "transforms.json"

    @property
    def default_split(self) -> Path:
        return self.root / "split.json"

    @property
    def overview_video(self) -> Path:
        return self.root / "dataset.mp4"

    def frame_ids(self) -> list[int]:
        """Ids of the frame folders, ascending; they need not be contiguous. Empty where there are none."""
        if not self.root.is_dir():
            return []
        matches = (FRAME_FOLDER.fullmatch(path.name) for path in self.root.iterdir() if path.is_dir())
        return sorted(int(match[1]) for match in matches if match)

    def paths(self, frame_id: int) -> FramePaths:
        """Where the files of frame `frame_id` are, or will be."""
        number = f"{frame_id:04d}"
        folder = self.root / f"frame_{number}"
        return FramePaths(
            folder=folder,
            image=folder / f"image_{number}.png",
            keypoints=folder / f"keypoints_static_{number}.json",
            parsing=folder / f"parsing_{number}.png",
            segmentation=folder / f"seg_{number}.png",
            normals=folder / f"normals_{number}.png",
        )


# --- images ----------------------------------------------------------------------------------------------


def read_rgb(path: str | Path) -> np.ndarray:
    """Read a colour image. Returns uint8 [H, W, 3], RGB. Raises UserError where that fails."""
    return cv2.cvtColor(_decode(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def write_rgb(path: str | Path, rgb: np.ndarray) -> None:
    """Write uint8 [H, W, 3] RGB as a PNG, atomically."""
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f"rgb must be uint8 [H, W, 3], not {rgb.dtype} {list(rgb.shape)}")
    _encode(path, cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2BGR))


def read_labels(path: str | Path) -> np.ndarray:
    """Read a label image. Returns uint8 [H, W]. Raises UserError for anything but one 8-bit label a pixel."""
    labels = _decode(path, cv2.IMREAD_UNCHANGED)
    if labels.ndim == 3 and (labels[..., :3] == labels[..., :1]).all():
        labels = labels[..., 0]  # a grey picture that some tool saved as RGB
    if labels.dtype != np.uint8 or labels.ndim != 2:
        raise UserError(f"'{path}' is not an 8-bit label image; write the labels as one grey channel")
    return labels


def write_labels(path: str | Path, labels: np.ndarray) -> None:
    """Write uint8 [H, W] labels as a grey PNG, atomically."""
    if labels.dtype != np.uint8 or labels.ndim != 2:
        raise ValueError(f"labels must be uint8 [H, W], not {labels.dtype} {list(labels.shape)}")
    _encode(path, labels)


def decode_normals(encoded: np.ndarray) -> np.ndarray:
    """Turn the file's colours n * 0.5 + 0.5 into normals.

    encoded: uint8 [..., 3]. Returns float32 [..., 3]: x right, y *down* (files store y up), z to the camera;
    0 where unknown.
    """
    normals = encoded.astype(np.float32) * np.float32(2 / 255) - 1
    normals *= np.float32([1, -1, 1])
    normals[(np.abs(normals) < UNKNOWN_NORMAL_BELOW).all(-1)] = 0
    return normals


def encode_normals(normals: np.ndarray) -> np.ndarray:
    """The inverse of `decode_normals`: [..., 3] (x right, y down, z to the camera, 0 unknown) to uint8."""
    stored = np.asarray(normals, np.float32) * np.float32([127.5, -127.5, 127.5])
    stored += 127.5
    np.rint(stored, out=stored)
    return stored.clip(0, 255, out=stored).astype(np.uint8)


def read_normals(path: str | Path) -> np.ndarray:
    """Read a normal image. Returns float32 [H, W, 3] in the directions of `decode_normals`."""
    return decode_normals(read_rgb(path))


def write_normals(path: str | Path, normals: np.ndarray) -> None:
    """Write float [H, W, 3] normals (x right, y down, z to the camera, 0 unknown) as a PNG, atomically."""
    write_rgb(path, encode_normals(normals))


def _decode(path: str | Path, flags: int) -> np.ndarray:
    try:
        encoded = np.fromfile(path, np.uint8)
    except OSError as error:
        raise UserError(f"cannot read '{path}' ({error.strerror}); the dataset is not complete") from None
    image = cv2.imdecode(encoded, flags) if encoded.size else None
    if image is None:
        raise UserError(f"'{path}' is not a readable image; delete it and run video_to_dataset.py again")
    return image


def _encode(path: str | Path, image: np.ndarray) -> None:
    done, encoded = cv2.imencode(".png", image, _PNG_COMPRESSION)
    if not done:
        raise ValueError(f"cannot encode an image of shape {list(image.shape)} as PNG")
    with atomic_path(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


# --- keypoints -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Keypoints:
    """Landmarks of the one face in a frame.

    landmarks_px: float32 [68, 2] iBUG points, pixels from the top left;
    depth: float32 [68], the third value in the file (0 where the estimator gives none);
    confidence: float32 [68] in 0..1;
    iris_px: float32 [2, 2] in the *mesh's* order (files hold the two swapped), -1 where not found;
    bounding_box: of the face, as the estimator gave it; origin: name of the estimator.
    """

    landmarks_px: np.ndarray
    depth: np.ndarray
    confidence: np.ndarray
    iris_px: np.ndarray
    bounding_box: tuple[float, ...] = ()
    origin: str = ""


def read_keypoints(path: str | Path) -> Keypoints:
    """Read `keypoints_static_*.json`.

    The confidence is 1 where the file does not give one, as in published datasets. Raises UserError for
    a file that is not there, not JSON, without a face, or that holds other than 68 finite points.
    """
    content = _read_json(path)
    try:
        person = content["people"][0]
        points = np.asarray(person["face_keypoints_2d"], np.float32).reshape(N_FACE_LANDMARKS, 3)
        iris = np.asarray(person["iris_keypoints_2d"], np.float32).reshape(2, 3)[::-1, :2]
        confidence = np.asarray(
            person.get("face_keypoints_confidence", np.ones(N_FACE_LANDMARKS)), np.float32
        ).reshape(N_FACE_LANDMARKS)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise UserError(
            f"'{path}' holds no face with 68 landmarks and 2 irises; leave this frame out of the split, "
            "or make the file again with video_to_dataset.py"
        ) from None
    if not (np.isfinite(points).all() and np.isfinite(iris).all() and np.isfinite(confidence).all()):
        raise UserError(f"'{path}' holds numbers that are not finite; make it again with video_to_dataset.py")
    return Keypoints(
        landmarks_px=np.ascontiguousarray(points[:, :2]),
        depth=np.ascontiguousarray(points[:, 2]),
        confidence=confidence,
        iris_px=np.where((iris < 0).all(1, keepdims=True), np.float32(-1), iris),
        bounding_box=tuple(float(value) for value in person.get("bounding_box") or ()),
        origin=str(content.get("origin", "")),
    )


def write_keypoints(path: str | Path, keypoints: Keypoints) -> None:
    """Write `keypoints_static_*.json`, atomically; the confidence goes under a key that others ignore."""
    points = np.concatenate([keypoints.landmarks_px, keypoints.depth[:, None]], axis=1)
    if points.shape != (N_FACE_LANDMARKS, 3):
        raise ValueError(f"landmarks_px must be [68, 2] and depth [68], not {list(points.shape)} together")
    found = (np.asarray(keypoints.iris_px) >= 0).any(1, keepdims=True)
    iris = np.where(found, np.concatenate([keypoints.iris_px, np.ones((2, 1))], axis=1), -1)[::-1]
    person = {
        "bounding_box": _rounded(keypoints.bounding_box),
        "face_keypoints_2d": _rounded(points),
        "iris_keypoints_2d": _rounded(iris),
        "face_keypoints_confidence": _rounded(keypoints.confidence),
    }
    _write_json(path, {"origin": keypoints.origin, "people": [person]})


def read_transforms(path: str | Path) -> dict:
    """Read `transforms.json`: crop, pad and scale of every frame (w_in, h_in, w_out, h_out, ...)."""
    content = _read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"'{path}' must hold a JSON object; make it again with video_to_dataset.py")
    return content


def write_transforms(path: str | Path, transforms: dict) -> None:
    """Write `transforms.json`, atomically."""
    _write_json(path, transforms)


def _rounded(values) -> list[float]:
    # A millionth of a pixel is enough, and keeps the file short.
    return [round(float(value), 6) for value in np.asarray(values, np.float64).ravel()]


def _read_json(path: str | Path):
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read '{path}' ({error.strerror}); the dataset is not complete") from None
    except ValueError:
        raise UserError(f"'{path}' is not JSON; delete it and run video_to_dataset.py again") from None


def _write_json(path: str | Path, content) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
