"""Lists of pixels: of fixed length they hold the same pixels as of a length that depends on the data."""

from __future__ import annotations

import pytest
import torch

from nha.core.pixel_lists import LENGTH_STEP, ListLengths, chosen_rows, fixed_lengths, section

MASK = torch.arange(3 * LENGTH_STEP) % 3 == 1  # a third of the rows


def test_padded_list_has_the_same_rows() -> None:
    exact = chosen_rows("rows", MASK)
    with fixed_lengths(ListLengths()):
        padded = chosen_rows("rows", MASK)
    n = len(exact)
    assert len(padded) > n
    assert torch.equal(padded.place[:n], exact.place)
    assert (padded.place[n:] == len(MASK)).all()
    assert MASK[padded.source].all()


def test_padding_replaces_nothing_and_gets_no_gradient() -> None:
    values = torch.rand(len(MASK), 2)
    own = torch.rand(len(MASK), 2, requires_grad=True)
    exact = chosen_rows("rows", MASK)
    expected = exact.replace_rows(values, own[exact.source])
    (expected_gradient,) = torch.autograd.grad(expected.square().sum(), own)
    with fixed_lengths(ListLengths()):
        padded = chosen_rows("rows", MASK)
    replaced = padded.replace_rows(values, own[padded.source])
    assert torch.equal(replaced, expected)
    assert torch.equal(torch.autograd.grad(replaced.square().sum(), own)[0], expected_gradient)


def test_list_grows_after_it_was_too_short() -> None:
    lengths = ListLengths()
    with fixed_lengths(lengths):
        chosen_rows("rows", MASK & (torch.arange(len(MASK)) < 30))
        short = chosen_rows("rows", torch.ones_like(MASK))
        assert len(short) == LENGTH_STEP
        assert lengths.exceeded()
        assert not lengths.exceeded()
        assert len(chosen_rows("rows", torch.ones_like(MASK))) == len(MASK)


def test_frozen_lengths_do_not_change() -> None:
    lengths = ListLengths()
    with fixed_lengths(lengths):
        first = len(chosen_rows("rows", MASK))
        lengths.frozen = True
        for _ in range(3):
            assert len(chosen_rows("rows", torch.ones_like(MASK))) == first
    assert lengths.exceeded()


def test_empty_list_is_all_padding() -> None:
    with fixed_lengths(ListLengths()):
        rows = chosen_rows("rows", torch.zeros(10, dtype=torch.bool))
    assert (rows.place == 10).all()
    assert (rows.source == 9).all()


@pytest.mark.parametrize("fixed", [False, True])
def test_section_holds_the_pixels(fixed) -> None:
    row, column = torch.tensor([20, 33]), torch.tensor([40, 44])
    with fixed_lengths(ListLengths() if fixed else None):
        rows, columns = section("part", row, column, (64, 50), margin=2)
    assert 8 <= rows.start <= 18
    assert 36 <= rows.stop <= 64
    assert 24 <= columns.start <= 38
    assert columns.stop == 47 or (fixed and columns.stop == 50)


def test_lengths_end_with_the_block() -> None:
    with fixed_lengths(ListLengths()):
        pass
    assert not chosen_rows("rows", MASK).padded
