"""Extensions from outside the package: additional loss terms and other networks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nha.avatar.open import load_avatar
from nha.losses.inputs import LossInputs
from nha.losses.terms import Term
from nha.optimization.datamodule import FrameDataModule
from nha.optimization.run import optimize_avatar
from nha.optimization.stages import make_stages
from tests.small import SMALL
from tests.tiny_networks import ConstantOffsets, PointColours


def darkness(inputs: LossInputs) -> Tensor:
    """The mean of the rendered colours."""
    return inputs.rendering.rgb01.mean()


def test_loss_from_outside_the_package_is_optimised(make_settings):
    term = Term("dark", darkness, colours=True, weight=(0.0, 100.0, 100.0))
    stages = make_stages(make_settings(), [term])
    assert [stage.weights_at(0).get("dark") for stage in stages] == [None, 100.0, 100.0]

    means = []
    for name, extra in (("plain", ()), ("dark", (term,))):
        settings = make_settings((1, 4, 0), name=name)
        result = optimize_avatar(settings, extra_terms=extra)
        batch = FrameDataModule(settings.data).train.batch([0, 1])
        with torch.no_grad():
            rendering = load_avatar(result.avatar_path).render(
                batch.tracked, batch.camera, frame_ids=batch.frame_id
            )
        means.append(rendering.rgb01.mean().item())
    assert means[1] < means[0] - 1e-3


def test_two_terms_with_the_same_name_are_an_error(make_settings):
    with pytest.raises(ValueError, match="same name: rgb"):
        make_stages(make_settings(), [Term("rgb", darkness, weight=(1.0, 1.0, 1.0))])


def test_networks_from_outside_the_package_train_and_open(make_settings):
    def networks() -> dict:
        size = 3 + SMALL.texture_map_feats
        return {"texture_net": PointColours(size), "offset_net": ConstantOffsets()}

    first = networks()
    before = {name: value.clone() for name, value in first["texture_net"].state_dict().items()}
    result = optimize_avatar(make_settings((1, 1, 1)), **first)
    avatar = load_avatar(result.avatar_path, **networks())
    for name, value in avatar.texture_net.state_dict().items():
        assert not torch.equal(value, before[name]), name
    assert not torch.equal(avatar.offset_net.offset, ConstantOffsets().offset)


def test_stages_draw_only_the_channels_that_their_terms_read(make_settings):
    geometry, texture, joint = make_stages(make_settings())
    assert texture.channels == ("screen_coords",)
    assert geometry.channels == joint.channels == ("normals", "screen_coords", "hard_labels", "soft_labels")
