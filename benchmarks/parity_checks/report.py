"""Rows of the report: one compared quantity each, in the unit that its tolerance limits."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

HEADER = f"{'quantity':<40} {'shape':<18} {'worst':>10} {'mean':>10} {'tolerance':>9}"
_SHARE_OF_SURFACE = 0.999  # of the foreground pixels must keep the tight tolerance


@dataclass(frozen=True)
class Row:
    """One compared quantity; worst and mean are in the unit that `tolerance` limits."""

    name: str
    shape: tuple[int, ...]
    worst: float
    mean: float
    tolerance: float
    ok: bool

    def as_json(self) -> dict:
        """The row as JSON can hold it: name, shape, worst, mean, tolerance, pass; null for no finite number."""
        entry = dataclasses.asdict(self)
        entry["pass"] = entry.pop("ok")
        entry["shape"] = list(self.shape)
        return {key: None if isinstance(x, float) and not math.isfinite(x) else x for key, x in entry.items()}

    def __str__(self) -> str:
        shape = "x".join(map(str, self.shape)) or "scalar"
        verdict = "pass" if self.ok else "FAIL"
        return f"{self.name:<40} {shape:<18} {self.worst:>10.2e} {self.mean:>10.2e} {self.tolerance:>9.1e}  {verdict}"


class Report:
    """Collects and prints rows; each method knows one kind of tolerance.

    tolerance: the limits by name, see `parity.py`. A deviation that is not a number, and another shape than the
    reference's, fail.
    """

    def __init__(self, tolerance: Mapping[str, float]) -> None:
        self.tolerance = tolerance
        self.rows: list[Row] = []
        self.unchecked: list[str] = []

    @property
    def failed(self) -> list[str]:
        """Names of the rows that failed."""
        return [row.name for row in self.rows if not row.ok]

    def add(
        self, name: str, shape: Iterable[int], worst: float, mean: float, limit: float, ok: bool | None = None
    ) -> None:
        """A row; `ok` is worst <= limit unless something else decides."""
        worst = float(worst)
        passed = worst <= limit if ok is None else bool(ok)
        self.rows.append(Row(name, tuple(shape), worst, float(mean), float(limit), passed))
        print(self.rows[-1], flush=True)

    def not_checked(self, name: str, reason: str) -> None:
        """A quantity of the folder that gets no row."""
        self.unchecked.append(name)
        print(f"not checked: {name} ({reason})", flush=True)

    def rest_not_checked(self, names: Iterable[str], reason: str) -> None:
        """Name everything that got neither a row nor a reason, so that nothing is left out in silence."""
        seen = {row.name for row in self.rows} | set(self.unchecked)
        for name in names:
            if name not in seen:
                self.not_checked(name, reason)

    # --- kinds of tolerance -------------------------------------------------------------------------------

    def absolute(self, name: str, ours: Tensor, golden: Tensor, kind: str) -> None:
        """Every element within the tolerance called `kind`."""
        limit = self.tolerance[kind]
        if (deviation := self._deviation(name, ours, golden, limit)) is not None:
            self.add(name, golden.shape, deviation.max(), deviation.mean(), limit)

    def absolute_or_rounding(
        self, name: str, ours: Tensor, golden: Tensor, kind: str, rounding: Tensor
    ) -> None:
        """Every element within the tolerance, but for a few that stay within what float32 rounding explains.

        rounding: bound on the effect of one rounding, broadcast over the elements (see `rounding.py`). Both sides
        round, hence twice. At most a share of `rounded_share` of the elements may use it.
        """
        limit = self.tolerance[kind]
        if (deviation := self._deviation(name, ours, golden, limit)) is None:
            return
        over = deviation > limit
        few = over.double().mean().item() <= self.tolerance["rounded_share"]
        ok = few and bool((deviation <= torch.where(over, 2 * rounding, limit)).all())
        self.add(name, golden.shape, deviation.max(), deviation.mean(), limit, ok)

    def count(self, name: str, differs: Tensor, kind: str) -> None:
        """At most so many elements of a bool tensor are set."""
        number = int(differs.sum())
        self.add(name, differs.shape, number, number / max(differs.numel(), 1), self.tolerance[kind])

    def relative(self, name: str, ours: float | Tensor, golden: float, kind: str = "scalar") -> None:
        """A scalar, compared by the reference's size."""
        ours = ours.item() if isinstance(ours, Tensor) else ours
        deviation = abs(ours - golden) / max(abs(golden), 1e-12)
        self.add(name, (), deviation, deviation, self.tolerance[kind])

    def scaled(self, name: str, ours: Tensor, golden: Tensor, kind: str) -> None:
        """Every element, compared by the largest of the reference."""
        limit = self.tolerance[kind]
        if (deviation := self._deviation(name, ours, golden, limit)) is not None:
            deviation = deviation / max(golden.abs().max().item(), 1e-12)
            self.add(name, golden.shape, deviation.max(), deviation.mean(), limit)

    def surface(self, name: str, ours: Tensor, golden: Tensor, foreground: Tensor) -> None:
        """[N, H, W, C] on the pixels of `foreground` [N, H, W]: nearly all of them tight, all of them loose."""
        limit = self.tolerance["surface_max"]
        if (deviation := self._deviation(name, ours, golden, limit)) is None:
            return
        deviation = deviation.amax(-1)[foreground.cpu()]
        if not len(deviation):  # no pixel is drawn by both
            return self.add(name, golden.shape, math.inf, math.inf, limit)
        share = (deviation < self.tolerance["surface"]).double().mean().item()
        worst = deviation.max().item()
        ok = share >= _SHARE_OF_SURFACE and worst <= limit
        self.add(name, golden.shape, worst, deviation.mean(), limit, ok)

    def colour(self, name: str, ours: Tensor, golden: Tensor) -> None:
        """Pictures [N, C, H, W]: a small mean, and hardly any pixel that is off by more than an outlier."""
        limit = self.tolerance["colour_mean"]
        if (deviation := self._deviation(name, ours, golden, limit)) is None:
            return
        outliers = (deviation.amax(1) > self.tolerance["colour_outlier"]).double().mean().item()
        mean = deviation.mean().item()
        ok = mean < limit and outliers <= self.tolerance["colour_outlier_share"]
        self.add(name, golden.shape, deviation.max(), mean, limit, ok)

    def gradient(self, name: str, ours: Tensor, golden: Tensor) -> None:
        """The length of the difference, by the length of the reference."""
        limit = self.tolerance["gradient"]
        if self._deviation(name, ours, golden, limit) is None:
            return
        difference, length = (ours.detach().cpu() - golden).norm().item(), golden.norm().item()
        deviation = difference / length if length else difference
        self.add(name, golden.shape, deviation, deviation, limit)

    def direction(self, name: str, ours: Tensor, golden: Tensor) -> None:
        """1 - cosine of two gradients; and, because a cosine is blind to scale, `name/length` beside it."""
        limit = self.tolerance["gradient_cosine"]
        if self._deviation(name, ours, golden, limit) is None:
            return
        ours, theirs = ours.detach().cpu().double().flatten(), golden.double().flatten()
        deviation = 0.0
        if ours.any() or theirs.any():
            deviation = 1 - torch.nn.functional.cosine_similarity(ours, theirs, dim=0, eps=1e-30).item()
        self.add(name, golden.shape, deviation, deviation, limit)
        self.relative(f"{name}/length", ours.norm(), theirs.norm().item(), "gradient_length")

    def _deviation(self, name: str, ours: Tensor, golden: Tensor, limit: float) -> Tensor | None:
        """|ours - golden| in float64 on the CPU; None, and a failed row, where the shapes differ."""
        if ours.shape == golden.shape:
            return (ours.detach().cpu().double() - golden.double()).abs()
        print(f"{name}: ours is {list(ours.shape)}")
        self.add(name, golden.shape, math.inf, math.inf, limit)
        return None
