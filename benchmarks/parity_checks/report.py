"""The report: one row for each compared quantity, in the unit of its tolerance."""

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
    """One compared quantity; `worst` and `mean` are in the unit of `tolerance`."""

    name: str
    shape: tuple[int, ...]
    worst: float
    mean: float
    tolerance: float
    ok: bool

    def as_json(self) -> dict:
        """The row for JSON: name, shape, worst, mean, tolerance, pass; null in place of non-finite numbers."""
        entry = dataclasses.asdict(self)
        entry["pass"] = entry.pop("ok")
        entry["shape"] = list(self.shape)
        return {key: None if isinstance(x, float) and not math.isfinite(x) else x for key, x in entry.items()}

    def __str__(self) -> str:
        shape = "x".join(map(str, self.shape)) or "scalar"
        verdict = "pass" if self.ok else "FAIL"
        return f"{self.name:<40} {shape:<18} {self.worst:>10.2e} {self.mean:>10.2e} {self.tolerance:>9.1e}  {verdict}"


class Report:
    """Collects and prints rows, with a method for each kind of tolerance.

    A row fails if the deviation is not a number, or if the shapes differ.

    Attributes:
        tolerance: limits by name, see `parity.py`.
        rows: the rows so far.
        unchecked: names of quantities without a row.
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
        """Add a row; `ok` is worst <= limit by default."""
        worst = float(worst)
        passed = worst <= limit if ok is None else bool(ok)
        self.rows.append(Row(name, tuple(shape), worst, float(mean), float(limit), passed))
        print(self.rows[-1], flush=True)

    def not_checked(self, name: str, reason: str) -> None:
        """Record a quantity of the folder that gets no row."""
        self.unchecked.append(name)
        print(f"not checked: {name} ({reason})", flush=True)

    def rest_not_checked(self, names: Iterable[str], reason: str) -> None:
        """Record all names that have neither a row nor a reason, so that no quantity is omitted silently."""
        seen = {row.name for row in self.rows} | set(self.unchecked)
        for name in names:
            if name not in seen:
                self.not_checked(name, reason)

    # --- kinds of tolerance -------------------------------------------------------------------------------

    def absolute(self, name: str, ours: Tensor, golden: Tensor, kind: str) -> None:
        """Every element is within the tolerance `kind`."""
        limit = self.tolerance[kind]
        if (deviation := self._deviation(name, ours, golden, limit)) is not None:
            self.add(name, golden.shape, deviation.max(), deviation.mean(), limit)

    def absolute_or_rounding(
        self, name: str, ours: Tensor, golden: Tensor, kind: str, rounding: Tensor
    ) -> None:
        """Every element is within the tolerance, except a few that are within the bound of float32 rounding.

        rounding: bound on the effect of one rounding, broadcast over the elements (see `rounding.py`); twice this bound
        is allowed, because both sides round, for at most the share `rounded_share` of the elements.
        """
        limit = self.tolerance[kind]
        if (deviation := self._deviation(name, ours, golden, limit)) is None:
            return
        over = deviation > limit
        few = over.double().mean().item() <= self.tolerance["rounded_share"]
        ok = few and bool((deviation <= torch.where(over, 2 * rounding, limit)).all())
        self.add(name, golden.shape, deviation.max(), deviation.mean(), limit, ok)

    def count(self, name: str, differs: Tensor, kind: str) -> None:
        """The number of set elements of a bool tensor is within the tolerance `kind`."""
        number = int(differs.sum())
        self.add(name, differs.shape, number, number / max(differs.numel(), 1), self.tolerance[kind])

    def relative(self, name: str, ours: float | Tensor, golden: float, kind: str = "scalar") -> None:
        """The deviation of a scalar relative to the reference."""
        ours = ours.item() if isinstance(ours, Tensor) else ours
        deviation = abs(ours - golden) / max(abs(golden), 1e-12)
        self.add(name, (), deviation, deviation, self.tolerance[kind])

    def scaled(self, name: str, ours: Tensor, golden: Tensor, kind: str) -> None:
        """The deviation of every element relative to the largest element of the reference."""
        limit = self.tolerance[kind]
        if (deviation := self._deviation(name, ours, golden, limit)) is not None:
            deviation = deviation / max(golden.abs().max().item(), 1e-12)
            self.add(name, golden.shape, deviation.max(), deviation.mean(), limit)

    def surface(self, name: str, ours: Tensor, golden: Tensor, foreground: Tensor) -> None:
        """[N, H, W, C] on the pixels of `foreground` [N, H, W]: 99.9 % within "surface", all within "surface_max"."""
        limit = self.tolerance["surface_max"]
        if (deviation := self._deviation(name, ours, golden, limit)) is None:
            return
        deviation = deviation.amax(-1)[foreground.cpu()]
        if not len(deviation):  # no pixel is covered in both
            return self.add(name, golden.shape, math.inf, math.inf, limit)
        share = (deviation < self.tolerance["surface"]).double().mean().item()
        worst = deviation.max().item()
        ok = share >= _SHARE_OF_SURFACE and worst <= limit
        self.add(name, golden.shape, worst, deviation.mean(), limit, ok)

    def colour(self, name: str, ours: Tensor, golden: Tensor) -> None:
        """Images [N, C, H, W]: limits on the mean deviation and on the share of outlier pixels."""
        limit = self.tolerance["colour_mean"]
        if (deviation := self._deviation(name, ours, golden, limit)) is None:
            return
        outliers = (deviation.amax(1) > self.tolerance["colour_outlier"]).double().mean().item()
        mean = deviation.mean().item()
        ok = mean < limit and outliers <= self.tolerance["colour_outlier_share"]
        self.add(name, golden.shape, deviation.max(), mean, limit, ok)

    def gradient(self, name: str, ours: Tensor, golden: Tensor) -> None:
        """The norm of the difference relative to the norm of the reference."""
        limit = self.tolerance["gradient"]
        if self._deviation(name, ours, golden, limit) is None:
            return
        difference, length = (ours.detach().cpu() - golden).norm().item(), golden.norm().item()
        deviation = difference / length if length else difference
        self.add(name, golden.shape, deviation, deviation, limit)

    def direction(self, name: str, ours: Tensor, golden: Tensor) -> None:
        """1 - cosine of two gradients, and a row `name/length`, because a cosine does not depend on scale."""
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
