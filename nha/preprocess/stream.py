"""Stages that work at the same time: each takes items from the one before it, in order, through a short queue."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from queue import Full, Queue
from threading import Event, Thread
from typing import TypeVar

Item = TypeVar("Item")

_POLL_SECONDS = 0.1  # how soon a stage that waits for room notices that nobody wants its items any more


def ahead(items: Iterable[Item], n: int) -> Iterator[Item]:
    """Compute items in a thread of its own, up to n of them before they are asked for.

    Order is kept; an error comes out where the item would have. The thread starts with the first item asked
    for and has ended when this generator has, also where it is closed early. `items` is not closed.
    """
    finished: Queue[tuple[bool, Item | BaseException | None]] = Queue(maxsize=n)
    unwanted = Event()

    def put(is_item: bool, value: Item | BaseException | None) -> None:
        while not unwanted.is_set():
            try:
                return finished.put((is_item, value), timeout=_POLL_SECONDS)
            except Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put(True, item)
                if unwanted.is_set():
                    return
        except BaseException as error:
            put(False, error)
        else:
            put(False, None)

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            is_item, value = finished.get()
            if is_item:
                yield value
            elif value is None:
                return
            else:
                raise value
    finally:
        unwanted.set()
        thread.join()


def several_at_once(
    estimator: object,
    method: str,
    jobs: Iterable[Item],
    arguments: Callable[[Item], tuple | None],
) -> Iterator[tuple[Item, object | None]]:
    """Every job with the estimator's answer, in order; in batches where the estimator can (see `estimators`).

    arguments: of the method, for a job, or None where it needs no answer. At most one batch of jobs is held.
    """
    batched = getattr(estimator, f"{method}_batch", None)
    size = estimator.batch_size if batched else 1
    waiting: list[tuple[Item, tuple | None]] = []

    def answer() -> Iterator[tuple[Item, object | None]]:
        inputs = [given for _, given in waiting if given is not None]
        if batched:
            answers = iter(batched(inputs) if inputs else ())
        else:
            answers = (getattr(estimator, method)(*given) for given in inputs)
        yield from ((job, None if given is None else next(answers)) for job, given in waiting)
        waiting.clear()

    for job in jobs:
        waiting.append((job, arguments(job)))
        if len(waiting) == size:
            yield from answer()
    yield from answer()
