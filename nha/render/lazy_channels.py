"""Channels of a G-buffer that are drawn when they are read for the first time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from torch import Tensor


class LazyChannels(Mapping):
    """Images [N, C, H, W] by name; some exist, the others are drawn together when one of them is read."""

    def __init__(
        self,
        drawn: Mapping[str, Tensor],
        later: tuple[str, ...],
        draw: Callable[[tuple[str, ...]], Mapping[str, Tensor]],
    ) -> None:
        """Create the mapping.

        Args:
            drawn: the images that exist.
            later: names of the others.
            draw: returns the images of these names.
        """
        self._drawn = dict(drawn)
        self._later = tuple(name for name in later if name not in self._drawn)
        self._draw = draw

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._drawn and name in self._later:
            self._drawn |= self._draw(self._later)
        return self._drawn[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self._drawn, *self._later)))

    def __len__(self) -> int:
        return len({*self._drawn, *self._later})
