"""Training on FLAME's model file alone, with derived tables."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from nha.avatar.open import load_avatar
from nha.core.errors import UserError
from nha.optimization.datamodule import FrameDataModule
from nha.optimization.run import optimize_avatar
from nha.preprocess.options import PreprocessOptions
from nha.preprocess.pipeline import build_dataset
from nha.synthetic.settings import SyntheticSettings
from nha.synthetic.write_dataset import write_subject
from tests.optimization.conftest import with_data


@pytest.mark.slow
def test_avatar_on_derived_tables_opens_only_with_these(make_settings, flame_alone, flame_like, tmp_path):
    subject = SyntheticSettings(
        frames=4, size=(64, 64), supersampling=1, progress=False, head=str(flame_alone)
    )
    write_subject(tmp_path, subject)
    options = PreprocessOptions(
        video=tmp_path / "video.mp4", out_path=tmp_path / "dataset", estimators="truth", scale=64
    )
    build_dataset(options)
    settings = with_data(
        make_settings((1, 1, 1)), data_path=tmp_path / "dataset", tracking_results_path=tmp_path / "truth"
    )
    # 4 frames in batches of 2: two steps a stage
    settings = dataclasses.replace(settings, run=dataclasses.replace(settings.run, head=str(flame_alone)))
    result = optimize_avatar(settings)

    avatar = load_avatar(result.avatar_path)  # the checkpoint holds the path of its head model
    batch = FrameDataModule(settings.data).train.batch([0, 1])
    rgba = avatar(batch.tracked, batch.camera, batch.frame_id)
    assert torch.isfinite(rgba).all()
    assert 0.1 < rgba[:, 3].mean() < 0.9
    for learned in (avatar.vertex_features, avatar.neural_texture.head, avatar.neural_texture.mouth):
        assert torch.isfinite(learned).all()
    assert avatar.frame_parameters.shape.abs().max() > 0
    with pytest.raises(UserError, match=r"derived: UV map, mouth faces, parts; here: none"):
        load_avatar(result.avatar_path, flame_like)
