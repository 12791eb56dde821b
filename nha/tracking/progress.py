"""The tracker's files: results saved while it runs, and found again by the next run."""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nha.core.config import format_settings
from nha.core.errors import UserError
from nha.core.system import atomic_path, get_logger, require_writable
from nha.data.tracking_file import TRACKING_FILE_NAMES, TrackingResult, read_tracking, write_tracking
from nha.tracking.appearance import AlbedoSpace
from nha.tracking.frames import TrackingFrames
from nha.tracking.settings import TrackingSettings
from nha.tracking.state import Unknowns

RESULT_FILE = TRACKING_FILE_NAMES[0]
PROGRESS_FILE = "tracking_progress.json"
REPORT_FILE = "tracking_report.json"
VIDEO_FILE = "tracking.mp4"
PERSON_FILE = "tracking_person.npz"

_logger = get_logger(__name__)
# Settings that change neither the numbers nor their order, so that a run may be resumed with others.
_WITHOUT_INFLUENCE = {"save_period": 1, "frame_rate": 25.0, "video": True, "device": "auto"}


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    unknowns: of all F frames; n_processed: frames that are final, in the order in which the mode takes them;
    keyframes, without_landmarks, outliers: frame ids; seconds: spent so far, by stage.
    """

    unknowns: Unknowns
    n_processed: int
    keyframes: tuple[int, ...]
    without_landmarks: tuple[int, ...]
    outliers: tuple[int, ...]
    seconds: dict[str, float]

    def advanced(self, unknowns: Unknowns, n_processed: int, **seconds: float) -> Progress:
        """The progress after more frames; `seconds` are added to what their stage has taken before."""
        total = dict(self.seconds)
        for stage, spent in seconds.items():
            total[stage] = round(total.get(stage, 0.0) + spent, 3)
        return replace(self, unknowns=unknowns, n_processed=n_processed, seconds=total)


@dataclass(frozen=True)
class Person:
    """What the batched mode learns of a person beside the unknowns.

    albedo: the person's own; landmark_offsets: [70, 3] metres, see `DetectedLandmarks`.
    """

    albedo: AlbedoSpace
    landmark_offsets: Tensor


class RunFolder:
    """The output folder of one run with its settings."""

    def __init__(self, settings: TrackingSettings, frames: TrackingFrames) -> None:
        self.settings, self.frames = settings, frames
        self.folder = require_writable(settings.output_path)
        comparable = replace(settings, load_tracked_flame_params=None, **_WITHOUT_INFLUENCE)
        self.fingerprint = format_settings(comparable)

    @property
    def result(self) -> Path:
        return self.folder / RESULT_FILE

    @property
    def report(self) -> Path:
        return self.folder / REPORT_FILE

    @property
    def video(self) -> Path:
        return self.folder / VIDEO_FILE

    def save(self, progress: Progress) -> None:
        """Write the result and the progress, each atomically."""
        write_tracking(self.result, to_result(progress.unknowns, self.frames, progress.n_processed))
        notes = {
            # a run that is killed right here leaves notes that do not belong to the result
            "result_crc32": zlib.crc32(self.result.read_bytes()),
            "settings": self.fingerprint,
            "frame_ids": list(self.frames.frame_ids),
            "keyframes": list(progress.keyframes),
            "without_landmarks": list(progress.without_landmarks),
            "outliers": list(progress.outliers),
            "seconds": progress.seconds,
        }
        with atomic_path(self.folder / PROGRESS_FILE) as temporary:
            temporary.write_text(json.dumps(notes, indent=1), encoding="utf-8")

    def save_person(self, person: Person) -> None:
        """Keep what a resumed run must compare with as well."""
        with atomic_path(self.folder / PERSON_FILE) as temporary, open(temporary, "wb") as file:
            np.savez(
                file,
                albedo=person.albedo.mean.cpu().numpy(),
                n_components=person.albedo.n_components,
                landmark_offsets=person.landmark_offsets.numpy(),
            )

    def load_person(self) -> Person | None:
        """What was kept, or None where nothing (or nothing that is readable) was."""
        try:
            with open(self.folder / PERSON_FILE, "rb") as file:
                archive = np.load(file, allow_pickle=False)
                mean, count = torch.from_numpy(archive["albedo"]), int(archive["n_components"])
                offsets = torch.from_numpy(archive["landmark_offsets"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        return Person(AlbedoSpace(mean, mean.new_zeros(*mean.shape, count)), offsets)

    def load(self) -> Progress | None:
        """What an earlier run with the same settings on the same frames has left, or None."""
        given = self.settings.load_tracked_flame_params
        notes_file = self.folder / PROGRESS_FILE
        if not self.result.is_file() or not notes_file.is_file():
            return self._from_given(given) if given else None
        try:
            notes = json.loads(notes_file.read_text(encoding="utf-8"))
            same = notes["settings"] == self.fingerprint
            same = same and notes["frame_ids"] == list(self.frames.frame_ids)
            same = same and notes["result_crc32"] == zlib.crc32(self.result.read_bytes())
            result = read_tracking(self.result) if same else None
        except (ValueError, KeyError, TypeError, OSError, UserError):
            same, result = False, None
        if not same:
            _logger.info("%s is of another run; starting again", self.result)
            return self._from_given(given) if given else None
        return Progress(
            unknowns=from_result(result),
            n_processed=result.n_processed,
            keyframes=tuple(notes["keyframes"]),
            without_landmarks=tuple(notes["without_landmarks"]),
            outliers=tuple(notes["outliers"]),
            seconds=dict(notes["seconds"]),
        )

    def _from_given(self, path: Path) -> Progress:
        result = read_tracking(path)
        if result.image_size != self.frames.image_size or list(result.frame) != list(self.frames.frame_ids):
            raise UserError(
                f"'{path}' is not a tracking of '{self.settings.data_path}' at this size; leave out "
                "--load_tracked_flame_params"
            )
        return Progress(from_result(result), result.n_processed, (), (), (), {})


def to_result(unknowns: Unknowns, frames: TrackingFrames, n_processed: int) -> TrackingResult:
    """The tracker's unknowns as a tracking file holds them."""
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
    )


def from_result(result: TrackingResult) -> Unknowns:
    """The inverse of `to_result`; light is that of the first frame."""
    if result.K.shape != (3,):
        raise UserError("a tracking with a 3 x 3 camera cannot be gone on from; track the video anew")
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
