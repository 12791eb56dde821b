"""The dataset folder: paths of the files of a frame, and reading and writing of each file.

    DATA/transforms.json                       crop, pad and scale that every frame went through
    DATA/split.json                            optional: frames for training and validation
    DATA/frame_0007/image_0007.png             RGB
    DATA/frame_0007/keypoints_static_0007.json 68 landmarks and two irises
    DATA/frame_0007/parsing_0007.png           labels of `conventions.Parsing`
    DATA/frame_0007/seg_0007.png               labels of `conventions.Segmentation`
    DATA/frame_0007/normals_0007.png           camera-space normals

Names and formats are those of the published project, so either project reads the datasets of the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np

from nha.core.conventions import N_FACE_LANDMARKS
from nha.core.errors import UserError
from nha.core.json_file import read_json, write_json
from nha.core.system import atomic_path
from nha.data.image_file import decode_image

FRAME_FOLDER = re.compile(r"frame_(\d{4,})")

# 8-bit files cannot store 0 exactly: it becomes 127 or 128, that is +-1/255. Shorter vectors mean "unknown".
UNKNOWN_NORMAL_BELOW = 0.004

_LARGEST_PX = 1e6  # of a landmark
# Takes half the time of level 3 with libpng's choice of filters; file sizes differ by a few percent.
_PNG_COMPRESSION = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP)


@dataclass(frozen=True)
class FramePaths:
    """Paths of the files of one frame, which need not exist."""

    folder: Path
    image: Path
    keypoints: Path
    parsing: Path
    segmentation: Path
    normals: Path

    def files(self) -> Iterator[Path]:
        """Paths of image, keypoints, parsing, segmentation and normals, in this order."""
        return (getattr(self, field.name) for field in fields(self) if field.name != "folder")

    def missing(self) -> list[Path]:
        """The files that do not exist."""
        return [path for path in self.files() if not path.is_file()]


class DatasetFolder:
    """A dataset on disk, which exists or is about to be written."""

    def __init__(self, root: str | Path):
        self.root = Path(root)

    @classmethod
    def open(cls, root: str | Path) -> DatasetFolder:
        """A dataset that must exist. Raises UserError if the folder does not exist or holds no frames."""
        folder = cls(root)
        if not folder.root.is_dir():
            raise UserError(f"dataset folder '{root}' does not exist; make one with `nha preprocess`")
        if not folder.frame_ids():
            raise UserError(f"'{root}' holds no frame_0000-like folders; make them with `nha preprocess`")
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
        """Ids of the frame folders, ascending; they need not be contiguous. Empty if there are none."""
        if not self.root.is_dir():
            return []
        matches = (FRAME_FOLDER.fullmatch(path.name) for path in self.root.iterdir() if path.is_dir())
        return sorted(int(match[1]) for match in matches if match)

    def paths(self, frame_id: int) -> FramePaths:
        """Paths of the files of a frame."""
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
    """Read an RGB image, uint8 [H, W, 3]. Raises UserError if it cannot be read."""
    return cv2.cvtColor(_decode(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def write_rgb(path: str | Path, rgb: np.ndarray) -> None:
    """Write an RGB image, uint8 [H, W, 3], as PNG, atomically."""
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f"rgb must be uint8 [H, W, 3], not {rgb.dtype} {list(rgb.shape)}")
    _encode(path, cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2BGR))


def read_labels(path: str | Path) -> np.ndarray:
    """Read a label image, uint8 [H, W]. Raises UserError unless it has one 8-bit label per pixel."""
    labels = _decode(path, cv2.IMREAD_UNCHANGED)
    if labels.ndim == 3 and (labels[..., :3] == labels[..., :1]).all():
        labels = labels[..., 0]  # a grey image that was saved as RGB
    if labels.dtype != np.uint8 or labels.ndim != 2:
        raise UserError(f"'{path}' is not an 8-bit label image; write the labels as one grey channel")
    return labels


def write_labels(path: str | Path, labels: np.ndarray) -> None:
    """Write labels, uint8 [H, W], as a grey PNG, atomically."""
    if labels.dtype != np.uint8 or labels.ndim != 2:
        raise ValueError(f"labels must be uint8 [H, W], not {labels.dtype} {list(labels.shape)}")
    _encode(path, labels)


def decode_normals(encoded: np.ndarray) -> np.ndarray:
    """Decode normals from the colours of the file, n * 0.5 + 0.5 with y up.

    Args:
        encoded: uint8 [..., 3].

    Returns:
        float32 [..., 3]: x right, y *down*, z towards the camera; 0 where unknown.
    """
    normals = encoded.astype(np.float32) * np.float32(2 / 255) - 1
    normals *= np.float32([1, -1, 1])
    normals[(np.abs(normals) < UNKNOWN_NORMAL_BELOW).all(-1)] = 0
    return normals


def encode_normals(normals: np.ndarray) -> np.ndarray:
    """The inverse of `decode_normals`: float [..., 3] to uint8 [..., 3]."""
    stored = np.asarray(normals, np.float32) * np.float32([127.5, -127.5, 127.5])
    stored += 127.5
    np.rint(stored, out=stored)
    return stored.clip(0, 255, out=stored).astype(np.uint8)


def read_normals(path: str | Path) -> np.ndarray:
    """Read a normal image, float32 [H, W, 3], with the axes of `decode_normals`."""
    return decode_normals(read_rgb(path))


def write_normals(path: str | Path, normals: np.ndarray) -> None:
    """Write normals, float [H, W, 3] with the axes of `decode_normals`, as PNG, atomically."""
    write_rgb(path, encode_normals(normals))


def _decode(path: str | Path, flags: int) -> np.ndarray:
    try:
        image = decode_image(path, flags)
    except OSError as error:
        raise UserError(f"cannot read '{path}' ({error.strerror}); the dataset is not complete") from None
    if image is None:
        raise UserError(f"'{path}' is not a readable image; delete it and run `nha preprocess` again")
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
    """Landmarks and irises of the face in a frame.

    Attributes:
        landmarks_px: float32 [68, 2], iBUG landmarks in pixels from the top left.
        depth: float32 [68], the third value in the file; 0 if the estimator gives none.
        confidence: float32 [68] in 0..1.
        iris_px: float32 [2, 2], the person's right iris first (the file holds them in the opposite order); -1 if
            not found.
        bounding_box: left, top, right and bottom of the face in pixels, as given by the estimator.
        origin: name of the estimator.
    """

    landmarks_px: np.ndarray
    depth: np.ndarray
    confidence: np.ndarray
    iris_px: np.ndarray
    bounding_box: tuple[float, ...] = ()
    origin: str = ""


def read_keypoints(path: str | Path) -> Keypoints:
    """Read `keypoints_static_*.json`.

    The confidence is 1 if the file has none, as in published datasets.

    Raises:
        UserError: the file is missing, not JSON, or does not hold a face with 68 finite landmarks.
    """
    content = _read_json(path)
    try:
        person = content["people"][0]
        points = np.asarray(person["face_keypoints_2d"], np.float32).reshape(N_FACE_LANDMARKS, 3)
        iris = np.asarray(person["iris_keypoints_2d"], np.float32).reshape(2, 3)[::-1, :2]
        confidence = np.asarray(
            person.get("face_keypoints_confidence", np.ones(N_FACE_LANDMARKS)), np.float32
        ).reshape(N_FACE_LANDMARKS)
        box = tuple(float(value) for value in person.get("bounding_box") or ())
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError):
        raise UserError(
            f"'{path}' holds no face with 68 landmarks and 2 irises; leave this frame out of the split, "
            "or make the file again with `nha preprocess`"
        ) from None
    numbers = np.concatenate([points.ravel(), iris.ravel(), confidence, np.float32(box)])
    if not (np.abs(numbers) < _LARGEST_PX).all():
        raise UserError(
            f"'{path}' holds numbers that are not finite, or beyond any image; make it again with `nha preprocess`"
        )
    return Keypoints(
        landmarks_px=np.ascontiguousarray(points[:, :2]),
        depth=np.ascontiguousarray(points[:, 2]),
        confidence=confidence,
        iris_px=np.where((iris < 0).all(1, keepdims=True), np.float32(-1), iris),
        bounding_box=box,
        origin=str(content.get("origin", "")),
    )


def write_keypoints(path: str | Path, keypoints: Keypoints) -> None:
    """Write `keypoints_static_*.json`, atomically; the confidence has a key that other readers ignore."""
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
    write_json(path, {"origin": keypoints.origin, "people": [person]})


def read_transforms(path: str | Path) -> dict:
    """Read `transforms.json`: crop, padding and scaling of all frames (w_in, h_in, w_out, h_out, ...)."""
    content = _read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"'{path}' must hold a JSON object; make it again with `nha preprocess`")
    return content


def write_transforms(path: str | Path, transforms: dict) -> None:
    """Write `transforms.json`, atomically."""
    write_json(path, transforms)


def _rounded(values) -> list[float]:
    # A precision of a millionth of a pixel keeps the file short.
    return [round(float(value), 6) for value in np.asarray(values, np.float64).ravel()]


def _read_json(path: str | Path):
    try:
        return read_json(path)
    except OSError as error:
        raise UserError(f"cannot read '{path}' ({error.strerror}); the dataset is not complete") from None
    except ValueError:
        raise UserError(f"'{path}' is not JSON; delete it and run `nha preprocess` again") from None
