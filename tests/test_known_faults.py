"""Regression tests for faults of the published code, one section for each."""

from __future__ import annotations

import copy
import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from nha.avatar.avatar import NeuralHeadAvatar
from nha.avatar.checkpoint import read_checkpoint
from nha.avatar.open import build_head
from nha.core.config import parse_settings
from nha.core.errors import UserError
from nha.core.mesh import tangent_frames
from nha.core.paths import PART_WEIGHTS
from nha.core.types import Camera
from nha.data.dataset_folder import DatasetFolder
from nha.data.settings import DataSettings
from nha.data.tracking_file import read_tracking
from nha.evaluation.cpbd import cpbd
from nha.head.flame_files import read_head_folder
from nha.head.load import load_head
from nha.head.procedural import generate_head, write, write_head_folder
from nha.optimization.config import LossSettings, OptimizationSettings, RunSettings, ScheduleSettings
from nha.optimization.datamodule import FrameDataModule
from nha.optimization.objective import Objective
from nha.optimization.optimizers import begin_stage, make_optimizers
from nha.optimization.stages import CORRECTIONS, OFFSETS, TEXTURE, make_stages
from tests.small import SMALL


@pytest.fixture(scope="module")
def avatar() -> NeuralHeadAvatar:
    """An avatar with small networks on the procedural head, with offsets other than zero."""
    torch.manual_seed(0)
    avatar = NeuralHeadAvatar(build_head(load_head("procedural"), SMALL), SMALL, max_frame_id=3).eval()
    with torch.no_grad():
        avatar.offset_net.output.weight.normal_(0, 1e-3)
    return avatar


def image_of(avatar: NeuralHeadAvatar) -> torch.Tensor:
    """One frame of the head, facing the camera."""
    rest = avatar.head.neutral_params(1)
    params = rest.replace(
        rotation=torch.tensor([[0.0, torch.pi, 0.0]]), translation=torch.tensor([[0.0, -0.05, 0.9]])
    )
    intrinsics = torch.tensor([[[120.0, 0, 28], [0, 120, 24], [0, 0, 1]]])
    with torch.no_grad():
        return avatar(params, Camera(intrinsics, torch.eye(3, 4)[None], (48, 56)), torch.tensor([0]))


# --- the tangent frame collapses where a normal is parallel to +y -----------------------------------------


