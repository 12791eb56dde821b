"""A tracking run's output folder: results are saved while it runs, and a later run continues from them."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nha.core.config import different_settings, format_settings
from nha.core.errors import UserError
from nha.core.json_file import read_json_object, write_json
from nha.core.system import atomic_path, get_logger
from nha.data.dataset_folder import DatasetFolder
from nha.data.origin import TrackingOrigin
from nha.data.tracking_file import TrackingResult, read_tracking, write_tracking
from nha.tracking import output_files as files
from nha.tracking.appearance import AlbedoSpace
from nha.tracking.frames import TrackingFrames
from nha.tracking.settings import TrackingSettings
from nha.tracking.state import Unknowns

_logger = get_logger(__name__)
# Settings that do not change the numbers: a run may be resumed with other values.
_WITHOUT_INFLUENCE = {
    "save_period": 1,
    "frame_rate": 25.0,
    "video": True,
    "device": "auto",
    "raster_backend": "auto",
    "resume": True,
}


@dataclass(frozen=True)
class Progress:
    """The state of a run.

    Attributes:
        unknowns: of all F frames.
        n_processed: frames that are final, in the order in which the mode takes them.
        keyframes: frame ids.
        without_landmarks: frame ids.
        outliers: ids of frames whose landmarks were rejected.
        seconds: time spent so far, by stage.
    """

    unknowns: Unknowns
    n_processed: int
    keyframes: tuple[int, ...]
    without_landmarks: tuple[int, ...]
    outliers: tuple[int, ...]
    seconds: dict[str, float]

    @classmethod
    def started(
        cls,
        frames: TrackingFrames,
        unknowns: Unknowns,
        keyframe_rows: Sequence[int],
        outlier_rows: Sequence[int],
        seconds: dict[str, float],
        n_processed: int = 0,
    ) -> Progress:
        """The progress after what the frames share was found; rows are row numbers of `frames`."""
        return cls(
            unknowns=unknowns,
            n_processed=n_processed,
            keyframes=frames.ids_of(keyframe_rows),
            without_landmarks=frames.ids_of(torch.nonzero(~frames.has_landmarks)[:, 0]),
            outliers=frames.ids_of(outlier_rows),
            seconds=seconds,
        )

    def advanced(self, unknowns: Unknowns, n_processed: int, seconds: Mapping[str, float]) -> Progress:
        """The progress after more frames; `seconds` are added to those of their stages."""
        total = dict(self.seconds)
        for stage, spent in seconds.items():
            total[stage] = round(total.get(stage, 0.0) + spent, 3)
        return replace(self, unknowns=unknowns, n_processed=n_processed, seconds=total)


@dataclass(frozen=True)
class Person:
    """What the batched mode finds about a person beside the unknowns.

    Attributes:
        albedo: the person's own albedo, as a space without directions.
        landmark_offsets: [70, 3] metres, see `reprojection.DetectedLandmarks`.
    """

    albedo: AlbedoSpace
    landmark_offsets: Tensor


class RunFolder:
    """The output folder of one run, with its settings and frames."""

    def __init__(self, settings: TrackingSettings, frames: TrackingFrames) -> None:
        self.settings, self.frames = settings, frames
        self.folder = files.require_own_output(settings.output_path)
        comparable = replace(settings, load_tracked_flame_params=None, **_WITHOUT_INFLUENCE)
        self.fingerprint = format_settings(comparable)
        self.origin = TrackingOrigin.of(DatasetFolder(settings.data_path), frames.frame_ids)
        self.inputs = frames.input_digest

    def set_head(self, identity: Mapping[str, str]) -> None:
        """Record the head model (`HeadAssets.identity`) that the results belong to."""
        self.origin = replace(self.origin, head=dict(identity))

    @property
    def result(self) -> Path:
        return self.folder / files.RESULT_FILE

    @property
    def report(self) -> Path:
        return self.folder / files.REPORT_FILE

    @property
    def video(self) -> Path:
        return self.folder / files.VIDEO_FILE

    def save(self, progress: Progress) -> None:
        """Write the result and the progress, each atomically."""
        write_tracking(
            self.result, to_result(progress.unknowns, self.frames, progress.n_processed, self.origin)
        )
        record = {
            # if the run is stopped between both files, the checksum shows that they do not belong together
            "result_crc32": zlib.crc32(self.result.read_bytes()),
            "settings": self.fingerprint,
            "inputs": self.inputs,
            "frame_ids": list(self.frames.frame_ids),
            "keyframes": list(progress.keyframes),
            "without_landmarks": list(progress.without_landmarks),
            "outliers": list(progress.outliers),
            "seconds": progress.seconds,
        }
        write_json(self.folder / files.PROGRESS_FILE, record)

    def save_person(self, person: Person) -> None:
        """Write what a resumed run needs beside the unknowns."""
        with atomic_path(self.folder / files.PERSON_FILE) as temporary, open(temporary, "wb") as file:
            np.savez(
                file,
                albedo=person.albedo.mean.cpu().numpy(),
                n_components=person.albedo.n_components,
                landmark_offsets=person.landmark_offsets.numpy(),
            )

    def load_person(self) -> Person | None:
        """What `save_person` wrote, or None where there is nothing readable."""
        try:
            with open(self.folder / files.PERSON_FILE, "rb") as file:
                archive = np.load(file, allow_pickle=False)
                mean, count = torch.from_numpy(archive["albedo"]), int(archive["n_components"])
                offsets = torch.from_numpy(archive["landmark_offsets"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        return Person(AlbedoSpace(mean, mean.new_zeros(*mean.shape, count)), offsets)

    def load(self) -> Progress | None:
        """The progress of an earlier run with the same settings and frames, or None.

        Raises:
            UserError: the folder holds the result of another run.
        """
        given = self.settings.load_tracked_flame_params
        if not self.settings.resume or not self.result.is_file():
            return self._from_given(given) if given else None
        record = self._record()
        if other := self._difference(record):
            raise UserError(
                f"'{self.folder}' holds a tracking {other}; choose another --out, or start it again with --resume false"
            )
        try:
            same = record["result_crc32"] == zlib.crc32(self.result.read_bytes())
            result = read_tracking(self.result) if same else None
        except (OSError, UserError):
            result = None
        if result is None:  # the run was stopped between both files
            _logger.info("%s and %s do not belong together; starting anew", self.result, files.PROGRESS_FILE)
            return self._from_given(given) if given else None
        return Progress(
            unknowns=from_result(result),
            n_processed=result.n_processed,
            keyframes=tuple(record["keyframes"]),
            without_landmarks=tuple(record["without_landmarks"]),
            outliers=tuple(record["outliers"]),
            seconds=dict(record["seconds"]),
        )

    def _record(self) -> dict[str, Any]:
        """The content of the progress file; {} where it is missing or damaged."""
        return read_json_object(self.folder / files.PROGRESS_FILE)

    def _difference(self, record: Mapping[str, Any]) -> str:
        """How the folder's run differs from this one, to follow "a tracking"; "" where it does not."""
        if "settings" not in record:
            return f"of another program or version ({files.RESULT_FILE} without {files.PROGRESS_FILE})"
        same_video = self._recorded_origin().same_video(self.origin)
        if same_video is False:
            return "of another video"
        # a folder may be moved; files of earlier versions do not name their video
        ignored = ("output_path", "data_path") if same_video else ("output_path",)
        if differing := different_settings(record["settings"], self.fingerprint, ignored):
            return f"with other settings ({', '.join(differing[:4])})"
        if record.get("frame_ids") != list(self.frames.frame_ids):
            return "of other frames"
        if record.get("inputs", self.inputs) != self.inputs:  # earlier versions recorded none
            return "of files that have changed since (images, landmarks or parsing)"
        return ""

    def _recorded_origin(self) -> TrackingOrigin:
        try:
            return read_tracking(self.result).origin
        except UserError:
            return TrackingOrigin()

    def _from_given(self, path: Path) -> Progress:
        result = read_tracking(path)
        if result.image_size != self.frames.image_size or list(result.frame) != list(self.frames.frame_ids):
            raise UserError(
                f"'{path}' was not tracked on '{self.settings.data_path}' at this image size; leave out "
                "--load_tracked_flame_params"
            )
        return Progress(from_result(result), result.n_processed, (), (), (), {})


