"""Levenberg-Marquardt for many small problems at once, with or without shared unknowns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

_START_DAMPING = 1e-2
_MIN_DAMPING, _MAX_DAMPING = 1e-7, 1e8
_DAMPING_DECREASE, _DAMPING_INCREASE = 0.2, 8.0
# A problem has converged when a step lowers its cost by less than this part, or is rejected at this damping.
_MIN_IMPROVEMENT = 1e-4
_STALLED_DAMPING = 10.0


@dataclass(frozen=True)
class Linearised:
    """Residuals of N problems and their derivatives.

    Attributes:
        residual: [N, R].
        by_own: [N, R, P].
        by_shared: [N, R, S], or None if not asked for.
    """

    residual: Tensor
    by_own: Tensor
    by_shared: Tensor | None


@dataclass(frozen=True)
class Quadratic:
    """The prior (x - mean)^T precision (x - mean) / 2.

    Attributes:
        precision: [P, P].
        mean: [P] or [N, P].
    """

    precision: Tensor
    mean: Tensor

    def cost(self, x: Tensor) -> Tensor:
        """Cost of x [..., P]: [...]."""
        return 0.5 * ((x - self.mean) * self.gradient(x)).sum(-1)

    def gradient(self, x: Tensor) -> Tensor:
        """Gradient at x [..., P]: [..., P]."""
        return (x - self.mean) @ self.precision


class Observations(Protocol):
    """N sums of squared residuals, each of its own unknowns [P] and the shared ones [S]."""

    def reweight(self, own: Tensor, shared: Tensor) -> None:
        """Set the robust weights for the residuals at these unknowns."""

    def residuals(self, own: Tensor, shared: Tensor) -> Tensor:
        """Residuals [N, R] at own [N, P] and shared [S]."""

    def linearise(self, own: Tensor, shared: Tensor, *, with_shared: bool) -> Linearised:
        """Residuals and derivatives."""


@dataclass(frozen=True)
class Stacked:
    """Several observations of the same unknowns as one."""

    parts: Sequence[Observations]

    def reweight(self, own: Tensor, shared: Tensor) -> None:
        """Set the robust weights of each part for the residuals at these unknowns."""
        for part in self.parts:
            part.reweight(own, shared)

    def residuals(self, own: Tensor, shared: Tensor) -> Tensor:
        """Residuals of all parts [N, R]."""
        return torch.cat([part.residuals(own, shared) for part in self.parts], 1)

    def linearise(self, own: Tensor, shared: Tensor, *, with_shared: bool) -> Linearised:
        """Residuals of all parts and derivatives."""
        at = [part.linearise(own, shared, with_shared=with_shared) for part in self.parts]
        by_shared = torch.cat([a.by_shared for a in at], 1) if with_shared else None
        return Linearised(
            torch.cat([a.residual for a in at], 1), torch.cat([a.by_own for a in at], 1), by_shared
        )


def minimise_each(
    observed: Observations, priors: list[Quadratic], own: Tensor, shared: Tensor, n_steps: int
) -> Tensor:
    """Minimise N independent problems in parallel, each with its own damping.

    A step that does not lower a problem's cost, or is not a number, is rejected: the result is finite if the start
    is.

    Args:
        observed: the residuals.
        priors: of the own unknowns.
        own: [N, P] start, float64.
        shared: [S], fixed.
        n_steps: the largest number of steps.

    Returns:
        own [N, P].
    """

    def costs(own: Tensor) -> Tensor:
        return _half_square(observed.residuals(own, shared)) + sum(prior.cost(own) for prior in priors)

    damping = torch.full((len(own),), _START_DAMPING, dtype=own.dtype, device=own.device)
    cost = costs(own)
    for _ in range(n_steps):
        at = observed.linearise(own, shared, with_shared=False)
        normal = at.by_own.mT @ at.by_own + sum(prior.precision for prior in priors)
        gradient = (at.by_own.mT @ at.residual[..., None])[..., 0] + sum(p.gradient(own) for p in priors)
        step = torch.linalg.solve_ex(_damped(normal, damping[:, None]), gradient[..., None])[0][..., 0]
        proposed_cost = costs(own - step)
        better = proposed_cost < cost  # False for NaN
        improvement = torch.where(better, 1 - proposed_cost / cost.clamp_min(1e-12), 0.0)
        own = torch.where(better[:, None], own - step, own)
        cost = torch.where(better, proposed_cost, cost)
        damping = torch.where(better, damping * _DAMPING_DECREASE, damping * _DAMPING_INCREASE)
        damping = damping.clamp(_MIN_DAMPING, _MAX_DAMPING)
        active = (improvement > _MIN_IMPROVEMENT) | (~better & (damping < _STALLED_DAMPING))
        if not bool(active.any()):
            break
    return own


def minimise_jointly(
    observed: Observations,
    own_priors: list[Quadratic],
    shared_prior: Quadratic,
    own: Tensor,
    shared: Tensor,
    n_steps: int,
) -> tuple[Tensor, Tensor]:
    """Minimise N problems together with the unknowns that they share.

    The normal equations are an arrow matrix: the own unknowns are eliminated first (Schur complement). Arguments as
    in `minimise_each`.

    Returns:
        own [N, P] and shared [S].
    """

    def total(own: Tensor, shared: Tensor) -> Tensor:
        costs = _half_square(observed.residuals(own, shared)) + sum(p.cost(own) for p in own_priors)
        return costs.sum() + shared_prior.cost(shared)

    damping, cost = _START_DAMPING, total(own, shared)
    for _ in range(n_steps):
        normal = _joint_normal_equations(observed, own_priors, shared_prior, own, shared)

        better = False
        while not better and damping < _MAX_DAMPING:
            own_step, shared_step = _arrow_step(normal, damping)
            proposed_cost = total(own - own_step, shared - shared_step)
            better = bool(proposed_cost < cost)
            damping = max(damping * (_DAMPING_DECREASE if better else _DAMPING_INCREASE), _MIN_DAMPING)
        if not better:
            break
        improvement = float(1 - proposed_cost / cost.clamp_min(1e-12))
        own, shared, cost = own - own_step, shared - shared_step, proposed_cost
        if improvement < _MIN_IMPROVEMENT:
            break
    return own, shared


def shared_variances(
    observed: Observations,
    own_priors: list[Quadratic],
    shared_prior: Quadratic,
    own: Tensor,
    shared: Tensor,
) -> Tensor:
    """Posterior variances [S] of the shared unknowns at a minimum, marginalised over the own unknowns."""
    at = _joint_normal_equations(observed, own_priors, shared_prior, own, shared)
    schur = at.shared - (at.cross.mT @ torch.linalg.solve_ex(at.own, at.cross)[0]).sum(0)
    return torch.linalg.inv_ex(schur)[0].diagonal()


@dataclass(frozen=True)
class _JointNormalEquations:
    """An arrow matrix: N blocks own [N, P, P], cross [N, P, S], shared [S, S]; gradients [N, P] and [S]."""

    own: Tensor
    cross: Tensor
    shared: Tensor
    own_gradient: Tensor
    shared_gradient: Tensor


def _joint_normal_equations(
    observed: Observations, own_priors: list[Quadratic], shared_prior: Quadratic, own: Tensor, shared: Tensor
) -> _JointNormalEquations:
    at = observed.linearise(own, shared, with_shared=True)
    own_gradient = (at.by_own.mT @ at.residual[..., None])[..., 0]
    shared_gradient = (at.by_shared.mT @ at.residual[..., None]).sum(0)[:, 0]
    return _JointNormalEquations(
        own=at.by_own.mT @ at.by_own + sum(p.precision for p in own_priors),
        cross=at.by_own.mT @ at.by_shared,
        shared=(at.by_shared.mT @ at.by_shared).sum(0) + shared_prior.precision,
        own_gradient=own_gradient + sum(p.gradient(own) for p in own_priors),
        shared_gradient=shared_gradient + shared_prior.gradient(shared),
    )


def _arrow_step(normal: _JointNormalEquations, damping: float) -> tuple[Tensor, Tensor]:
    right_sides = torch.cat([normal.cross, normal.own_gradient[..., None]], 2)
    # with hundreds of right-hand sides, inverting and multiplying is several times faster than solving
    eliminated = torch.linalg.inv_ex(_damped(normal.own, damping))[0] @ right_sides
    by_shared, constant = eliminated[..., :-1], eliminated[..., -1]
    schur = _damped(normal.shared, damping) - (normal.cross.mT @ by_shared).sum(0)
    right = normal.shared_gradient - (normal.cross.mT @ constant[..., None]).sum(0)[:, 0]
    shared_step = torch.linalg.solve_ex(schur, right)[0]
    return constant - by_shared @ shared_step, shared_step


def _half_square(residual: Tensor) -> Tensor:
    return 0.5 * residual.square().sum(-1)


def _damped(normal: Tensor, damping: Tensor | float) -> Tensor:
    """Marquardt's damping: the diagonal times 1 + damping, plus a small constant for singular matrices."""
    diagonal = normal.diagonal(dim1=-2, dim2=-1)
    return normal + torch.diag_embed(damping * diagonal + 1e-9)