@pytest.mark.parametrize("tilt", [0.0, 1e-9, 1e-7, 1e-5])
@pytest.mark.parametrize("up", [1.0, -1.0])
def test_tangent_frames_are_rotations_where_the_normal_is_vertical(up, tilt):
    normal = torch.nn.functional.normalize(torch.tensor([[[tilt, up, tilt]]]), dim=-1)
    frame = tangent_frames(normal)[0, 0]
    torch.testing.assert_close(frame.mT @ frame, torch.eye(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(frame), torch.tensor(1.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(frame @ torch.tensor([0.0, 0.0, 2.0]), 2 * normal[0, 0])


# --- writing an OBJ shifts the model's own faces by one ---------------------------------------------------


def test_writing_a_head_does_not_change_its_faces(tmp_path, monkeypatch):
    head = generate_head()
    before = copy.deepcopy(head)
    monkeypatch.setattr(write, "generate_head", lambda: head)
    folder = write_head_folder(tmp_path / "head")
    first = (folder / "head_template_mesh_mouth.obj").read_bytes()
    for field in dataclasses.fields(head):
        ours, was = getattr(head, field.name), getattr(before, field.name)
        if isinstance(was, np.ndarray):
            assert np.array_equal(ours, was), field.name
    assert (write_head_folder(tmp_path / "again") / "head_template_mesh_mouth.obj").read_bytes() == first
    # indices of an OBJ start at 1; reading it gives the model's indices
    numbers = [int(corner.split(b"/")[0]) for line in first.splitlines() if line[:2] == b"f "
               for corner in line.split()[1:]]  # fmt: skip
    assert min(numbers) == 1
    faces = np.concatenate([head.faces, head.mouth_faces])
    assert np.array_equal(np.array(numbers).reshape(-1, 3) - 1, faces)
    assert np.array_equal(read_head_folder(folder).closed.faces, faces)


# --- CPBD gets an image in another range than its thresholds -----------------------------------------------


def test_cpbd_scales_contrast_to_the_range_of_its_thresholds():
    # 4 pixels wide: noticeable at a contrast of 200 of 255 levels, not at 40; without scaling neither would be
    ramp = ((torch.arange(64) - 32) / 4).clamp(0, 1).expand(1, 3, 64, 64)
    assert cpbd(ramp * 200 / 255).item() == 0
    assert cpbd(ramp * 40 / 255).item() == 1


@pytest.mark.parametrize("other_range", [lambda x: 255 * x, lambda x: 2 * x - 1])
def test_cpbd_of_images_in_another_range_is_an_error(other_range):
    with pytest.raises(ValueError, match=r"must lie in 0\.\.1"):
        cpbd(other_range(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))))


# --- the default of flame_lr crashes ----------------------------------------------------------------------


def test_the_defaults_run_through_all_stages(avatar):
    needed = ["--data_path", "x", "--tracking_results_path", "x", "--default_root_dir", "x"]
    settings = parse_settings(OptimizationSettings, needed, description="d")
    optimizers = make_optimizers(avatar)
    for index, stage in enumerate(make_stages(settings)):
        begin_stage(avatar, optimizers, stage)
        rates = {group["name"]: group["lr"] for group in optimizers[CORRECTIONS].param_groups}
        assert rates["expr"] == settings.schedule.flame_lr[index]
        assert optimizers[OFFSETS].param_groups[0]["lr"] == settings.schedule.offset_lr[index]
        assert optimizers[TEXTURE].param_groups[0]["lr"] == settings.schedule.tex_lr[index]


def test_single_flame_lr_gives_a_user_error():
    with pytest.raises(UserError, match="'flame_lr' must be a list of 3") as error:
        parse_settings(
            OptimizationSettings,
            ["--data_path=x", "--tracking_results_path=x", "--default_root_dir=x", "--flame_lr=1e-3"],
            description="d",
        )
    assert "\n" not in str(error.value)


# --- expression and pose ranges are stored, but condition nothing -----------------------------------------


def test_ranges_of_expression_and_pose_are_stored_but_change_no_image(avatar):
    avatar = copy.deepcopy(avatar)
    for name in ("expr_min", "expr_max", "pose_min", "pose_max"):
        assert f"condition_ranges.{name}" in avatar.state_dict()
    before = image_of(avatar)
    for name in ("expr", "pose"):  # ranges that contain no value of the training
        size = len(getattr(avatar.condition_ranges, f"{name}_min"))
        avatar.condition_ranges.set_range(name, torch.full((2, size), 50.0))
    assert torch.equal(image_of(avatar), before)
    avatar.condition_ranges.set_range("mouth", torch.full((2, len(avatar.condition_ranges.mouth_min)), 50.0))
    assert not torch.equal(image_of(avatar), before)


def test_no_network_is_conditioned_on_expression_or_pose(avatar):
    """The texture is conditioned only on mouth features, the offsets on the nine numbers of a neck rotation."""
    n_mouth = len(avatar.head.mouth_pairs) + 3
    assert avatar.texture_net.mapping.hidden[0].in_features == n_mouth
    assert avatar.offset_net.mapping.hidden[0].in_features == 9


# --- the perceptual network runs although its weight is 0 -------------------------------------------------


def fail(*_):
    raise AssertionError("the perceptual network was evaluated")


@pytest.mark.parametrize(
    ("w_perc", "evaluated"), [((0, 10, 0), [1]), ((0, 0, 0.5), [2]), ((0, 0, 0), []), ((7, 0, 0), [])]
)
def test_perceptual_network_is_not_evaluated_at_weight_0(w_perc, evaluated, avatar, tiny_dataset):
    tiny = tiny_dataset()
    data = FrameDataModule(DataSettings(tiny.data_path, tiny.tracking_path, frame_cache="none"))
    settings = OptimizationSettings(
        run=RunSettings(default_root_dir=Path()),
        data=data.settings,
        schedule=ScheduleSettings(),
        losses=LossSettings(w_perc=w_perc),
        avatar=SMALL,
    )
    objective = Objective(avatar, PART_WEIGHTS, perceptual=fail)
    batch = data.train.batch([0, 1])
    channels = make_stages(settings)[2].channels
    rendering = avatar.render(batch.tracked, batch.camera, frame_ids=batch.frame_id, channels=channels)
    for index, stage in enumerate(make_stages(settings)):
        assert stage.paints == (index > 0)
        if index in evaluated:
            with pytest.raises(AssertionError, match="was evaluated"):
                objective(stage.terms, avatar, rendering, batch)
        else:
            table = objective(stage.terms, avatar, rendering, batch)
            assert torch.isfinite(table.weighted_sum(stage.weights_at(stage.first_epoch)))


# --- reading a missing path is retried for a long time ----------------------------------------------------


@pytest.mark.parametrize("opened", [DatasetFolder.open, read_tracking, read_checkpoint, load_head])
def test_missing_path_fails_at_once(opened, tmp_path):
    start = time.perf_counter()
    with pytest.raises(UserError) as error:
        opened(tmp_path / "nowhere")
    assert time.perf_counter() - start < 2
    assert "nowhere" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("lost", ["image", "parsing", "segmentation", "normals"])
def test_file_that_disappears_during_training_fails_at_once(lost, tiny_dataset):
    tiny = tiny_dataset()
    data = FrameDataModule(DataSettings(tiny.data_path, tiny.tracking_path, frame_cache="none"))
    path = getattr(data.splits.folder.paths(data.train.frame_ids[0]), lost)
    path.unlink()
    start = time.perf_counter()
    with pytest.raises(UserError) as error:
        data.train.batch([0])
    assert time.perf_counter() - start < 2
    assert path.name in str(error.value)


@pytest.mark.parametrize(
    ("script", "options"),
    [
        ("optimize_nha.py", ["--data_path", "--tracking_results_path", "--default_root_dir"]),
        ("reenact_avatar.py", ["--target_ckpt", "--target_tracking_results", "--driving_ckpt",
                               "--driving_tracking_results", "--outpath"]),
        ("deps/video-head-tracker/optimize_tracking.py", ["--data_path", "--output_path"]),
        ("video_to_dataset.py", ["--video", "--out_path"]),
    ],
)  # fmt: skip
def test_scripts_stop_at_once_at_a_missing_path(script, options, run_script, tmp_path):
    paths = [text for option in options for text in (option, tmp_path / f"no{option.replace('-', '_')}")]
    done = run_script(script, *paths)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert "no__" in done.stderr
