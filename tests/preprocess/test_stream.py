"""Stages in threads: order, errors, early ends, and never more than a few items at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from nha.preprocess.stream import ahead, several_at_once


def counting(n: int, made: list[int]) -> Iterator[int]:
    for i in range(n):
        made.append(i)
        yield i


def test_items_come_in_order_through_several_threads():
    doubled = (2 * i for i in ahead(counting(200, []), 3))
    assert list(ahead(doubled, 2)) == list(range(0, 400, 2))


def test_only_a_few_items_are_made_before_they_are_wanted():
    made: list[int] = []
    with closing(ahead(counting(1000, made), 3)) as items:
        for wanted in range(100):
            assert next(items) == wanted
            assert len(made) <= wanted + 1 + 3 + 2  # queued, and one on its way


def test_an_error_comes_where_the_item_would_have():
    def broken() -> Iterator[int]:
        yield 1
        raise KeyError("two")

    items = ahead(ahead(broken(), 3), 3)
    assert next(items) == 1
    with pytest.raises(KeyError, match="two"):
        next(items)


def test_a_stage_that_is_not_wanted_any_more_ends():
    before = threading.active_count()
    made: list[int] = []
    with closing(ahead(counting(10**9, made), 2)) as items:
        next(items)
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
    n = len(made)
    assert n < 10
    assert len(made) == n


class Doubling:
    """Doubles, several at once where `batch_size` is set; keeps the sizes of its batches."""

    def __init__(self, batch_size: int | None = None) -> None:
        self.batches: list[int] = []
        if batch_size:
            self.batch_size, self.double_batch = batch_size, self.several

    def double(self, value: int) -> int:
        return 2 * value

    def several(self, inputs: list[tuple[int]]) -> list[int]:
        self.batches.append(len(inputs))
        return [self.double(*given) for given in inputs]


@pytest.mark.parametrize("batch_size", [None, 1, 3, 50])
def test_answers_belong_to_their_jobs(batch_size):
    estimator = Doubling(batch_size)
    answers = several_at_once(estimator, "double", range(10), lambda i: None if i in (2, 9) else (i,))
    assert list(answers) == [(i, None if i in (2, 9) else 2 * i) for i in range(10)]
    if batch_size == 3:
        assert estimator.batches == [2, 3, 3]  # 2 and 9 need no answer; 9 is alone
