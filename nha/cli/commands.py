"""The commands: what each parses and runs. A command imports its implementation after parsing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from nha.core.config import parse_settings

S = TypeVar("S")

# options that choose a configuration or the published model
_CHOICES_OF_CONFIG = ("--config", "--published", "--model")


@dataclass(frozen=True)
class Call:
    """A command line: arguments, and texts for --help."""

    argv: Sequence[str]
    program: str
    description: str
    examples: str
    default_config: str | None = None  # used without --config

    def parse(self, settings_type: type[S]) -> S:
        """The settings that the arguments give. Raises UserError for wrong ones."""
        settings = parse_settings(
            settings_type,
            self._with_config(),
            description=_dedent(self.description),
            program=self.program,
            examples=self.examples,
        )
        settings.check()
        return settings

    def _with_config(self) -> Sequence[str]:
        """The arguments, with the default configuration where they choose neither one nor the published model."""
        chosen = any(argument.split("=")[0] in _CHOICES_OF_CONFIG for argument in self.argv)
        if chosen or self.default_config is None:
            return self.argv
        return ["--config", self.default_config, *self.argv]


def demo(call: Call) -> None:
    """The whole pipeline on two synthetic people: video, dataset, tracking, avatar, reenactment, report.

    Steps that an earlier run has finished with the same settings are skipped.
    """
    from nha.cli.settings import DemoSettings

    settings = call.parse(DemoSettings)
    from nha.cli.demo import run_demo

    run_demo(settings)


def make(call: Call) -> None:
    """Make an avatar of the person in a video: dataset, tracking, training, evaluation, turntable, GLB, HTML page.

    It says first how long this will take here and what it needs, and ends with a verdict in words and a report. An
    interrupted run continues when it is started again with the same options; finished steps are skipped.
    """
    from nha.pipeline.settings import MakeSettings

    settings = call.parse(MakeSettings)
    from nha.pipeline.make import make_avatar

    make_avatar(settings)


def preprocess(call: Call) -> None:
    """Turn a portrait video into a dataset folder: frames, landmarks, irises, parsing, masks and normals.

    An interrupted run continues when it is started again with the same options.
    """
    from nha.preprocess.options import PreprocessOptions

    options = call.parse(PreprocessOptions)
    from nha.preprocess.pipeline import build_dataset

    build_dataset(options)


def track(call: Call) -> None:
    """Track the head in every frame of a dataset: writes tracked_flame_params.npz, a report and a video.

    An interrupted run continues when it is started again with the same options.
    """
    from nha.tracking.settings import TrackingSettings

    settings = call.parse(TrackingSettings)
    from nha.tracking.tracker import track_dataset

    print(f"tracking: {track_dataset(settings).path}")


def train(call: Call) -> None:
    """Fit a neural head avatar to a tracked video in three stages: geometry, texture, joint.

    `nha train` fits the blend model (configs/blend.ini); --config optimize_avatar the published one. An interrupted run
    continues when it is started again with the same options.
    """
    from nha.optimization.config import OptimizationSettings

    settings = call.parse(OptimizationSettings)
    from nha.core.system import get_logger
    from nha.optimization.run import optimize_avatar

    result = optimize_avatar(settings)
    log = get_logger(__name__).info  # of several processes only the first one logs
    for stage, seconds in result.stage_seconds.items():
        log("%-10s %8.1f s", stage, seconds)
    log("avatar:    %s", result.avatar_path)
    log("logs:      tensorboard --logdir %s", result.output / "logs")


def evaluate(call: Call) -> None:
    """Evaluate an avatar on the frames of a dataset, or compare several: table, JSON, videos, HTML report."""
    from nha.evaluation.settings import EvaluationSettings

    settings = call.parse(EvaluationSettings)
    from nha.evaluation.run import evaluate_avatar

    results = evaluate_avatar(settings)
    print(results.table().as_text())
    print(f"scores and videos: {results.out}")
    print(f"report: {results.report}")


def compare(call: Call) -> None:
    """Compare two avatars on the same held-out frames: scores side by side, an image sheet, JSON, a report."""
    from nha.evaluation.settings import ComparisonSettings

    settings = call.parse(ComparisonSettings)
    from nha.evaluation.compare_avatars import compare_avatars

    result = compare_avatars(settings)
    print(result.table().as_text())
    for path in (result.sheet, result.json, result.report):
        print(path)


def reenact(call: Call) -> None:
    """Animate an avatar with the motion of other people: the result, the driving person, and both side by side.

    The motion comes from a tracking file; a driving video without one is preprocessed and tracked first.
    """
    from nha.reenactment.settings import ReenactmentSettings

    settings = call.parse(ReenactmentSettings)
    from nha.pipeline.driving_videos import track_driving_videos
    from nha.reenactment.run import reenact_avatar

    for files in reenact_avatar(track_driving_videos(settings)):
        print(f"prediction:   {files.prediction}")
        print(f"driving:      {files.driving}")
        print(f"side by side: {files.side_by_side}")


def view(call: Call) -> None:
    """Show an avatar in the browser: free camera, sliders for face and head, playback, saved images and videos.

    Images are rendered by the avatar's networks, at a reduced resolution while something moves. The page and all that
    it loads come from this machine. From another machine: ssh -L 8080:127.0.0.1:8080 NAME, start the viewer there,
    and open http://127.0.0.1:8080 here. With --live, the avatar follows the face in front of a camera or in a video.
    """
    from nha.viewer.settings import ViewerSettings

    settings = call.parse(ViewerSettings)
    from nha.viewer.app import view_avatar

    view_avatar(settings)


def export(call: Call) -> None:
    """Write an avatar as files for other programs: OBJ, PLY, GLB (skinned, with morph targets), HTML, head parameters.

    Lengths are in metres, +y is up. In the neutral pose the root joint is at the origin and the head looks along +z;
    tracked frames are placed in front of a camera at the origin that looks along +z. Textures contain the lighting of
    the video. --report measures what these formats cannot express.
    """
    from nha.export.settings import ExportSettings

    settings = call.parse(ExportSettings)
    from nha.export.run import export_avatar

    written, summary = export_avatar(settings)
    for path in written:
        print(path)
    for part, rows in summary.get("report", {}).items():
        for name, scores in rows.items():
            print(f"{part}, {name}: " + ", ".join(f"{key} {value:g}" for key, value in scores.items()))


def check_dataset(call: Call) -> None:
    """Check a dataset folder, ours or a published one: files, sizes, labels, landmarks, masks, and their consistency.

    The exit code is 1 if there are findings. The dataset is not changed.
    """
    from nha.cli.settings import DatasetCheckSettings

    settings = call.parse(DatasetCheckSettings)
    from nha.cli.dataset_check import run_dataset_check

    run_dataset_check(settings)


def check_weights(call: Call) -> None:
    """List all optional files: whether each exists and loads, its purpose, place, origin and licence.

    Nothing is downloaded, and no code from the files is executed.
    """
    from nha.cli.settings import WeightsCheckSettings

    settings = call.parse(WeightsCheckSettings)
    from nha.cli.weights_check import run_weights_check

    run_weights_check(settings)


def make_head(call: Call) -> None:
    """Generate the procedural head: a head model without licence restrictions, in FLAME's file formats."""
    from nha.cli.settings import HeadGenerationSettings

    settings = call.parse(HeadGenerationSettings)
    from nha.cli.head import generate_head

    generate_head(settings)


