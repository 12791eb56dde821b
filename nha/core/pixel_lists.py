"""Lists of chosen pixels, with a length that depends on the data or, inside `fixed_lengths`, does not.

`nonzero` makes the host wait for an accelerator, because the length of its result depends on the data. A list of fixed
length does not: it is padded, and what is computed for the padding is dropped. The lengths follow the largest count
seen so far, whose copy to the host is not waited for.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

HEADROOM = 0.1  # share by which a limit exceeds the largest value seen
EARLY = 0.04  # share below a limit at which a graph gets a larger one
LENGTH_STEP = 256  # lengths of lists are multiples of this, so that few different shapes occur
SECTION_STEP = 8  # pixels


@dataclass(frozen=True)
class ChosenRows:
    """K of P rows.

    Attributes:
        place: [K] long, ascending; P for the padding at the end of a list of fixed length.
        source: [K] long, the same, but one of the chosen rows for the padding.
        padded: whether the list may hold padding.
    """

    place: Tensor
    source: Tensor
    padded: bool

    def __len__(self) -> int:
        return len(self.place)

    def replace_rows(self, values: Tensor, own: Tensor) -> Tensor:
        """Values [P, C] with the chosen rows replaced by `own` [K, C]."""
        if not self.padded:
            return values.index_copy(0, self.place, own)
        extended = torch.cat([values, own.new_zeros(1, own.shape[1])])  # the padding goes to the last row
        return extended.index_copy(0, self.place, own)[:-1]


class ListLengths:
    """The fixed lengths and image sections of one renderer, by name.

    They follow the largest values seen, with some headroom. The first use of a name waits for the device. Later values
    are copied to the host without waiting, and enlarge the following images' lists; until then a list that is too short
    lacks its last entries.

    Attributes:
        frozen: keep all sizes, as a captured graph needs; the largest values are still recorded on the device.
    """

    def __init__(self) -> None:
        self.frozen = False
        self._steps: dict[str, int] = {}
        self._limits: dict[str, list[int]] = {}
        self._largest: dict[str, Tensor] = {}  # on the device
        self._following: tuple[tuple[str, ...], Tensor, torch.cuda.Event | None] | None = None
        self._arriving: dict[str, tuple[Tensor, torch.cuda.Event | None]] = {}

    def limits(self, name: str, values: Tensor, step: int) -> list[int]:
        """Upper limits of values [K] of this and of earlier images, as far as known; multiples of `step`."""
        if name not in self._limits:
            self._steps[name] = step
            self._largest[name] = values.clone()
            self._limits[name] = [_with_headroom(value, step) for value in values.tolist()]
        torch.maximum(self._largest[name], values, out=self._largest[name])
        if not self.frozen:
            self._take_over(name)
        return self._limits[name]

    def _take_over(self, name: str) -> None:
        """Use the values that have arrived on the host, and send the present ones."""
        if name in self._arriving:
            values, arrived = self._arriving[name]
            if arrived is not None and not arrived.query():
                return
            self._enlarge(name, values.tolist())
        self._arriving[name] = _copy_to_host(self._largest[name])

    def _enlarge(self, name: str, values: list[int], margin: float = 0.0) -> bool:
        """Raise limits that values exceed, or reach up to a margin (share); returns whether there were any."""
        limits = self._limits[name]
        exceeded = [i for i, value in enumerate(values) if value + abs(value) * margin > limits[i]]
        for i in exceeded:
            limits[i] = _with_headroom(values[i], self._steps[name])
        return bool(exceeded)

    def follow(self) -> bool:
        """Raise limits by the values that have arrived on the host, and send the present ones, without waiting.

        For graphs, in which the limits are frozen: they are raised before they are reached. Returns whether one was.
        """
        raised = False
        if self._following is not None:
            names, values, arrived = self._following
            if arrived is not None and not arrived.query():
                return False
            raised = self._enlarge_all(names, values.tolist(), EARLY)
        self._following = None
        if self._largest:
            all_values = torch.cat([*self._largest.values()])
            self._following = (tuple(self._largest), *_copy_to_host(all_values))
        return raised

    def exceeded(self) -> bool:
        """Whether a limit was exceeded so far; it is raised. Waits for the device."""
        self._arriving.clear()
        if not self._largest:
            return False
        values = torch.cat([*self._largest.values()]).tolist()  # one copy to the host
        return self._enlarge_all(tuple(self._largest), values)

    def _enlarge_all(self, names: tuple[str, ...], values: list[int], margin: float = 0.0) -> bool:
        """`_enlarge` for the values of several names, in their order."""
        rest = iter(values)
        found = [self._enlarge(name, [next(rest) for _ in self._limits[name]], margin) for name in names]
        return any(found)


def _with_headroom(value: int, step: int) -> int:
    """A multiple of `step` that exceeds `value` by about an eighth; negative values are lower limits of -value."""
    return math.ceil((value + abs(value) * HEADROOM) / step) * step


def _copy_to_host(values: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """A copy that may still be under way, and the event after which it is there; None where it is."""
    on_host = torch.empty_like(values, device="cpu", pin_memory=values.is_cuda)
    on_host.copy_(values, non_blocking=True)
    if not values.is_cuda:
        return on_host, None
    arrived = torch.cuda.Event()
    arrived.record()
    return on_host, arrived


_active = threading.local()


@contextlib.contextmanager
def fixed_lengths(lengths: ListLengths | None) -> Iterator[None]:
    """Use lists of fixed lengths in the block, in this thread; None keeps lengths that depend on the data."""
    before = getattr(_active, "lengths", None)
    _active.lengths = lengths
    try:
        yield
    finally:
        _active.lengths = before


def chosen_rows(name: str, mask: Tensor) -> ChosenRows:
    """The set entries of a mask, bool [P].

    name: the list's name, under which `ListLengths` keeps its length.
    """
    lengths: ListLengths | None = getattr(_active, "lengths", None)
    if lengths is None:
        place = mask.nonzero().squeeze(1)
        return ChosenRows(place, place, padded=False)
    (length,) = lengths.limits(name, mask.sum(0, keepdim=True), LENGTH_STEP)
    length = min(max(length, 1), len(mask))
    place = torch.nonzero_static(mask, size=length, fill_value=len(mask)).squeeze(1)
    source = torch.where(place < len(mask), place, place[:1]).clamp_max(len(mask) - 1)
    return ChosenRows(place, source, padded=True)


def section(
    name: str, row: Tensor, column: Tensor, size: tuple[int, int], margin: int
) -> tuple[slice, slice]:
    """Rows and columns of an image that hold all given pixels.

    Args:
        name: the section's name, under which `ListLengths` keeps its extent.
        row, column: [P] long.
        size: (height, width) of the image in pixels.
        margin: pixels added at each side.
    """
    (top, bottom), (left, right) = row.aminmax(), column.aminmax()
    extent = torch.stack([-top, bottom, -left, right])
    lengths: ListLengths | None = getattr(_active, "lengths", None)
    limits = extent.tolist() if lengths is None else lengths.limits(name, extent, SECTION_STEP)
    return tuple(
        slice(max(-low - margin, 0), min(high + margin + 1, length))
        for low, high, length in zip(limits[::2], limits[1::2], size, strict=True)
    )
