"""Compares two avatars on frames that neither was trained on: scores side by side, images, JSON, a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nha.avatar.base import HeadAvatar
from nha.avatar.checkpoint import AvatarCheckpoint, checkpoint_file, read_checkpoint
from nha.avatar.matching import tracking_for_avatar
from nha.avatar.open import load_avatar
from nha.avatar.training_record import recorded_file, recorded_split, trained_on_dataset
from nha.core.device import pick_device
from nha.core.errors import UserError
from nha.core.json_file import undefined_as_null, write_json
from nha.core.names import distinct_names
from nha.core.output_folder import own_folder, require_own
from nha.core.system import require_writable
from nha.core.tables import Table
from nha.data.dataset_folder import DatasetFolder, write_rgb
from nha.data.frame_dataset import FrameSplits
from nha.data.settings import DataSettings
from nha.data.splits import Split, read_split
from nha.data.tracking_file import read_tracking
from nha.evaluation.avatar_evaluation import AvatarOnDataset, EvaluatedAvatar
from nha.evaluation.avatar_report import representative_images, write_avatar_report
from nha.evaluation.optional_metrics import open_optional_metrics
from nha.evaluation.run import REPORT_FILE, score_avatar
from nha.evaluation.scores import FrameScores, means
from nha.evaluation.settings import ComparisonSettings
from nha.render.rasterize import raster_backend
from nha.visualization.layout import grid

JSON_FILE, SHEET_FILE = "comparison.json", "comparison.png"
LOWER_IS_BETTER = frozenset({"l1", "l2", "lpips", "landmark_px"})
_NOT_COMPARED = frozenset({"cpbd", "true_cpbd"})  # sharper than the video is not better
_EQUAL = 5e-5  # differences that the table would show as zero


@dataclass(frozen=True)
class ComparedAvatars:
    """The result of a comparison.

    Attributes:
        names: of both avatars, as in the table.
        scores: of the same frames for each avatar.
        out: folder of the files below.
        report, sheet, json: HTML report, image sheet, and all figures.
    """

    names: Sequence[str]
    scores: Sequence[Sequence[FrameScores]]
    out: Path
    report: Path
    sheet: Path
    json: Path

    @property
    def means(self) -> list[dict[str, float]]:
        """Mean scores over the frames, by metric, of each avatar."""
        return [means(frames)["held_out"] for frames in self.scores]

    def better(self, metric: str) -> str:
        """The name of the avatar with the better mean; "" where they are equal."""
        difference = _gain(metric, *(values[metric] for values in self.means))
        if not abs(difference) > _EQUAL:
            return ""
        return self.names[int(difference > 0)]

    def wins(self, metric: str = "head_psnr") -> int:
        """Number of frames in which the second avatar is better."""
        pairs = zip(*self.scores, strict=True)
        return sum(_gain(metric, a.scores[metric], b.scores[metric]) > 0 for a, b in pairs)

    def table(self) -> Table:
        """The means side by side."""
        first, second = self.means
        rows = [
            (metric, first[metric], second[metric], second[metric] - first[metric], self.better(metric))
            for metric in first
            if metric not in _NOT_COMPARED
        ]
        count = len(self.scores[0])
        note = (
            f"{count} frames that neither was trained on; {self.names[1]} has the higher head_psnr in {self.wins()} of "
            "them"
        )
        return Table(("mean over frames", *self.names, "difference", "better"), rows, digits=4, notes=[note])


def compare_avatars(settings: ComparisonSettings) -> ComparedAvatars:
    """Score two avatars on the same held-out frames and write scores, images and a report.

    Raises:
        UserError: the avatars were not trained on the same video, no common frames are left, or files are missing.
    """
    settings.check()
    paths = [find_checkpoint(path) for path in (settings.avatar, settings.other)]
    names = distinct_names(paths, "the avatar")
    checkpoints = [read_checkpoint(path) for path in paths]
    folder = DatasetFolder.open(_dataset(settings, checkpoints[0], paths[0]))
    for name, checkpoint in zip(names, checkpoints, strict=True):
        if trained_on_dataset(checkpoint.trained_on, folder) is False:
            raise UserError(
                f"'{name}' was not trained on the frames of '{folder.root}' (another video, or another crop of it): "
                "name the dataset that both were trained on with --dataset"
            )
    trackings = [_tracking(settings, i, checkpoints, paths) for i in range(2)]
    frame_ids = common_frames(folder, checkpoints, trackings, settings.max_frames)
    device = pick_device(settings.device)
    optional = open_optional_metrics(device)
    out = require_own(settings.out or paths[0].parent / "comparison")
    with raster_backend(settings.raster_backend), own_folder(out):
        evaluated = []
        for name, path, checkpoint, tracking in zip(names, paths, checkpoints, trackings, strict=True):
            avatar = load_avatar(path, device=device)
            data = _frames(folder, tracking, avatar, checkpoint.trained_on, frame_ids)
            subject = AvatarOnDataset(name, path, avatar, data)
            place = require_writable(out / name)
            scored = score_avatar(subject, place, ("held_out",), optional, batch_size=settings.batch_size)
            evaluated.append(EvaluatedAvatar(subject, scored))
        return _write(out, evaluated, write_avatar_report(out / REPORT_FILE, evaluated, optional))


def find_checkpoint(path: Path) -> Path:
    """The checkpoint of an avatar: the file, `avatar.ckpt` in the folder, or in the folder `avatar` of `nha make`."""
    inside = path / "avatar"
    if inside.is_dir() and not any(path.glob("*.ckpt")):
        path = inside
    return checkpoint_file(path)


def common_frames(
    folder: DatasetFolder,
    checkpoints: Sequence[AvatarCheckpoint],
    trackings: Sequence[Path],
    max_frames: int = 0,
) -> list[int]:
    """Frames that both avatars hold out and whose poses are tracked for both.

    An avatar that does not record its split holds out those of the dataset.

    Args:
        folder: the dataset.
        checkpoints: of both avatars.
        trackings: of both avatars.
        max_frames: at most that many, spread; 0 takes all.

    Raises:
        UserError: no frame is left.
    """
    own = read_split(folder.default_split) if folder.default_split.is_file() else Split((), ())
    splits = [recorded_split(checkpoint.trained_on) or own for checkpoint in checkpoints]
    held_out = set(folder.frame_ids()).intersection(*(split.val for split in splits))
    trained = {frame_id for split in splits for frame_id in split.train}
    tracked = set.intersection(*(set(read_tracking(path).frame.tolist()) for path in trackings))
    found = sorted((held_out & tracked) - trained)
    if not found:
        raise UserError(
            f"no frame of '{folder.root}' is held out by both avatars: train them with the same split (--split_config)"
        )
    if 0 < max_frames < len(found):
        found = [found[len(found) * i // max_frames] for i in range(max_frames)]
    return found


def _dataset(settings: ComparisonSettings, checkpoint: AvatarCheckpoint, path: Path) -> Path:
    found = settings.dataset or recorded_file(
        checkpoint.trained_on, checkpoint.hyper_parameters, "dataset", path
    )
    if found is None:
        raise UserError(f"the dataset of '{path}' is not at its recorded place; name it with --dataset")
    return found


def _tracking(
    settings: ComparisonSettings, number: int, checkpoints: Sequence[AvatarCheckpoint], paths: Sequence[Path]
) -> Path:
    """The tracking of an avatar: as given, as recorded."""
    if settings.tracking:
        return settings.tracking[min(number, len(settings.tracking) - 1)]
    checkpoint = checkpoints[number]
    found = recorded_file(checkpoint.trained_on, checkpoint.hyper_parameters, "tracking", paths[number])
    if found is None:
        raise UserError(
            f"the tracking of '{paths[number]}' is not at its recorded place; name it with --tracking"
        )
    return found


def _frames(
    folder: DatasetFolder,
    tracking: Path,
    avatar: HeadAvatar,
    record: Mapping[str, Any],
    frame_ids: Sequence[int],
) -> FrameSplits:
    return FrameSplits(
        DataSettings(folder.root, tracking),
        lambda tracked: tracking_for_avatar(tracked, avatar.head, dict(record), tracking),
        Split((), tuple(frame_ids)),
    )


def _write(out: Path, evaluated: Sequence[EvaluatedAvatar], report: Path) -> ComparedAvatars:
    """Write the image sheet and the figures."""
    subjects = [one.subject for one in evaluated]
    scores = [one.evaluation.scores for one in evaluated]
    images = representative_images(subjects, scores)
    write_rgb(out / SHEET_FILE, grid([[image] for _, image in images]))
    result = ComparedAvatars(
        [one.name for one in evaluated], scores, out, report, out / SHEET_FILE, out / JSON_FILE
    )
    content = {
        "avatars": {subject.name: str(subject.checkpoint) for subject in subjects},
        "dataset": str(subjects[0].data.settings.data_path),
        "frames": [frame.frame_id for frame in scores[0]],
        "mean": dict(zip(result.names, undefined_as_null(result.means), strict=True)),
        "better": {
            metric: result.better(metric) for metric in result.means[0] if metric not in _NOT_COMPARED
        },
        "second_better_in_frames": result.wins(),
        "images": [caption for caption, _ in images],
    }
    write_json(result.json, content)
    return result


def _gain(metric: str, first: float, second: float) -> float:
    """By how much the second is better than the first."""
    return first - second if metric in LOWER_IS_BETTER or metric.endswith(("_l1", "_l2")) else second - first
