from __future__ import annotations

import numpy as np
import torch

from nha.visualization.colours import colour_labels, error_map, label_palette, normals_to_rgb01, to_uint8


def test_images_are_clipped_and_rounded():
    rgb01 = torch.tensor([-0.5, 0.0, 0.5, 1.0, 3.0]).expand(4, 1, 5)
    image = to_uint8(rgb01)
    assert image.dtype == np.uint8
    assert image.shape == (1, 5, 3)
    assert image[0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_colours_of_normals():
    right, down, to_camera, none = [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]
    normals = torch.tensor([right, down, to_camera, none]).float().T[None, :, None]  # [1, 3, 1, 4]
    rgb01 = normals_to_rgb01(normals)[0, :, 0].T
    expected = torch.tensor([[1, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 1], [1, 1, 1]])
    torch.testing.assert_close(rgb01, expected)


def test_alpha_decides_what_is_background():
    normals = torch.zeros(1, 3, 1, 2)
    alpha = torch.tensor([[[[1.0, 0.0]]]])
    rgb01 = normals_to_rgb01(normals, alpha)
    assert rgb01[0, 0, 0].tolist() == [0.5, 1.0]


def test_labels_have_different_colours():
    palette = label_palette(32)
    assert palette[0].tolist() == [0, 0, 0]
    assert len(np.unique(palette, axis=0)) == 32
    labels = np.array([[0, 7], [17, 7]])
    colours = colour_labels(labels)
    assert (colours[0, 1] == colours[1, 1]).all()
    assert (colours[0, 1] != colours[1, 0]).any()


def test_error_map_grows_with_the_error_and_saturates():
    truth = np.full((1, 4, 3), 100, np.uint8)
    prediction = truth.copy()
    prediction[0, :, :] += np.uint8([[0], [10], [64], [150]])
    brightness = error_map(prediction, truth).astype(int).sum(-1)[0]
    assert (np.diff(brightness[:3]) > 0).all()
    assert brightness[3] == brightness[2]
    assert (error_map(truth, prediction) == error_map(prediction, truth)).all()
