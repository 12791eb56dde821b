"""Metrics against their definitions, written out in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nha.evaluation import metrics


@pytest.fixture
def images() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Prediction, target [2, 3, 24, 32] and a mask that excludes some pixels of each."""
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(2, 3, 24, 32, generator=generator)
    prediction = (target + 0.1 * torch.randn(2, 3, 24, 32, generator=generator)).clamp(0, 1)
    mask = torch.rand(2, 1, 24, 32, generator=generator) > 0.4
    return prediction, target, mask


def ssim_map(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Local similarity of two channels [H, W]: Gaussian window of 11 taps, sigma 1.5, reflecting borders."""
    taps = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(taps, taps) / taps.sum() ** 2

    def local_mean(image: np.ndarray) -> np.ndarray:
        padded = np.pad(image, 5, mode="reflect")
        views = np.lib.stride_tricks.sliding_window_view(padded, (11, 11))
        return (views * window).sum((2, 3))

    mean_x, mean_y = local_mean(x), local_mean(y)
    var_x, var_y = local_mean(x * x) - mean_x**2, local_mean(y * y) - mean_y**2
    covariance = local_mean(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    return ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    )


def test_l1_l2_psnr_follow_their_definitions(images):
    prediction, target, mask = images
    difference = (prediction - target).numpy().astype(np.float64)
    inside = np.broadcast_to(mask.numpy(), difference.shape)
    for i in range(2):
        whole, part = difference[i], difference[i][inside[i]]
        for values, chosen in ((whole, None), (part, mask)):
            l1 = metrics.mean_absolute_error(prediction, target, chosen)[i]
            l2 = metrics.mean_squared_error(prediction, target, chosen)[i]
            assert float(l1) == pytest.approx(np.abs(values).mean(), rel=1e-5)
            assert float(l2) == pytest.approx((values**2).mean(), rel=1e-5)
        assert float(metrics.psnr(prediction, target)[i]) == pytest.approx(
            10 * np.log10(1 / (whole**2).mean()), rel=1e-5
        )
        assert float(metrics.psnr(prediction, target, mask)[i]) == pytest.approx(
            10 * np.log10(1 / (part**2).mean()), rel=1e-5
        )


def test_psnr_of_a_constant_error():
    target = torch.full((1, 3, 16, 16), 0.5)
    assert float(metrics.psnr(target + 0.1, target)) == pytest.approx(20, abs=1e-4)


def test_ssim_is_the_mean_of_local_similarities(images):
    prediction, target, mask = images
    similarity = metrics.ssim_map(prediction, target)
    whole, inside = metrics.masked_mean(similarity), metrics.masked_mean(similarity, mask)
    for i in range(2):
        local = np.stack(
            [ssim_map(prediction[i, c].double().numpy(), target[i, c].double().numpy()) for c in range(3)]
        )
        assert float(whole[i]) == pytest.approx(local.mean(), abs=1e-5)
        assert float(inside[i]) == pytest.approx(local[:, mask[i, 0].numpy()].mean(), abs=1e-5)


def test_pixels_outside_the_mask_do_not_count(images):
    prediction, target, mask = images
    spoiled = torch.where(mask, prediction, 1 - prediction)
    torch.testing.assert_close(metrics.psnr(spoiled, target, mask), metrics.psnr(prediction, target, mask))
    assert (metrics.psnr(spoiled, target) < metrics.psnr(prediction, target)).all()


def test_frames_are_independent(images):
    prediction, target, mask = images
    together = metrics.masked_mean(metrics.ssim_map(prediction, target), mask)
    for i in range(2):
        one = slice(i, i + 1)
        alone = metrics.masked_mean(metrics.ssim_map(prediction[one], target[one]), mask[one])
        torch.testing.assert_close(together[one], alone)


def test_empty_mask_gives_nan_and_a_wrong_mask_is_refused(images):
    prediction, target, mask = images
    assert metrics.psnr(prediction, target, torch.zeros_like(mask)).isnan().all()
    with pytest.raises(ValueError, match="mask"):
        metrics.psnr(prediction, target, mask.float())


def test_ms_ssim_needs_large_images():
    generator = torch.Generator().manual_seed(0)
    side = metrics.MS_SSIM_SMALLEST_PX
    target = torch.rand(1, 3, side, side, generator=generator)
    assert float(metrics.ms_ssim(target, target)) == pytest.approx(1, abs=1e-5)
    blurred = torch.nn.functional.avg_pool2d(target, 3, 1, 1)
    assert float(metrics.ms_ssim(blurred, target)) < 0.95
    assert metrics.ms_ssim(target[..., 1:], target[..., 1:]) is None


def test_intersection_over_union():
    full = torch.ones(3, 1, 2, 2, dtype=torch.bool)
    half = full.clone()
    half[..., 0] = False
    none = torch.zeros_like(full)
    assert metrics.intersection_over_union(full, half).tolist() == [0.5] * 3
    assert metrics.intersection_over_union(none, none).tolist() == [1.0] * 3
    assert metrics.intersection_over_union(none, full).tolist() == [0.0] * 3
