import math

import pytest
import torch

from nha.head import joint_limits as limits

ALL = [limits.NECK_LIMITS_DEG, limits.JAW_LIMITS_DEG, limits.EYE_LIMITS_DEG, limits.EYES_LIMITS_DEG]


@pytest.mark.parametrize("limit", ALL)
def test_angles_stay_inside_and_neutral_is_zero(limit):
    far = torch.linspace(-30, 30, 21)[:, None].expand(-1, len(limit))
    angles = torch.rad2deg(limits.angles_from_params(far, limit))
    low, high = torch.tensor(limit).unbind(1)
    assert (angles >= low - 1e-4).all()
    assert (angles <= high + 1e-4).all()
    neutral = limits.angles_from_params(limits.neutral_params(limit), limit)
    torch.testing.assert_close(neutral, torch.zeros(len(limit)), atol=1e-6, rtol=0)


def test_the_jaws_neutral_is_not_zero():
    # atanh(-2 min / (max - min) - 1) for -5..60 degrees
    assert limits.neutral_params(limits.JAW_LIMITS_DEG)[0].item() == pytest.approx(math.atanh(10 / 65 - 1))


@pytest.mark.parametrize("limit", ALL)
def test_inverse(limit):
    params = torch.linspace(-1.5, 1.5, 7)[:, None].expand(-1, len(limit))
    angles = limits.angles_from_params(params, limit)
    torch.testing.assert_close(limits.params_from_angles(angles, limit), params, atol=1e-4, rtol=1e-4)


def test_inverse_clips_one_percent_inside():
    params = limits.params_from_angles(torch.deg2rad(torch.tensor([[400.0, 0, 0]])), limits.NECK_LIMITS_DEG)
    back = torch.rad2deg(limits.angles_from_params(params, limits.NECK_LIMITS_DEG))
    assert back[0, 0].item() == pytest.approx(90 - 0.01 * 180, abs=1e-3)
