"""`dataset_info.json`: the video, options and estimators that a dataset was made with."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from nha.core.errors import UserError
from nha.core.fingerprint import file_digest
from nha.core.json_file import read_json, write_json
from nha.data.image_sequence import find_images

INFO_FILE = "dataset_info.json"


@dataclass
class DatasetInfo:
    """Content of `dataset_info.json`.

    Attributes:
        video: name, size in bytes, SHA-256 and frames per second of the video file.
        options: the options that change the content of the dataset.
        estimators: annotation -> name of its estimator.
        finished: False while a run is in progress or was interrupted.
        n_frames: decoded frames, None until all have been decoded.
        frames_without_face: ids of frames in which no face was found, None until all frames are done.
        frames_with_several_faces: ids of frames with more than one face.
        frames_without_iris: ids of frames in which an iris was not found.
        frames_turned: ids of frames in which the face is upside down or on its side.
        frames_covered: ids of frames in which something seems to cover the face; `split.json` leaves them out.
        under_repair: the dataset was finished before, and a run is computing files again that were missing.
    """

    video: dict[str, str | int | float]
    options: dict[str, str | int | bool]
    estimators: dict[str, str]
    finished: bool = False
    n_frames: int | None = None
    frames_without_face: list[int] | None = None
    frames_with_several_faces: list[int] | None = None
    frames_without_iris: list[int] | None = None
    frames_turned: list[int] | None = None
    frames_covered: list[int] | None = None
    under_repair: bool = False

    def ids_for_split(self) -> list[int]:
        """Ids of the frames to train with: those with a face that nothing covers, unless none would be left."""
        covered = set(self.frames_covered or ())
        return [i for i in self.ids_with_face() if i not in covered] or self.ids_with_face()

    def ids_with_face(self) -> list[int]:
        """Ids of the frames in which a face was found; empty until all frames are done."""
        without = set(self.frames_without_face or ())
        return [frame_id for frame_id in self.ids() if frame_id not in without]

    def ids(self) -> range:
        """Ids of all decoded frames, which are their numbers in the video; empty until all are decoded."""
        return range(0, (self.n_frames or 0) * self.every, self.every)

    @property
    def every(self) -> int:
        """Every how many frames of the video one is used."""
        return int(self.options.get("every", 1))


def describe_video(path: Path, fps: float) -> dict[str, str | int | float]:
    """Name, size, hash and frames per second, which identify a video or a sequence of images."""
    if (sequence := find_images(path)) is not None:
        sizes = [file.stat().st_size for file in sequence.images]
        listing = "\n".join(f"{file.name} {size}" for file, size in zip(sequence.images, sizes, strict=True))
        digest = hashlib.sha256(os.fsencode(f"{listing}\n{file_digest(sequence.images[0])}")).hexdigest()
        return {"name": path.name, "bytes": sum(sizes), "sha256": digest, "fps": fps}
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": file_digest(path), "fps": fps}


def read_info(root: Path) -> DatasetInfo | None:
    """Read the record of a dataset folder; None if there is none. Raises UserError if it is damaged."""
    path = root / INFO_FILE
    if not path.exists():
        return None
    try:
        info = DatasetInfo(**read_json(path))
        _check_types(info)
        return info
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"'{path}' is not readable; delete the folder or choose another one") from error


def _check_types(info: DatasetInfo) -> None:
    """Raise TypeError for a record of other types, such as a text in place of the frame ids."""
    frame_lists = [value for name, value in vars(info).items() if name.startswith("frames_")]
    for given, kind in (
        *((part, dict) for part in (info.video, info.options, info.estimators)),
        *((part, bool) for part in (info.finished, info.under_repair)),
        *((part, list) for part in frame_lists if part is not None),
        *((number, int) for part in frame_lists if part is not None for number in part),
    ):
        if not isinstance(given, kind):
            raise TypeError(f"{kind.__name__} expected")
    if info.n_frames is not None and not (isinstance(info.n_frames, int) and 0 <= info.n_frames < 10**8):
        raise TypeError("a number of frames expected")
    if not (isinstance(info.options.get("every", 1), int) and info.every >= 1):
        raise TypeError("a distance of frames expected")


def write_info(root: Path, info: DatasetInfo) -> None:
    """Write the record of a dataset folder, atomically."""
    write_json(root / INFO_FILE, asdict(info))


def check_same_dataset(root: Path, earlier: DatasetInfo, now: DatasetInfo) -> None:
    """Raise a UserError if a folder was made from another video, or with other options or estimators."""
    # earlier versions recorded another checksum, under another key
    compared = (earlier.video.keys() & now.video.keys()) - {"name"}
    if any(earlier.video[key] != now.video[key] for key in compared):
        raise UserError(
            f"'{root}' holds the dataset of {earlier.video.get('name')}; choose another output folder"
        )
    before, after = {**earlier.options, **earlier.estimators}, {**now.options, **now.estimators}
    if after.get("crop_to_head") == "auto":  # takes the crop that the folder has
        before["crop_to_head"] = "auto"
    before = {"rotate": "auto", "every": 1, **before}  # datasets of earlier releases do not have them
    differing = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    if differing:
        changes = ", ".join(f"{key} {before.get(key)} instead of {after.get(key)}" for key in differing)
        raise UserError(f"'{root}' was made with {changes}; use the same options or another output folder")
