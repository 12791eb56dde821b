"""Disk cache of decoded images as memory-mapped arrays.

Decoding the four PNG files of a 512 x 512 frame takes about 20 ms; reading them from the cache less than 1 ms.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nha.core.errors import UserError
from nha.core.output_folder import remove_partial_files
from nha.core.progress import progress
from nha.core.system import atomic_directory
from nha.data.dataset_folder import DatasetFolder, FramePaths, read_labels, read_rgb
from nha.data.messages import format_size, some_of

CACHE_FOLDER = ".nha_cache"
_FORMAT = "1"  # changing it invalidates existing caches
_STORE_NAME = re.compile(r"frames_[0-9a-f]{16}")
_SHOW_PROGRESS_FROM = 100  # frames


@dataclass(frozen=True)
class FrameImages:
    """Images of N frames, as in their files.

    Attributes:
        rgb: uint8 [N, 3, H, W].
        segmentation, parsing: uint8 [N, H, W], labels.
        normals: uint8 [N, 3, H, W], encoded as in the file.
    """

    rgb: np.ndarray
    segmentation: np.ndarray
    parsing: np.ndarray
    normals: np.ndarray


_NAMES = tuple(FrameImages.__dataclass_fields__)


def decode_images(paths: FramePaths) -> FrameImages:
    """Decode the images of one frame (N = 1). Raises UserError if they differ in size."""
    rgb, normals = read_rgb(paths.image), read_rgb(paths.normals)
    segmentation, parsing = read_labels(paths.segmentation), read_labels(paths.parsing)
    size = rgb.shape[:2]
    for path, image in (
        (paths.segmentation, segmentation),
        (paths.parsing, parsing),
        (paths.normals, normals),
    ):
        if image.shape[:2] != size:
            raise UserError(
                f"'{path}' is {format_size(image.shape)}, but its image is {format_size(size)}; "
                "delete the frame and run `nha preprocess` again"
            )
    return FrameImages(
        rgb=np.ascontiguousarray(rgb.transpose(2, 0, 1))[None],
        segmentation=segmentation[None],
        parsing=parsing[None],
        normals=np.ascontiguousarray(normals.transpose(2, 0, 1))[None],
    )


class FrameStore:
    """Images of frames of a dataset, by row.

    Args:
        folder: the dataset.
        frame_ids: the frames, one row each.
        cache: "auto" keeps decoded images in the dataset folder, or in the folder for temporary files if the
            former is not writable; "none" decodes every time; anything else is the folder of the cache. A cache
            is reused as long as no image file has changed.

    Raises:
        UserError: files of these frames are missing (they are listed), cannot be read, or differ in size.
    """

    def __init__(self, folder: DatasetFolder, frame_ids: Sequence[int], cache: str | Path = "auto"):
        check_files(folder, frame_ids)
        self.paths = [folder.paths(frame_id) for frame_id in frame_ids]
        first = decode_images(self.paths[0])
        self.image_size: tuple[int, int] = first.rgb.shape[2:]
        self.directory: Path | None = None
        self._arrays: FrameImages | None = None
        if str(cache) != "none":
            stamp = _stamp(self.paths)
            parent = _cache_parent(folder, cache, n_bytes=8 * first.parsing.size * len(self.paths))
            if parent is not None:
                self.directory = parent / f"frames_{stamp}"
                self._arrays = self._open_or_build()

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, rows: Sequence[int]) -> FrameImages:
        """Copies of the images in these rows."""
        rows = list(rows)
        if self._arrays is None:
            frames = [self._decode(row) for row in rows]
            return FrameImages(*(np.concatenate([getattr(f, name) for f in frames]) for name in _NAMES))
        return FrameImages(*(getattr(self._arrays, name)[rows] for name in _NAMES))

    def _decode(self, row: int) -> FrameImages:
        images = decode_images(self.paths[row])
        if images.rgb.shape[2:] != self.image_size:
            raise UserError(
                f"'{self.paths[row].image}' is {format_size(images.rgb.shape[2:])}, but the first frame is "
                f"{format_size(self.image_size)}; all frames of a dataset must have one size"
            )
        return images

    def _open_or_build(self) -> FrameImages | None:
        """None where another program, which reads other frames, has removed the new cache at once."""
        opened = self._open()
        if opened is None:
            self._build()
            opened = self._open()
        return opened

    def _open(self) -> FrameImages | None:
        try:
            return FrameImages(*(np.load(self.directory / f"{name}.npy", mmap_mode="r") for name in _NAMES))
        except (OSError, ValueError):
            return None

    def _build(self) -> None:
        height, width = self.image_size
        shapes = {"rgb": (3, height, width), "segmentation": (height, width), "parsing": (height, width)}
        shapes["normals"] = shapes["rgb"]
        _remove_stores(self.directory.parent)
        remove_partial_files(self.directory.parent)
        with atomic_directory(self.directory, _keep_first) as temporary:
            arrays = {
                name: np.lib.format.open_memmap(
                    temporary / f"{name}.npy", "w+", np.uint8, (len(self), *shapes[name])
                )
                for name in _NAMES
            }

            def copy_in(row: int) -> None:
                images = self._decode(row)
                for name in _NAMES:
                    arrays[name][row] = getattr(images, name)[0]

            with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding releases the interpreter lock
                done = pool.map(copy_in, range(len(self)))
                shown = len(self) >= _SHOW_PROGRESS_FROM
                for _ in progress(done, "decoding frames", len(self), shown=shown):
                    pass
            for array in arrays.values():
                array.flush()


def _keep_first(temporary: Path, path: Path) -> None:
    """Rename a finished cache; that of another program, which has built the same one meanwhile, is kept."""
    try:
        os.replace(temporary, path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def remove_caches(folder: DatasetFolder) -> None:
    """Remove the decoded images of a dataset from its folder."""
    cache = folder.root / CACHE_FOLDER
    if cache.is_dir():
        _remove_stores(cache)
        with contextlib.suppress(OSError):  # other files are in it
            cache.rmdir()


def _remove_stores(cache: Path) -> None:
    for folder in cache.iterdir():
        if _STORE_NAME.fullmatch(folder.name) and not folder.is_symlink():
            for name in _NAMES:  # a run that still reads a file keeps it open
                with contextlib.suppress(OSError):
                    (folder / f"{name}.npy").unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                folder.rmdir()


def check_files(folder: DatasetFolder, frame_ids: Sequence[int]) -> None:
    """Raise a UserError that lists the missing files of frames."""
    missing = [path for i in frame_ids for path in folder.paths(i).missing()]
    if missing:
        names = [str(path.relative_to(folder.root)) for path in missing]
        raise UserError(
            f"'{folder.root}' lacks {len(missing)} file{'s' * (len(missing) > 1)}: {some_of(names, 5)}; "
            "run `nha preprocess` again, or leave these frames out of the split"
        )


def _stamp(paths: Sequence[FramePaths]) -> str:
    """A hash that changes when an image file is added, removed or rewritten."""
    digest = hashlib.sha256(_FORMAT.encode())
    for frame in paths:
        for path in (frame.image, frame.segmentation, frame.parsing, frame.normals):
            status = path.stat()
            digest.update(f"{path.name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _cache_parent(folder: DatasetFolder, cache: str | Path, n_bytes: int) -> Path | None:
    """The folder for the cache: the first candidate that is writable and has room for twice its size."""
    if str(cache) != "auto":
        candidates = [Path(cache)]
    else:
        name = hashlib.sha256(os.fsencode(folder.root.resolve())).hexdigest()[:16]
        candidates = [folder.root / CACHE_FOLDER]
        with contextlib.suppress(OSError):  # there is no folder for temporary files
            candidates.append(Path(tempfile.gettempdir()) / f"nha_cache_{name}")
    for candidate in candidates:
        try:
            candidate.mkdir(parents=True, exist_ok=True)
            if os.access(candidate, os.W_OK) and shutil.disk_usage(candidate).free > 2 * n_bytes:
                return candidate
        except OSError:
            continue
    if str(cache) != "auto":
        raise UserError(f"cannot keep decoded frames in '{cache}'; choose another --frame_cache, or none")
    return None
