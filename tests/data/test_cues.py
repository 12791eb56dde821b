import math

import numpy as np
import pytest
import torch

from nha.data.cues import eye_heights, semantic_trust


def test_eye_heights_by_hand():
    parsing = torch.zeros(3, 20, 10, dtype=torch.uint8)
    parsing[0, 4:9, 2] = 4  # left: rows 4..8
    parsing[0, 12, 2:5] = 5  # right: one row
    parsing[1, 0, 0] = parsing[1, 19, 9] = 5  # first and last row
    assert eye_heights(parsing).tolist() == [[4, 0], [0, 19], [0, 0]]


@pytest.mark.parametrize("avatar", ["a", "c"])
def test_eye_heights_equal_the_reference(golden_dir, avatar):
    golden = np.load(golden_dir / avatar / "golden.npz")
    heights = eye_heights(torch.from_numpy(golden["in_parsing"][:, 0]))
    np.testing.assert_array_equal(heights.T, golden["in_eye_distance"])


@pytest.mark.parametrize("avatar", ["a", "c"])
def test_trust_equals_the_reference(golden_dir, avatar):
    golden = np.load(golden_dir / avatar / "golden.npz")
    pose = torch.from_numpy(golden["in_flame_pose"])
    high = torch.deg2rad(
        torch.tensor([90.0, 60.0, 80.0])
    )  # symmetric limits: min + (tanh + 1) / 2 (max - min)
    trust = semantic_trust(pose[:, :3], torch.tanh(pose[:, 3:6]) * high)
    np.testing.assert_allclose(trust, golden["trust_semantics"], atol=1e-6)


@pytest.mark.parametrize(("turn_deg", "trust"), [(0, 1.0), (30, 0.5), (-30, 0.5), (31, 0.26894), (60, 0.0)])
def test_trust_falls_beyond_thirty_degrees_of_turning(turn_deg, trust):
    rotation = torch.tensor([[0.0, math.pi + math.radians(turn_deg), 0.0]])
    assert semantic_trust(rotation, torch.zeros(1, 3)).item() == pytest.approx(trust, abs=1e-4)
    by_neck = semantic_trust(torch.tensor([[0.0, math.pi, 0.0]]), rotation - torch.tensor([[0, math.pi, 0]]))
    assert by_neck.item() == pytest.approx(trust, abs=1e-4)


def test_trust_falls_beyond_twenty_degrees_of_nodding():
    nod = torch.tensor([[math.radians(angle), 0.0, 0.0] for angle in (-20, 0, 20, 40)])
    trust = semantic_trust(torch.tensor([[0.0, math.pi, 0.0]]).expand(4, 3), nod)
    np.testing.assert_allclose(trust, [0.5, 1, 0.5, 0], atol=1e-3)


def test_trust_is_a_constant():
    rotation = torch.tensor([[0.0, 3.0, 0.0]], requires_grad=True)
    assert not semantic_trust(rotation, rotation).requires_grad
