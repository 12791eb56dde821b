"""What a run keeps on disk so that a killed one can go on: records, working files, who owns the folder."""

from __future__ import annotations

import json
import shutil
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from nha.core.errors import UserError
from nha.core.system import atomic_path
from nha.data.dataset_folder import DatasetFolder, FramePaths
from nha.preprocess.estimators import Face

INFO_FILE = "dataset_info.json"
SPLIT_FILE = "split.json"
ORIGINALS_FOLDER = "original_frames"
FACELESS_FOLDER = "frames_without_face"
WORKING_FOLDER = ".preprocess"

_FINGERPRINT_BYTES = 1 << 20


@dataclass
class DatasetInfo:
    """`dataset_info.json`: where a dataset comes from.

    video: name, size and fingerprint of the video file, its fps; options: those that change the result;
    estimators: annotation -> estimator; finished: False while a run is at work or was killed; n_frames:
    decoded frames, None until all are; the three lists hold frame ids.
    """

    video: dict[str, str | int | float]
    options: dict[str, str | int | bool]
    estimators: dict[str, str]
    finished: bool = False
    n_frames: int | None = None
    frames_without_face: list[int] | None = None
    frames_with_several_faces: list[int] | None = None
    frames_without_iris: list[int] | None = None


@dataclass(frozen=True)
class Observation:
    """What the landmark step found in a frame: how many faces, and the chosen one."""

    n_faces: int
    face: Face | None


class Workspace:
    """A dataset folder that one run owns."""

    def __init__(self, root: Path, info: DatasetInfo, is_new: bool) -> None:
        self.root = root
        self.folder = DatasetFolder(root)
        self.info = info
        self._is_new = is_new
        self._keep_on_failure = False

    @classmethod
    def claim(cls, root: Path, info: DatasetInfo, is_new: bool) -> Workspace:
        """Take a folder: empty, or as an earlier run with the same video and options has left it.

        is_new: the folder was made for this run, and goes when the run fails. Raises UserError where the
        folder holds another dataset.
        """
        earlier = _read_info(root / INFO_FILE)
        if earlier is None:
            if DatasetFolder(root).frame_ids():
                raise UserError(f"'{root}' already holds frames from elsewhere; choose another output folder")
            workspace = cls(root, info, is_new)
            workspace.save_info()
            return workspace
        _check_same_dataset(root, earlier, info)
        workspace = cls(root, earlier, is_new=False)
        workspace._remove_partial_files()
        return workspace

    def is_complete(self) -> bool:
        """True where an earlier run has finished and no file was removed since."""
        if not self.info.finished:
            return False
        expected = [self.folder.transforms, self.folder.overview_video, self.split_path]
        for frame_id in self.ids_with_face():
            expected.extend(self.folder.paths(frame_id).files())
        return all(path.is_file() for path in expected)

    def ids_with_face(self) -> list[int]:
        """Ids of the frames in which a face was found."""
        faceless = set(self.info.frames_without_face or ())
        return [frame_id for frame_id in range(self.info.n_frames or 0) if frame_id not in faceless]

    def reopen(self) -> None:
        """Make an incomplete dataset one that is being worked on again."""
        self._keep_on_failure = self.info.finished
        for folder in sorted((self.root / FACELESS_FOLDER).glob("frame_*")):
            folder.rename(self.root / folder.name)
        shutil.rmtree(self.root / FACELESS_FOLDER, ignore_errors=True)
        self.info.finished = False
        self.save_info()

    def finish(self) -> None:
        """Put frames without a face aside, remove working files, and say that all is done."""
        for frame_id in self.info.frames_without_face or ():
            source = self.folder.paths(frame_id).folder
            if source.exists():
                (self.root / FACELESS_FOLDER).mkdir(exist_ok=True)
                source.rename(self.root / FACELESS_FOLDER / source.name)
        self.info.finished = True
        self.save_info()
        shutil.rmtree(self.root / WORKING_FOLDER, ignore_errors=True)

    def discard(self) -> None:
        """Remove what this run, or the killed one before it, has written; never a finished dataset."""
        if self._keep_on_failure:
            return
        for frame_id in self.folder.frame_ids():
            shutil.rmtree(self.folder.paths(frame_id).folder)
        for name in (WORKING_FOLDER, ORIGINALS_FOLDER):
            shutil.rmtree(self.root / name, ignore_errors=True)
        for path in (self.folder.transforms, self.root / INFO_FILE):
            path.unlink(missing_ok=True)
        if self._is_new:
            self.root.rmdir()

    def save_info(self) -> None:
        """Write `dataset_info.json`."""
        with atomic_path(self.root / INFO_FILE) as partial:
            partial.write_text(json.dumps(asdict(self.info), indent=1), encoding="utf-8")

    # --- files of one frame ------------------------------------------------------------------------------

    @property
    def split_path(self) -> Path:
        """The default split."""
        return self.root / SPLIT_FILE

    def paths(self, frame_id: int) -> FramePaths:
        """The frame's files in the dataset."""
        return self.folder.paths(frame_id)

    def original_path(self, frame_id: int) -> Path:
        """The frame as it was in the video."""
        return self.root / ORIGINALS_FOLDER / f"original_{frame_id:04d}.png"

    def matte_path(self, frame_id: int) -> Path:
        """The frame's matte, 8 bit."""
        return self.root / WORKING_FOLDER / f"matte_{frame_id:04d}.png"

    def observation_path(self, frame_id: int) -> Path:
        """What `write_observation` writes."""
        return self.root / WORKING_FOLDER / f"face_{frame_id:04d}.npz"

    def write_observation(self, frame_id: int, observation: Observation) -> None:
        """Keep what the landmark step has found, exactly."""
        arrays = {} if observation.face is None else vars(observation.face)
        with atomic_path(self.observation_path(frame_id)) as partial:
            np.savez(partial, n_faces=observation.n_faces, **arrays)

    def read_observation(self, frame_id: int) -> Observation:
        """Read what `write_observation` has written."""
        with np.load(self.observation_path(frame_id), allow_pickle=False) as stored:
            arrays = dict(stored)
        n_faces = int(arrays.pop("n_faces"))
        return Observation(n_faces, Face(**arrays) if arrays else None)

    def _remove_partial_files(self) -> None:
        # A killed run leaves the file that it was writing; `atomic_path` names those like this.
        for pattern in (".*.part*", "*/.*.part*"):
            for path in self.root.glob(pattern):
                path.unlink()


def describe_video(path: Path, fps: float) -> dict[str, str | int | float]:
    """Name, size, fps and a fingerprint, enough to tell one video from another."""
    with path.open("rb") as stream:
        checksum = zlib.crc32(stream.read(_FINGERPRINT_BYTES))
    return {"name": path.name, "bytes": path.stat().st_size, "crc32_of_first_mib": checksum, "fps": fps}


def _read_info(path: Path) -> DatasetInfo | None:
    if not path.exists():
        return None
    try:
        return DatasetInfo(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UserError(f"'{path}' is not readable; delete the folder or choose another one") from error


def _check_same_dataset(root: Path, earlier: DatasetInfo, now: DatasetInfo) -> None:
    if {**earlier.video, "name": ""} != {**now.video, "name": ""}:
        raise UserError(
            f"'{root}' holds the dataset of {earlier.video['name']}; choose another output folder"
        )
    before, after = {**earlier.options, **earlier.estimators}, {**now.options, **now.estimators}
    differing = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    if differing:
        changes = ", ".join(f"{key} {before.get(key)} instead of {after.get(key)}" for key in differing)
        raise UserError(f"'{root}' was made with {changes}; use the same options or another output folder")
