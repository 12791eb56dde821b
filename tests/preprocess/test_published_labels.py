"""Published parsing and normals: input and output of the networks.

Tests of the output replace the network by a fake one.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from nha.core.conventions import Parsing
from nha.preprocess.backends.published_normals import ResNetUNetNormals, SquareBox
from nha.preprocess.backends.published_parsing import BiSeNetParsing, centre_of, square_on_green
from nha.preprocess.stream import call_in_batches
from tests.preprocess.published import CPU, NORMALS, PARSING, face_in, frame_of, noise

# --- parsing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(5, 8), (8, 5), (7, 7)])
def test_the_person_stands_on_green_in_the_centre_of_a_square(size):
    rgb, matte = noise(*size, 3), np.zeros(size, np.float32)
    matte[:3] = 1
    matte[3] = 0.5
    square = square_on_green(rgb, matte)
    green = np.float32([0.47, 1, 0.6]) * 255
    assert square.shape == (max(size), max(size), 3)
    middle = centre_of(square, size)
    np.testing.assert_allclose(middle[:3], rgb[:3], atol=1e-4)
    np.testing.assert_allclose(middle[3], (rgb[3] + green) / 2, atol=1e-4)
    np.testing.assert_allclose(middle[4:], np.broadcast_to(green, middle[4:].shape), atol=1e-4)
    middle[:] = green
    np.testing.assert_allclose(square, np.broadcast_to(green, square.shape), atol=1e-4)


class FakeBiSeNet:
    """Returns one label for each colour of the image, and keeps its input."""

    COLOURS = ((Parsing.L_EYE, (0, 0, 255)), (Parsing.HAIR, (255, 0, 0)), (Parsing.SKIN, (120, 255, 153)))

    def __init__(self) -> None:
        self.seen: Tensor | None = None

    def __call__(self, normalised: Tensor) -> Tensor:
        self.seen = normalised
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        rgb = (normalised * std[:, None, None] + mean[:, None, None]) * 255
        scores = torch.full((len(rgb), 19, *rgb.shape[2:]), -1e6)
        for label, colour in self.COLOURS:
            scores[:, label] = -(rgb - torch.tensor(colour)[:, None, None]).abs().sum(1)
        return scores


@pytest.mark.parametrize("size", [(120, 90), (60, 97)])
def test_labels_return_to_their_pixels_and_eyes_to_their_sides(weights, size):
    height, width = size
    rgb = np.full((*size, 3), (120, 255, 153), np.uint8)
    rgb[: height // 3] = (255, 0, 0)
    right, left = width // 3, 2 * width // 3
    for x in (right, left):
        rgb[height // 2 - 4 : height // 2 + 4, x - 4 : x + 4] = (0, 0, 255)
    estimator = BiSeNetParsing(weights / PARSING, CPU)
    estimator._net = network = FakeBiSeNet()
    labels = estimator.parsing(
        frame_of(rgb), face_in(0, 0.1 * height, width, height), np.ones(size, np.float32)
    )
    assert network.seen.shape == (1, 3, 512, 512)
    assert labels.shape == size
    wrong = (labels == Parsing.HAIR) != (rgb[..., 0] == 255)
    assert wrong.mean() < 0.02  # a blurred edge at most
    assert labels[height // 2, right] == Parsing.R_EYE
    assert labels[height // 2, left] == Parsing.L_EYE


def test_the_published_range_is_half_as_wide(weights):
    rgb = noise(48, 48, 3)
    arguments = (frame_of(rgb), face_in(5, 5, 30, 30), np.ones((48, 48), np.float32))
    seen = {}
    for input_range in ("plain", "published"):
        estimator = BiSeNetParsing(weights / PARSING, CPU, input_range)
        estimator._net = network = FakeBiSeNet()
        estimator.parsing(*arguments)
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        seen[input_range] = network.seen * std[:, None, None] + mean[:, None, None]
        assert ("published" in estimator.name) == (input_range == "published")
    torch.testing.assert_close(seen["published"], seen["plain"] * 0.5 + 0.5)
    assert seen["plain"].min() < 0.2


def test_parsing_with_the_network_itself_in_batches(weights):
    estimator = BiSeNetParsing(weights / PARSING, CPU)
    estimator.batch_size = 2
    inputs = [
        (frame_of(noise(40, 30, 3), i), face_in(5, 5, 20, 20), np.ones((40, 30), np.float32))
        for i in range(3)
    ]
    answers = [labels for _, labels in call_in_batches(estimator, "parsing", inputs, tuple)]
    assert [labels.shape for labels in answers] == [(40, 30)] * 3
    np.testing.assert_array_equal(answers[0], answers[2])  # the same image, alone and in a batch
    assert answers[0].max() < 19


# --- normals ----------------------------------------------------------------------------------------------


def test_the_box_is_a_square_around_the_landmarks():
    assert SquareBox.around(np.float32([[10, 20], [60, 40]])) == SquareBox(5, 0, 60)


@pytest.mark.parametrize("box", [SquareBox(20, 10, 40), SquareBox(-15, -9, 60), SquareBox(30, 30, 300)])
def test_what_is_cut_out_is_pasted_back_to_its_place(box):
    rows, columns = np.mgrid[:90, :100].astype(np.float32)
    position = np.stack([columns, rows, np.full_like(rows, 50)], axis=2)
    pasted = box.paste(box.cut_out(position), (90, 100))
    expected = position / np.linalg.norm(position, axis=2, keepdims=True)
    inside = np.zeros((90, 100), bool)
    inside[max(box.top, 0) : box.top + box.side, max(box.left, 0) : box.left + box.side] = True
    assert (np.abs(pasted).max(axis=2) > 0).tolist() == inside.tolist()
    np.testing.assert_allclose(pasted[inside], expected[inside], atol=0.02)


def test_a_box_outside_of_the_image_gives_nothing():
    box = SquareBox(200, 10, 40)
    assert box.cut_out(noise(50, 60, 3)).shape == (256, 256, 3)
    assert not box.paste(np.ones((256, 256, 3), np.float32), (50, 60)).any()


@pytest.mark.parametrize("input_range", ["plain", "published"])
def test_normals_are_turned_y_down_unit_and_cut_by_the_segmentation(weights, input_range):
    seen = []

    def network(rgb01: Tensor) -> Tensor:
        seen.append(rgb01)
        return torch.tensor([0.6, 0.8, 2.4])[None, :, None, None].expand(len(rgb01), 3, 256, 256) * 3

    estimator = ResNetUNetNormals(weights / NORMALS, CPU, input_range)
    estimator._net = network
    segmentation = np.zeros((80, 70), np.uint8)
    segmentation[20:60] = 101
    normals = estimator.normals(
        frame_of(np.zeros((80, 70, 3), np.uint8)), face_in(15, 10, 30, 50), segmentation
    )
    known = np.abs(normals).max(axis=2) > 0
    rows, columns = np.nonzero(known)
    assert (rows.min(), rows.max()) == (20, 59)
    assert (columns.min(), columns.max()) == (0, 59)  # the box is 60 wide around 30
    np.testing.assert_allclose(
        normals[known], np.broadcast_to([3 / 13, -4 / 13, 12 / 13], normals[known].shape), atol=1e-5
    )
    assert normals.dtype == np.float32
    assert seen[0].unique().tolist() == [0.0 if input_range == "plain" else 0.5]


def test_normals_with_the_network_itself(weights):
    estimator = ResNetUNetNormals(weights / NORMALS, CPU)
    segmentation = np.full((60, 50), 101, np.uint8)
    normals = estimator.normals(frame_of(noise(60, 50, 3)), face_in(10, 10, 30, 40), segmentation)
    known = np.abs(normals).max(axis=2) > 0
    np.testing.assert_allclose(np.linalg.norm(normals[known], axis=1), 1, atol=1e-4)
    assert known.any()