def to_result(
    unknowns: Unknowns,
    frames: TrackingFrames,
    n_processed: int,
    origin: TrackingOrigin | None = None,
) -> TrackingResult:
    """The content of a tracking file."""
    u = Unknowns(**{name: value.detach().cpu() for name, value in vars(unknowns).items()})
    return TrackingResult(
        frame=np.asarray(frames.frame_ids, np.int64),
        rotation=u.rotation.numpy(),
        translation=u.translation.numpy(),
        neck_pose=u.neck.numpy(),
        jaw_pose=u.jaw.numpy(),
        eyes_pose=u.eyes.numpy(),
        shape=u.shape.numpy(),
        expr=u.expr.numpy(),
        texture=u.texture.numpy(),
        light=u.light.expand(len(u), -1, -1).numpy(),
        K=u.focal_and_centre.numpy(),
        RT=np.eye(3, 4, dtype=np.float32),
        image_size=frames.image_size,
        view=tuple(path.image.name for path in frames.paths),
        n_processed=n_processed,
        origin=origin or TrackingOrigin(),
    )


def from_result(result: TrackingResult) -> Unknowns:
    """The unknowns in a tracking file, with the light of the first frame."""
    if result.K.shape != (3,):
        raise UserError("a tracking file with a 3 x 3 camera cannot be continued; track the video anew")
    arrays = {
        "expr": result.expr,
        "rotation": result.rotation,
        "translation": result.translation,
        "neck": result.neck_pose,
        "jaw": result.jaw_pose,
        "eyes": result.eyes_pose,
        "shape": result.shape,
        "texture": result.texture,
        "light": result.light[0],
        "focal_and_centre": result.K,
    }
    return Unknowns(**{name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})
