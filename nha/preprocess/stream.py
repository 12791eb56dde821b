"""Generators that prefetch in a thread, and estimators that process several frames at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from nha.preprocess.estimators import Estimator

Item = TypeVar("Item")

_END = object()


def prefetch(items: Iterable[Item], n: int) -> Iterator[Item]:
    """Compute items in a thread, up to n of them before they are requested.

    The order is kept, and an exception is raised where its item would have been returned. The thread starts
    with the first request and has ended when this generator is exhausted or closed. `items` is not closed.
    """
    iterator = iter(items)
    thread = ThreadPoolExecutor(max_workers=1)
    try:
        pending = deque(thread.submit(next, iterator, _END) for _ in range(n))
        while (item := pending.popleft().result()) is not _END:
            pending.append(thread.submit(next, iterator, _END))
            yield item
    finally:
        thread.shutdown(cancel_futures=True)


def call_in_batches(
    estimator: Estimator,
    method: str,
    jobs: Iterable[Item],
    arguments: Callable[[Item], tuple | None],
) -> Iterator[tuple[Item, object | None]]:
    """Call a method of an estimator for every job, several at once if its `batch_size` allows it.

    Args:
        estimator: see `Estimator.batch_size`.
        method: name of the method for a single job.
        jobs: at most one batch of them is held.
        arguments: arguments of the method for a job, or None to skip the job.

    Yields:
        Every job with the result, in order; None for jobs that were skipped.
    """
    waiting: list[tuple[Item, tuple | None]] = []

    def process() -> Iterator[tuple[Item, object | None]]:
        inputs = [given for _, given in waiting if given is not None]
        if estimator.batch_size > 1:
            results = iter(getattr(estimator, f"{method}_batch")(inputs) if inputs else ())
        else:
            results = (getattr(estimator, method)(*given) for given in inputs)
        yield from ((job, None if given is None else next(results)) for job, given in waiting)
        waiting.clear()

    for job in jobs:
        waiting.append((job, arguments(job)))
        if len(waiting) == estimator.batch_size:
            yield from process()
    yield from process()
