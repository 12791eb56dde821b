"""The offset network: untrained value, plain reference, and the offsets of the published reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nha.avatar.published_layout import to_published
from nha.core.rotations import rotation_matrix
from nha.core.safe_pickle import load_pickle
from nha.nets.offset_net import OffsetNet


def slow_offsets(net: OffsetNet, points: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
    """Reference: one frame and one layer at a time, with frequencies and phases of every point."""
    out = []
    for own in condition:
        frequency, phase = net.mapping(own.expand(len(points), -1))  # [V, S] each
        x, start = points, 0
        for layer in net.layers:
            now = slice(start, start + layer.out_features)
            x = torch.sin(frequency[:, now] * layer(x) + phase[:, now])
            start += layer.out_features
        out.append(torch.tanh(net.output(x)))
    return torch.stack(out)


def test_untrained_network_returns_zero():
    torch.manual_seed(0)
    net = OffsetNet()
    assert torch.equal(net(torch.randn(10, 35), torch.randn(2, 9)), torch.zeros(2, 10, 3))


def test_values_and_gradients_equal_the_reference():
    torch.manual_seed(0)
    net = OffsetNet(feature_size=5, condition_size=4, hidden_layers=3, hidden_size=8).double()
    torch.nn.init.normal_(net.output.weight, std=0.1)
    points = torch.randn(11, 8, dtype=torch.float64, requires_grad=True)
    condition = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    fast, slow = net(points, condition), slow_offsets(net, points, condition)
    torch.testing.assert_close(fast, slow)
    inputs = (points, condition, *net.parameters())
    upstream = torch.randn_like(fast)
    for ours, theirs in zip(
        torch.autograd.grad(fast, inputs, upstream), torch.autograd.grad(slow, inputs, upstream), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_offsets_at_rest_and_posed_equal_two_evaluations():
    torch.manual_seed(0)
    net = OffsetNet(feature_size=5, condition_size=4, hidden_layers=3, hidden_size=8).double()
    torch.nn.init.normal_(net.output.weight, std=0.1)
    points = torch.randn(11, 8, dtype=torch.float64, requires_grad=True)
    condition, rows = torch.randn(2, 4, dtype=torch.float64), torch.tensor([7, 2, 3])
    both = net.at_rest_and_posed(points, rows, condition)
    slow = net(points, torch.zeros_like(condition[:1])), net(points[rows], condition)
    inputs = (points, *net.parameters())
    upstream = [torch.randn_like(value) for value in slow]
    wanted = torch.autograd.grad(slow, inputs, upstream)
    found = torch.autograd.grad(both, inputs, upstream)
    for ours, theirs in zip((*both, *found), (*slow, *wanted), strict=True):
        torch.testing.assert_close(ours, theirs)


def joint_angles(parameter: torch.Tensor, limits: torch.Tensor) -> torch.Tensor:
    """Unbounded parameter [N, 3] and limits [3, 2] (radians) to angles."""
    return limits[:, 0] + (torch.tanh(parameter) + 1) / 2 * (limits[:, 1] - limits[:, 0])


@pytest.mark.parametrize("case", ["a", "c"])
def test_offsets_of_a_published_checkpoint(golden_dir, shared_dir, published_checkpoint, case):
    checkpoint = published_checkpoint(case)
    published = to_published(checkpoint.state)
    net = OffsetNet()
    prefix = "offset_net."
    own = {name[len(prefix) :]: x for name, x in checkpoint.state.items() if name.startswith(prefix)}
    net.load_state_dict(own)

    with np.load(golden_dir / case / "golden.npz") as golden:
        part_names = sorted(load_pickle(shared_dir / "flame_like" / "FLAME_masks_mouth.pkl"))
        labels = torch.from_numpy(golden["vert_labels"]).bool()
        soft = torch.from_numpy(golden["blurred_vert_labels"].astype(np.float32))
        template = torch.from_numpy(golden["v_template"])
        frames, tracked_pose = torch.from_numpy(golden["in_frame"]), torch.from_numpy(golden["in_flame_pose"])
        truth = torch.from_numpy(golden["offsets"])

    eyeball = labels[:, [part_names.index("left_eyeball"), part_names.index("right_eyeball")]].any(1)
    assert (~eyeball).sum() == 15135
    # the template is scaled by the size of the whole head, before the lower neck is removed
    low, high = template_range(shared_dir)
    normed = (template - low) / (high - low) * 2 - 1
    points = torch.cat([normed[~eyeball], published["_vert_feats"][0]], dim=1)
    neck = tracked_pose[:, 3:6] + published["_neck_pose"][frames]
    condition = rotation_matrix(joint_angles(neck, checkpoint.published_head_tables["neck_limits"])).flatten(
        1
    )
    weight = soft[~eyeball, part_names.index("neck")].clamp(0, 1)[:, None]
    with torch.no_grad():
        dynamic, static = net(points, torch.cat([condition, torch.zeros(1, 9)])).split([len(frames), 1])
    offsets = torch.zeros_like(truth)
    offsets[:, ~eyeball] = weight * dynamic + (1 - weight) * static
    assert truth.abs().max() > 1e-3
    assert (offsets - truth).abs().max() < 1e-5


def template_range(shared: Path) -> tuple[torch.Tensor, torch.Tensor]:
    with np.load(shared / "flame_like" / "generic_model.npz") as model:
        template = torch.from_numpy(model["v_template"].astype(np.float32))
    return template.amin(0), template.amax(0)
