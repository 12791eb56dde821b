"""The blend model in evaluation and reenactment."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from nha.avatar.blend_avatar import BlendAvatar
from nha.avatar.open import build_head, save_avatar
from nha.data.video_io import iterate_frames
from nha.evaluation.run import evaluate_avatar
from nha.evaluation.settings import EvaluationSettings
from nha.reenactment.run import reenact_avatar
from nha.reenactment.settings import ReenactmentSettings
from tests.small import SMALL_BLEND


@pytest.fixture(params=[False, True], ids=["", "still torso"])
def blend_checkpoint(request, assets, tmp_path):
    torch.manual_seed(0)
    settings = dataclasses.replace(SMALL_BLEND, blend_still_torso=request.param)
    avatar = BlendAvatar(build_head(assets, settings), settings, max_frame_id=3)
    with torch.no_grad():
        avatar.shapes.normal_(0, 1e-3)
    return save_avatar(tmp_path / "avatar.ckpt", avatar, assets, {"head": "procedural"})


def test_it_is_evaluated(blend_checkpoint, settings, tmp_path):
    out = tmp_path / "evaluation"
    options = {"novel_views": [0], "turntable": 2, "data": settings}
    results = evaluate_avatar(EvaluationSettings(ckpt=[blend_checkpoint], out=out, **options))
    assert results.means["avatar"]["held_out"]["head_psnr"] > 5
    assert "surface" in results.report.read_text("utf-8")
    assert (out / "turntable.mp4").is_file()


def test_it_is_reenacted(blend_checkpoint, settings, tmp_path):
    (videos,) = reenact_avatar(
        ReenactmentSettings(
            target_ckpt=blend_checkpoint,
            target_tracking_results=settings.tracking_results_path,
            neutral_target_frame=0,
            driving_ckpt=[blend_checkpoint],
            driving_tracking_results=[settings.tracking_results_path],
            neutral_driving_frame=[0],
            outpath=tmp_path / "videos",
        )
    )
    frames = np.stack(list(iterate_frames(videos.prediction))).astype(int)
    assert len(frames) == 4
    assert np.abs(frames[0] - frames[3]).mean() > 1  # the head moves
