"""The whole optimisation: results, interruptions and wrong inputs."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from nha.avatar.open import load_avatar
from nha.core.errors import UserError
from nha.data.tracking_file import read_tracking, write_tracking
from nha.optimization import run
from nha.optimization.avatar_module import AvatarModule
from nha.optimization.config import LossSettings
from nha.optimization.datamodule import FrameDataModule
from nha.optimization.perceptual_choice import with_perceptual_network
from nha.optimization.resume import TRAINING_FILE
from nha.optimization.run import optimize_avatar
from tests.optimization.conftest import as_options, with_data
from tests.small import SMALL, SMALL_BLEND


def states_equal(one, two) -> bool:
    one, two = (torch.load(path, weights_only=True)["state_dict"] for path in (one, two))
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_run_writes_an_avatar_that_renders(make_settings):
    settings = make_settings((1, 1, 1), image_log_period=1)
    result = optimize_avatar(settings)
    assert set(result.stage_seconds) == {"geometry", "texture", "joint"}
    avatar = load_avatar(result.avatar_path)
    data = FrameDataModule(settings.data)
    batch = data.val.batch([0])
    rgba = avatar(batch.tracked, batch.camera, batch.frame_id)
    assert torch.isfinite(rgba).all()
    assert torch.isfinite(avatar.condition_ranges.mouth_min).all()
    assert (avatar.condition_ranges.mouth_min <= avatar.condition_ranges.mouth_max).all()
    assert list((result.output / "logs").rglob("events.out.*"))


# Two frame batches an epoch, two epochs a stage: each is killed in the middle of its second epoch.
@pytest.mark.parametrize(
    ("killed_at", "avatar"),
    [(4, SMALL), (8, SMALL), (12, SMALL), (4, SMALL_BLEND), (12, SMALL_BLEND)],
    ids=["geometry", "texture", "joint", "blend geometry", "blend joint"],
)
def test_interrupted_run_continues_to_the_same_avatar(make_settings, monkeypatch, killed_at, avatar):
    whole = optimize_avatar(
        dataclasses.replace(make_settings((2, 2, 2), "whole", checkpoint_period=1), avatar=avatar)
    )

    class KilledError(Exception):
        pass

    cut = dataclasses.replace(make_settings((2, 2, 2), "cut", checkpoint_period=1), avatar=avatar)
    render, steps = AvatarModule.render, 0

    def render_until_killed(self, batch):
        nonlocal steps
        steps += 1
        if steps == killed_at:
            raise KilledError
        return render(self, batch)

    monkeypatch.setattr(AvatarModule, "render", render_until_killed)
    with pytest.raises(KilledError):
        optimize_avatar(cut)
    assert (cut.run.default_root_dir / TRAINING_FILE).is_file()
    monkeypatch.setattr(AvatarModule, "render", render)
    resumed = optimize_avatar(cut)
    assert states_equal(whole.avatar_path, resumed.avatar_path)


def test_finished_run_is_not_repeated(make_settings, monkeypatch):
    settings = make_settings((1, 0, 0))
    first = optimize_avatar(settings)

    def fail(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(run, "fit_stage", fail)
    second = optimize_avatar(settings)
    assert second.stage_seconds == first.stage_seconds
    other = dataclasses.replace(
        settings, schedule=dataclasses.replace(settings.schedule, flame_lr=(1e-4, 1e-4, 1e-4))
    )
    with pytest.raises(UserError, match="other settings"):
        optimize_avatar(other)


def test_missing_perceptual_weights_stop_the_run(make_settings, tmp_path):
    settings = make_settings()
    losses = LossSettings(perceptual="arcface", arcface_weights=tmp_path / "none.pth")
    with pytest.raises(
        UserError, match=r"none\.pth.* at this path, or leave the term out with --perceptual none"
    ):
        optimize_avatar(dataclasses.replace(settings, losses=losses))
    assert not settings.run.default_root_dir.exists()


@pytest.mark.parametrize(
    ("epochs", "w_perc"),
    [((1, 0, 0), (1, 10, 0.5)), ((1, 1, 0), (1, 0, 0.5))],
    ids=["no such stage", "weight 0"],
)
def test_perceptual_weights_are_needed_only_where_the_term_counts(make_settings, tmp_path, epochs, w_perc):
    losses = LossSettings(perceptual="arcface", arcface_weights=tmp_path / "none.pth", w_perc=w_perc)
    result = optimize_avatar(dataclasses.replace(make_settings(epochs), losses=losses))
    assert result.avatar_path.is_file()


def test_perceptual_auto_takes_the_network_where_its_weights_are(
    make_settings, tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("NHA_ASSETS", str(tmp_path / "assets"))
    monkeypatch.chdir(tmp_path)
    settings = dataclasses.replace(make_settings(), losses=LossSettings())
    assert with_perceptual_network(settings).losses.perceptual == "none"
    assert "no perceptual term: the weights of ArcFace are not at 'assets" in caplog.text
    assert with_perceptual_network(with_data(settings, published=True)).losses.perceptual == "arcface"
    weights = tmp_path / "assets" / "arcface" / "backbone.pth"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"weights")
    chosen = with_perceptual_network(settings).losses
    assert (chosen.perceptual, chosen.arcface_weights.samefile(weights)) == ("arcface", True)
    thinned = dataclasses.replace(settings, run=dataclasses.replace(settings.run, pixels_per_image=100))
    assert with_perceptual_network(thinned).losses.perceptual == "none"
    explicit = dataclasses.replace(settings, losses=LossSettings(perceptual="none"))
    assert with_perceptual_network(explicit).losses.perceptual == "none"


def test_missing_frames_of_a_split_are_listed(make_settings, tmp_path):
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": [0, 1, 77], "val": [2]}))
    with pytest.raises(UserError, match="77"):
        optimize_avatar(with_data(make_settings(), split_config=split))


def test_nan_in_the_tracking_is_an_error(make_settings, tmp_path):
    settings = make_settings()
    tracking = read_tracking(settings.data.tracking_results_path)
    expr = tracking.expr.copy()
    expr[1, 0] = np.nan
    with np.load(settings.data.tracking_results_path / "tracked_flame_params.npz") as arrays:
        broken = dict(arrays)
    broken["expr"] = expr
    np.savez(tmp_path / "tracked_flame_params.npz", **broken)
    with pytest.raises(UserError, match="expr"):
        optimize_avatar(with_data(settings, tracking_results_path=tmp_path))


def test_tracking_of_another_dataset_is_an_error(make_settings, tmp_path):
    settings = make_settings()
    tracking = read_tracking(settings.data.tracking_results_path)
    write_tracking(
        tmp_path / "tracked_flame_params.npz", dataclasses.replace(tracking, frame=tracking.frame + 50)
    )
    with pytest.raises(UserError, match="tracking file"):
        optimize_avatar(with_data(settings, tracking_results_path=tmp_path))


def test_script_trains_and_logs_the_terms(make_settings, run_script):
    done = run_script("optimize_nha.py", *as_options(make_settings((1, 1, 0))))
    assert done.returncode == 0, done.stderr
    assert "avatar.ckpt" in done.stdout
    assert "geometry stage, 1 epochs: lap 0.05, edge 10, " in done.stdout
    assert "texture stage, 1 epochs: rgb 1; without perc (--perceptual none)" in done.stdout
    assert "joint stage" not in done.stdout
    assert "Warning" not in done.stderr, done.stderr
    wrong = run_script("optimize_nha.py", "--epoch_joint", "1")
    assert wrong.returncode == 2
    assert "epochs_joint" in wrong.stderr
