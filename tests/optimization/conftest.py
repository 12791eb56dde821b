from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from nha.data.settings import DataSettings
from nha.optimization.config import LossSettings, OptimizationSettings, RunSettings, ScheduleSettings
from nha.preprocess.options import PreprocessOptions
from nha.preprocess.pipeline import build_dataset
from nha.synthetic.settings import SyntheticSettings
from nha.synthetic.write_dataset import write_subject
from tests.small import SMALL


@pytest.fixture(scope="session")
def subject(tmp_path_factory) -> tuple[Path, Path]:
    """Four frames of a synthetic subject at 64 x 64: (dataset folder, its true tracking)."""
    folder = tmp_path_factory.mktemp("subject")
    write_subject(folder, SyntheticSettings(frames=4, size=(64, 64), supersampling=1, progress=False))
    options = PreprocessOptions(
        video=folder / "video.mp4", out_path=folder / "dataset", estimators="truth", scale=64
    )
    build_dataset(options)
    return folder / "dataset", folder / "truth"


@pytest.fixture
def make_settings(subject, tmp_path) -> Callable[..., OptimizationSettings]:
    """make_settings(epochs=(1, 1, 1), **run settings): small networks on the synthetic subject."""

    def make(epochs: tuple[int, int, int] = (1, 1, 1), name: str = "run", **run) -> OptimizationSettings:
        return settings_of(subject, tmp_path / name, epochs, **run)

    return make


def settings_of(
    subject: tuple[Path, Path], out: Path, epochs: tuple[int, int, int] = (1, 1, 1), **run
) -> OptimizationSettings:
    """Settings of small networks on a subject."""
    data_path, truth = subject
    return OptimizationSettings(
        run=RunSettings(default_root_dir=out, head="procedural", device="cpu", **run),
        data=DataSettings(
            data_path=data_path,
            tracking_results_path=truth,
            train_batch_size=(2, 2, 2),
            validation_batch_size=(2, 2, 2),
            frame_cache="none",
        ),
        schedule=ScheduleSettings(epochs_offset=epochs[0], epochs_texture=epochs[1], epochs_joint=epochs[2]),
        losses=LossSettings(perceptual="none"),
        avatar=SMALL,
    )


def with_data(settings: OptimizationSettings, **changes) -> OptimizationSettings:
    return dataclasses.replace(settings, data=dataclasses.replace(settings.data, **changes))


def as_options(settings: OptimizationSettings) -> list[str]:
    """The settings of `make_settings` as command-line options of `optimize_nha.py`."""
    given = {
        "data_path": settings.data.data_path,
        "tracking_results_path": settings.data.tracking_results_path,
        "default_root_dir": settings.run.default_root_dir,
        "head": settings.run.head,
        "device": settings.run.device,
        "perceptual": settings.losses.perceptual,
        "frame_cache": settings.data.frame_cache,
        **{
            name: getattr(settings.schedule, name)
            for name in ("epochs_offset", "epochs_texture", "epochs_joint")
        },
        **dataclasses.asdict(settings.avatar),
    }
    if settings.data.split_config is not None:
        given["split_config"] = settings.data.split_config
    lists = {
        name: str(list(getattr(settings.data, name)))
        for name in ("train_batch_size", "validation_batch_size")
    }
    return [f"--{name}={value}" for name, value in (given | lists).items()]
