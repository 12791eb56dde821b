"""Prefetching in threads: order, errors, early ends, and a bound on the number of items."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from nha.preprocess.stream import call_in_batches, prefetch


def counting(n: int, made: list[int]) -> Iterator[int]:
    for i in range(n):
        made.append(i)
        yield i


def test_the_order_is_kept_through_several_threads():
    doubled = (2 * i for i in prefetch(counting(200, []), 3))
    assert list(prefetch(doubled, 2)) == list(range(0, 400, 2))


def test_only_a_few_items_are_computed_before_they_are_requested():
    made: list[int] = []
    with closing(prefetch(counting(1000, made), 3)) as items:
        for i in range(100):
            assert next(items) == i
            assert len(made) <= i + 1 + 3 + 2  # queued, and one on its way


def test_an_error_is_raised_in_place_of_its_item():
    def broken() -> Iterator[int]:
        yield 1
        raise KeyError("two")

    items = prefetch(prefetch(broken(), 3), 3)
    assert next(items) == 1
    with pytest.raises(KeyError, match="two"):
        next(items)


def test_the_thread_ends_when_the_generator_is_closed():
    before = threading.active_count()
    made: list[int] = []
    with closing(prefetch(counting(10**9, made), 2)) as items:
        next(items)
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
    n = len(made)
    assert n < 10
    assert len(made) == n


class Doubling:
    """Doubles numbers and keeps the sizes of its batches."""

    def __init__(self, batch_size: int) -> None:
        self.batches: list[int] = []
        self.batch_size = batch_size

    def double(self, value: int) -> int:
        return 2 * value

    def double_batch(self, inputs: list[tuple[int]]) -> list[int]:
        self.batches.append(len(inputs))
        return [self.double(*given) for given in inputs]


@pytest.mark.parametrize("batch_size", [1, 3, 50])
def test_results_belong_to_their_jobs(batch_size):
    estimator = Doubling(batch_size)
    results = call_in_batches(estimator, "double", range(10), lambda i: None if i in (2, 9) else (i,))
    assert list(results) == [(i, None if i in (2, 9) else 2 * i) for i in range(10)]
    if batch_size == 3:
        assert estimator.batches == [2, 3, 3]  # 2 and 9 need no answer; 9 is alone