def inspect_head(call: Call) -> None:
    """Describe a head model's files, their licences and what is missing, and draw the head."""
    from nha.cli.settings import HeadInspectionSettings

    settings = call.parse(HeadInspectionSettings)
    from nha.cli.head import inspect_head

    inspect_head(settings)


def synthetic(call: Call) -> None:
    """Render the video of a synthetic person with all annotations known: OUT/video.mp4 and OUT/truth."""
    from nha.cli.settings import SyntheticVideoSettings

    settings = call.parse(SyntheticVideoSettings)
    from nha.synthetic.write_dataset import write_subject

    out = write_subject(settings.out, settings.video())
    print(f"video: {out / 'video.mp4'}\ntruth: {out / 'truth'}")


def convert(call: Call) -> None:
    """Convert an avatar checkpoint to the layout of the published code, or from it."""
    from nha.cli.settings import ConversionSettings

    settings = call.parse(ConversionSettings)
    from nha.avatar.convert import convert_checkpoint

    checkpoint = convert_checkpoint(settings.input, settings.output, settings.to, settings.head)
    print(f"wrote {settings.output} ({len(checkpoint.state)} tensors)")


def import_tracking(call: Call) -> None:
    """Convert a tracking of another program: VHAP, GaussianAvatars, metrical-tracker, flame-head-tracker, NeRSemble.

    Axes, joints, focal length and frame numbers are converted and checked by projecting the landmarks of the head model
    onto those of the dataset.
    """
    from nha.tracking.exchange.settings import ImportSettings

    s = call.parse(ImportSettings)
    from nha.tracking.exchange.convert import import_tracking

    result = import_tracking(
        s.source, s.out, dataset=s.dataset, head=s.head, cameras=s.cameras, serial=s.serial
    )
    print(f"tracking: {result.path}")


def export_tracking(call: Call) -> None:
    """Write a tracking for other programs: VHAP, GaussianAvatars, FLAME parameters, ARKit coefficients."""
    from nha.tracking.exchange.settings import TrackingExportSettings

    settings = call.parse(TrackingExportSettings)
    from nha.tracking.exchange.export import export_tracking

    for path in export_tracking(settings):
        print(path)


def _dedent(docstring: str) -> str:
    """A docstring without its indentation."""
    return "\n".join(line.strip() for line in docstring.splitlines()).strip()
