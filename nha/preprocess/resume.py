"""The output folder of a run: whether it belongs to this run, and which files a run leaves in it.

`stored_results.StoredResults` decides frame by frame which results are read from disk and which estimators must run.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from nha.core.errors import UserError
from nha.core.manifest import Manifest
from nha.core.output_folder import remove_partial_files
from nha.core.system import get_logger
from nha.data.dataset_folder import (
    DatasetFolder,
    FramePaths,
    read_transforms,
    write_keypoints,
    write_labels,
    write_rgb,
    write_transforms,
)
from nha.data.messages import some_of
from nha.data.splits import Split, write_split
from nha.data.video_io import VideoWriter
from nha.preprocess.crop import FrameTransform
from nha.preprocess.damage import DAMAGED_SUFFIX, can_check, is_readable
from nha.preprocess.dataset_info import INFO_FILE, DatasetInfo, check_same_dataset, read_info, write_info
from nha.preprocess.frame_job import FrameJob

ORIGINALS_FOLDER = "original_frames"
NO_FACE_FOLDER = "frames_without_face"
WORKING_FOLDER = ".preprocess"

_PARTIAL_INFO = re.compile(r"\.(dataset_info|\.manifest)\.\d+\.[0-9a-f]{8}\.part\.jsonl?")

_logger = get_logger(__name__)


class Workspace:
    """The output folder of a run. Only files in its manifest are replaced or removed.

    Attributes:
        root: the folder.
        folder: the same as a dataset folder.
        info: content of `dataset_info.json`.
        manifest: the files that were written here.
    """

    def __init__(self, root: Path, info: DatasetInfo, is_new: bool) -> None:
        self.root = root
        self.folder = DatasetFolder(root)
        self.info = info
        self.manifest = Manifest(root)
        self._is_new = is_new

    # --- locking and reuse ---------------------------------------------------------------------------------------

    @classmethod
    def open_for_run(cls, root: Path, info: DatasetInfo, is_new: bool) -> Workspace:
        """Take a folder that is empty, or that an earlier run with the same video and options has left.

        Args:
            root: the folder, which exists.
            info: record of this run.
            is_new: the folder was made for this run, and is removed if the run fails.

        Raises:
            UserError: the folder holds another dataset, or files that are not from this program.
        """
        earlier = read_info(root)
        if earlier is None:
            foreign = [path.name for path in root.iterdir() if not _PARTIAL_INFO.fullmatch(path.name)]
            if foreign:
                what = "frames" if DatasetFolder(root).frame_ids() else "files"
                raise UserError(
                    f"'{root}' already holds {what} from elsewhere ({some_of(sorted(foreign), 3)}); choose another "
                    "output folder"
                )
            workspace = cls(root, info, is_new)
            workspace.save_info()
            return workspace
        check_same_dataset(root, earlier, info)
        workspace = cls(root, earlier, is_new=False)
        if not earlier.finished:
            workspace._refuse_foreign_files()
        return workspace

    def is_complete(self) -> bool:
        """True if an earlier run has finished and no file has been removed since."""
        if not self.info.finished:
            return False
        expected = [self.folder.transforms, self.folder.overview_video, self.folder.default_split]
        for frame_id in self.info.ids_with_face():
            expected.extend(self.folder.paths(frame_id).files())
        return all(path.is_file() for path in expected)

    def reopen(self) -> None:
        """Prepare an incomplete dataset for more work; damaged files are set aside, so that they are made again."""
        remove_partial_files(self.root)
        if not self.manifest:
            self._adopt_files_of_earlier_versions()
        self.info.under_repair = self.info.under_repair or self.info.finished
        self.info.finished = False
        self.save_info()
        for folder in sorted((self.root / NO_FACE_FOLDER).glob("frame_*")):
            self._move_frame(folder, self.root / folder.name)
        self._set_damaged_files_aside()

    def finish(self) -> None:
        """Move frames without a face aside, remove working files and record that the dataset is finished."""
        for frame_id in self.info.frames_without_face or ():
            source = self.folder.paths(frame_id).folder
            if source.exists():
                self._move_frame(source, self.root / NO_FACE_FOLDER / source.name)
        self.info.finished, self.info.under_repair = True, False
        self.save_info()
        self._forget(self._working_files())

    def remove_working_files(self) -> None:
        """Remove the working files of a finished dataset; a run that was killed at its end has left them."""
        if working := self._working_files():
            remove_partial_files(self.root)
            self._forget(working)

    def _working_files(self) -> list[str]:
        return [name for name in self.manifest.names if name.startswith(f"{WORKING_FOLDER}/")]

    def _forget(self, names: list[str]) -> None:
        self.manifest.remove_own(names)
        self.manifest.compact()

    def discard(self) -> None:
        """Remove what this run, or the interrupted one before it, has written; never a finished dataset."""
        if self.info.under_repair:
            return
        self.manifest.remove_own()
        for path in (self.root / INFO_FILE, self.manifest.path):
            path.unlink(missing_ok=True)
        if self._is_new:
            with contextlib.suppress(OSError):  # another program has written to it meanwhile
                self.root.rmdir()

    def _refuse_foreign_files(self) -> None:
        """Raise UserError where a file lies in the place of one that this run is still to write."""
        places = [self.folder.overview_video, self.folder.default_split, self.folder.transforms]
        places += (self.root / NO_FACE_FOLDER).glob("frame_*/*")
        foreign = [path for path in places if path.exists() and not self.manifest.is_recorded(path)]
        if foreign and self.manifest:  # datasets of earlier versions have no manifest
            raise UserError(
                f"'{foreign[0]}' is not from this run; move it to another folder, or choose another output folder"
            )

    def _adopt_files_of_earlier_versions(self) -> None:
        """Record what lies in the place of the run's files: datasets of earlier versions have no manifest."""
        for pattern in (
            "frame_*/*_*.*",
            f"{NO_FACE_FOLDER}/frame_*/*_*.*",
            f"{WORKING_FOLDER}/*_*.*",
            "transforms.json",
        ):
            for path in self.root.glob(pattern):
                if can_check(path) and path.is_file():
                    self.manifest.add(path)

    def _move_frame(self, source: Path, target: Path) -> None:
        """Move the own files of a frame folder, and the folder itself if it holds no others."""
        for path in sorted(source.iterdir()):
            if self.manifest.is_recorded(path) and not (target / path.name).exists():
                target.parent.mkdir(exist_ok=True)
                self.manifest.move(path, target / path.name)
        for folder in (source, source.parent):
            if folder != self.root:
                with contextlib.suppress(OSError):  # not empty
                    folder.rmdir()

    def _set_damaged_files_aside(self) -> None:
        """Rename files that cannot be read, so that only their frames are processed again."""
        damaged = [path for path in self._stored_files() if self._is_damaged(path)]
        for path in damaged:
            path.replace(path.with_name(path.name + DAMAGED_SUFFIX))
        if damaged:
            names = some_of([path.relative_to(self.root).as_posix() for path in damaged], 3)
            _logger.warning("damaged, and made again: %s (kept with the ending %s)", names, DAMAGED_SUFFIX)

    def _is_damaged(self, path: Path) -> bool:
        if self.manifest.owns(path):
            return False
        # a finished dataset may have been edited, an unfinished one not
        was_edited = self.info.under_repair or not self.manifest.is_recorded(path)
        return not (was_edited and is_readable(path))

    def _stored_files(self) -> list[Path]:
        """The files of the dataset that exist and that a run would take as finished."""
        files = [self.folder.transforms, self.folder.default_split, self.folder.overview_video]
        for frame_id in self.folder.frame_ids():
            files += self.folder.paths(frame_id).files()
        for folder, pattern in (
            (WORKING_FOLDER, "face_*.npz"),
            (WORKING_FOLDER, "matte_*.png"),
            (ORIGINALS_FOLDER, "*.png"),
        ):
            files += (path for path in (self.root / folder).glob(pattern) if self.manifest.is_recorded(path))
        return [path for path in files if path.exists() and can_check(path)]

    def save_info(self) -> None:
        """Write `dataset_info.json`."""
        write_info(self.root, self.info)
        self.manifest.add(self.root / INFO_FILE)

    # --- files of the whole dataset ----------------------------------------------------------------------

    def transform(self, choose: Callable[[], FrameTransform]) -> FrameTransform:
        """The recorded transform of the frames; `choose` makes a new one, which is recorded, if there is none."""
        path = self.folder.transforms
        if path.exists():
            return FrameTransform.from_json(read_transforms(path))
        transform = choose()
        write_transforms(path, transform.to_json())
        return transform

    def overview_writer(self) -> AbstractContextManager[VideoWriter | None]:
        """A writer for the overview video, or None if the video exists."""
        path = self.folder.overview_video
        if path.exists():
            return nullcontext()
        return VideoWriter(path, float(self.info.video["fps"]), preset="ultrafast")

    def store_split(self, split: Split) -> None:
        """Write the default split unless there is one."""
        if not self.folder.default_split.exists():
            write_split(self.folder.default_split, split)

    # --- files of one frame ------------------------------------------------------------------------------

    def paths(self, frame_id: int) -> FramePaths:
        """The files of a frame in the dataset."""
        return self.folder.paths(frame_id)

    def result_path(self, annotation: str, frame_id: int) -> Path:
        """The file that the result of an estimator is stored in."""
        paths = self.folder.paths(frame_id)
        return {
            "landmarks": self.root / WORKING_FOLDER / f"face_{frame_id:04d}.npz",
            "iris": paths.keypoints,
            "matting": self.root / WORKING_FOLDER / f"matte_{frame_id:04d}.png",
            "parsing": paths.parsing,
            "normals": paths.normals,
        }[annotation]

    def store_frame(self, job: FrameJob) -> None:
        """Write the images and annotations of a frame that are not stored yet."""
        for path, content, write in (
            (self.root / ORIGINALS_FOLDER / f"original_{job.frame_id:04d}.png", job.original, write_rgb),
            (job.paths.image, job.frame.rgb, write_rgb),
            (self.result_path("matting", job.frame_id), job.matte, write_labels),
            (job.paths.keypoints, job.keypoints, write_keypoints),
            (job.paths.parsing, job.parsing, write_labels),
            (job.paths.segmentation, job.segmentation, write_labels),
            (job.paths.normals, job.normals, write_rgb),
        ):
            if content is not None:
                store(path, content, write)


def store(path: Path, content: Any, write: Callable[[Path, Any], None]) -> None:
    """Write a file unless it exists."""
    if not path.exists():
        write(path, content)
