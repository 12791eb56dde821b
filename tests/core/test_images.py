import numpy as np
import pytest
import scipy.ndimage
import torch
import torch.nn.functional as F

from nha.core import images


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(2, 3, 20, 31, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def convolved(image: torch.Tensor, sigma: float) -> torch.Tensor:
    """Reference: reflect padding and two convolutions."""
    kernel = images.gaussian_kernel(sigma, dtype=image.dtype)
    r = len(kernel) // 2
    flat = image.reshape(-1, 1, *image.shape[2:])
    flat = F.conv2d(F.pad(flat, (r, r, 0, 0), mode="reflect"), kernel.reshape(1, 1, 1, -1))
    flat = F.conv2d(F.pad(flat, (0, 0, r, r), mode="reflect"), kernel.reshape(1, 1, -1, 1))
    return flat.reshape(image.shape)


@pytest.mark.parametrize("sigma", [0.4, 1.0, 2.0, 5.3])
def test_blur_equals_padded_convolution(image, sigma):
    torch.testing.assert_close(images.gaussian_blur(image, sigma), convolved(image, sigma))


def test_blur_keeps_float32_close_to_float64(image):
    single = images.gaussian_blur(image.float(), 2.0).double()
    torch.testing.assert_close(single, images.gaussian_blur(image, 2.0), atol=1e-6, rtol=0)


def test_blur_of_a_tiny_sigma_is_identity(image):
    assert torch.equal(images.gaussian_blur(image, 0.3), image)


def test_blur_wider_than_the_image_reflects_repeatedly():
    line = torch.rand(1, 1, 1, 4, dtype=torch.float64)
    ours = images.gaussian_blur(line, 3.0)
    kernel = images.gaussian_kernel(3.0, dtype=torch.float64).numpy()
    theirs = scipy.ndimage.convolve1d(line[0, 0, 0].numpy(), kernel, mode="mirror")
    np.testing.assert_allclose(ours[0, 0, 0].numpy(), theirs)


def test_blur_clips_on_request():
    bright = torch.full((1, 1, 8, 8), 1.5)
    assert images.gaussian_blur(bright, 1.0, clip01=True).max() == 1


def test_kernel_has_the_published_number_of_taps():
    assert [len(images.gaussian_kernel(s)) for s in (1 / 3, 1.0, 2.0, 10.0)] == [3, 7, 13, 61]
    assert abs(images.gaussian_kernel(2.0).sum().item() - 1) < 1e-6


@pytest.mark.parametrize("radius", [0, 1, 3])
def test_erode_equals_scipy_with_the_outside_set(radius):
    mask = torch.rand(1, 1, 15, 12, generator=torch.Generator().manual_seed(3)) > 0.05
    size = 2 * radius + 1
    theirs = scipy.ndimage.binary_erosion(mask[0, 0].numpy(), np.ones((size, size)), border_value=1)
    assert np.array_equal(images.erode(mask, radius)[0, 0].numpy(), theirs)


def test_screen_grad_returns_the_image_and_moves_the_coordinates(image):
    """A ramp along x: moving the sample by d pixels to the right adds slope * d."""
    height, width = 6, 10
    slope = 0.25
    ramp = (slope * torch.arange(width)).expand(1, 2, height, width).clone().requires_grad_()
    coords = torch.zeros(1, height, width, 2, requires_grad=True)
    out = images.screen_grad(ramp, coords)
    assert torch.equal(out, ramp)
    out.sum().backward()
    # one unit of x is W / 2 pixels; two channels add up
    torch.testing.assert_close(coords.grad[..., 0], torch.full((1, height, width), 2 * slope * width / 2))
    assert (coords.grad[..., 1] == 0).all()
    assert (ramp.grad == 1).all()


def test_screen_grad_equals_a_loop_over_pixels(image):
    image = image[:, :, :5, :4].clone().requires_grad_()
    coords = torch.zeros(2, 5, 4, 2, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(image.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    images.screen_grad(image, coords).backward(upstream)
    slow = torch.zeros_like(coords)
    for y in range(5):
        for x in range(4):
            left, right, up, down = max(x - 1, 0), min(x + 1, 3), max(y - 1, 0), min(y + 1, 4)
            d_x = (image[:, :, y, right] - image[:, :, y, left]) / (right - left)
            d_y = (image[:, :, down, x] - image[:, :, up, x]) / (down - up)
            slow.data[:, y, x, 0] = (d_x * upstream[:, :, y, x]).sum(1) * 4 / 2
            slow.data[:, y, x, 1] = (d_y * upstream[:, :, y, x]).sum(1) * 5 / 2
    torch.testing.assert_close(coords.grad, slow)


def test_screen_grad_rejects_shapes_that_do_not_fit(image):
    with pytest.raises(ValueError, match="do not fit"):
        images.screen_grad(image, torch.zeros(2, 31, 20, 2))
