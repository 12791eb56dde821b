"""The pipeline as functions: what `import nha` offers. Each function imports its packages when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch.nn import Module

    from nha.avatar.base import HeadAvatar
    from nha.data.tracked_video import Tracking
    from nha.losses.terms import Term
    from nha.pipeline.make import MadeAvatar


def make(
    video: str | Path,
    out: str | Path | None = None,
    *,
    quality: str = "standard",
    head: str | Path = "auto",
    **settings: Any,
) -> MadeAvatar:
    """Make an avatar of the person in a video: dataset, tracking, training, evaluation, export, and a verdict.

    An interrupted run continues when it is called again with the same arguments.

    Args:
        video: video of one person, in any format that FFmpeg reads.
        out: output folder; None is the video's name in the folder `experiments`.
        quality: "draft", "standard" or "best", see `nha.pipeline.settings.QUALITIES`.
        head: head model: auto, flame, procedural or a folder.
        settings: further settings of `nha make`, such as `every`, `max_frames` or `device`.

    Returns:
        The result: `avatar` is the checkpoint, `verdict` the judgement in words, `report` the HTML report, `files` the
        other paths (turntable video, GLB, page).

    Raises:
        UserError: for unusable input, a missing package, or a wrong setting.
    """
    from nha.pipeline.make import make_avatar
    from nha.pipeline.settings import MakeSettings

    folder = {} if out is None else {"out": out}
    return make_avatar(
        MakeSettings.from_ini(video=video, quality=quality, head=str(head), **folder, **settings)
    )


def preprocess(video: str | Path, out: str | Path, **settings: Any) -> Path:
    """Turn a portrait video into a dataset folder: frames [H, W, 3], landmarks, parsing, masks and normals.

    An interrupted run continues when it is called again with the same arguments.

    Args:
        video: video of one person, in any format that FFmpeg reads.
        out: dataset folder to write.
        settings: further settings of `nha preprocess`, such as `scale` (longer edge of the frames in pixels) or
            `crop_to_head`.

    Returns:
        Path of the dataset folder.

    Raises:
        UserError: for unusable input, or a wrong setting (the message names the nearest).
    """
    from nha.preprocess.options import PreprocessOptions
    from nha.preprocess.pipeline import build_dataset

    options = PreprocessOptions.from_ini(video=video, out=out, **settings)
    return build_dataset(options)


def track(
    dataset: str | Path,
    out: str | Path,
    *,
    head: str | Path = "auto",
    config: str | Path | None = None,
    **settings: Any,
) -> Tracking:
    """Fit a head model to every frame of a dataset.

    Args:
        dataset: dataset folder.
        out: output folder: tracking file, report and video.
        head: head model: auto, flame, procedural or a folder.
        config: INI file with further settings, or a short name such as "tracking".
        settings: further settings of `nha track`, such as `mode` or `device`.

    Returns:
        The tracking; `params(frame_id)` gives `HeadParams` with a leading dimension of 1, `camera(frame_id)` a camera.

    Raises:
        UserError: for a dataset that cannot be tracked, or a wrong setting.
    """
    from nha.tracking.settings import TrackingSettings
    from nha.tracking.tracker import track_dataset

    return track_dataset(TrackingSettings.from_ini(config, dataset=dataset, out=out, head=head, **settings))


def train(
    dataset: str | Path,
    tracking: str | Path | Tracking,
    out: str | Path,
    *,
    config: str | Path | None = "blend",
    extra_terms: Term | Iterable[Term] = (),
    texture_net: Module | None = None,
    offset_net: Module | None = None,
    **settings: Any,
) -> HeadAvatar:
    """Fit a neural head avatar to a tracked video, in three stages: geometry, texture, joint.

    An interrupted run continues when it is called again with the same arguments.

    Args:
        dataset: dataset folder.
        tracking: tracking of this dataset.
        out: output folder: `avatar.ckpt`, training checkpoints and logs.
        config: INI file with further settings, or a short name: "blend" is our model; "optimize_avatar", and None, are
            the published one.
        extra_terms: further loss terms, each with a weight of its own (`nha.losses.terms.Term`).
        texture_net: network in place of the published one, with the interface of
            `nha.nets.texture_net.TextureNet.forward`: P surface points [P, 3 + F] and their conditions give [P, 3].
        offset_net: the same for `nha.nets.offset_net.OffsetNet.forward`, which gives offsets [N, V, 3] in metres.
        settings: further settings of `nha train`, such as `epochs_offset` or `device`.

    Returns:
        The avatar in evaluation mode, on the CPU. Its `render` returns images [N, 3, H, W] in 0..1.

    Raises:
        UserError: for data that do not fit each other, or a wrong setting.
    """
    from nha.avatar.open import load_avatar
    from nha.core.arguments import list_of, require_network
    from nha.core.errors import UserError
    from nha.losses.terms import Term
    from nha.nets.offset_net import OffsetNet
    from nha.nets.texture_net import TextureNet
    from nha.optimization.config import OptimizationSettings
    from nha.optimization.run import optimize_avatar as optimize

    chosen = OptimizationSettings.from_ini(config, dataset=dataset, tracking=tracking, out=out, **settings)
    chosen.check()
    require_network(texture_net, TextureNet, "texture_net")
    require_network(offset_net, OffsetNet, "offset_net")
    networks = {"texture_net": texture_net, "offset_net": offset_net}
    if chosen.avatar.model == "blend" and any(net is not None for net in networks.values()):
        raise UserError(
            'the blend model has no networks that can be replaced; pass config="optimize_avatar" or "demo"'
        )
    result = optimize(chosen, extra_terms=list_of(Term, extra_terms, "extra_terms"), **networks)
    return load_avatar(result.avatar_path, head=chosen.run.head, **networks)


optimize_avatar = train


def evaluate(
    avatar: str | Path,
    dataset: str | Path,
    tracking: str | Path | Tracking,
    out: str | Path | None = None,
    **settings: Any,
) -> dict[str, dict[str, float]]:
    """Score an avatar on the frames of a dataset; writes scores, videos and an HTML report.

    Args:
        avatar: checkpoint file.
        dataset: dataset folder.
        tracking: tracking of this dataset.
        out: output folder; None is the folder `evaluation` beside the checkpoint.
        settings: further settings of `nha evaluate`, such as `split`, `novel_views` or `turntable`.

    Returns:
        Mean scores by part of the split ("train", "held_out") and metric; `scores.json` has those of every frame.

    Raises:
        UserError: for data that do not fit each other, or a wrong setting.
    """
    from nha.evaluation.run import evaluate_avatar
    from nha.evaluation.settings import EvaluationSettings

    folder = {} if out is None else {"out": out}
    chosen = EvaluationSettings.from_ini(
        avatar=[avatar], dataset=dataset, tracking=tracking, **folder, **settings
    )
    (means,) = evaluate_avatar(chosen).means.values()
    return means


def reenact(
    avatar: str | Path,
    tracking: str | Path | Tracking,
    out: str | Path,
    *,
    driving_tracking: str | Path | Tracking | None = None,
    driving_video: str | Path | None = None,
    **settings: Any,
) -> list[Path]:
    """Animate an avatar with another person's motion and write three videos of images [H, W, 3].

    Args:
        avatar: checkpoint of the avatar that is animated.
        tracking: tracking of this avatar's video.
        out: output folder.
        driving_tracking: tracking of the driving video.
        driving_video: the driving video; without `driving_tracking` it is preprocessed and tracked first.
        settings: further settings of `nha reenact`, such as `keep_pose` or `background`.

    Returns:
        Paths of the videos: the animated avatar, the driving person, and both side by side.

    Raises:
        UserError: for files that are missing or do not fit each other, or a wrong setting.
    """
    from nha.pipeline.driving_videos import track_driving_videos
    from nha.reenactment.run import reenact_avatar
    from nha.reenactment.settings import ReenactmentSettings

    driving = {
        key: [value]
        for key, value in (("driving_tracking_results", driving_tracking), ("driving_video", driving_video))
        if value is not None
    }
    chosen = ReenactmentSettings.from_ini(avatar=avatar, tracking=tracking, out=out, **driving, **settings)
    return [path for files in reenact_avatar(track_driving_videos(chosen)) for path in files]


def export(
    avatar: HeadAvatar | str | Path,
    out: str | Path,
    *,
    tracking: str | Path | Tracking | None = None,
    **settings: Any,
) -> list[Path]:
    """Write an avatar as files for other programs: OBJ, PLY, GLB and head parameters (metres, +y up).

    Args:
        avatar: an open avatar, or the path of a checkpoint.
        out: output folder.
        tracking: tracking of the avatar's video: the person's shape, the frames, the animation. None takes for a
            checkpoint the file that it was trained with, if it still exists, and for an open avatar none.
        settings: further settings of `nha export`, such as `formats`, `frames` or `texture_size` (texels).

    Returns:
        Paths of the written files; the last one is the summary `export.json`.

    Raises:
        UserError: for files that are missing or do not fit each other, or a wrong setting.
    """
    from nha.export.run import export_avatar
    from nha.export.settings import ExportSettings

    is_path = isinstance(avatar, (str, Path))
    chosen = ExportSettings.from_ini(
        avatar=avatar if is_path else None, out=out, tracking=tracking, **settings
    )
    return export_avatar(chosen, None if is_path else avatar)[0]
