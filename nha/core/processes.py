"""What the processes of one run tell each other. With one process every function is the identity.

A batch that is spread over processes must give the gradient of the whole batch. The gradients of the processes
are averaged, so a term that is a sum over its own pixels divided by the *mean* count of the processes' pixels is
that of the whole batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class BatchShare:
    """Which part of a batch a process has: that of its number, among so many equal ones."""

    process: int = 0
    n_processes: int = 1

    def total(self, n: int) -> int:
        """Frames of the whole batch, of which this process has n (as every other one)."""
        return n * self.n_processes

    def own(self, n: int) -> slice:
        """The place of this process's n frames in the whole batch."""
        return slice(self.process * n, (self.process + 1) * n)


WHOLE_BATCH = BatchShare()


def n_processes() -> int:
    """How many processes work on this run together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


@torch.no_grad()
def mean_over_processes(value: Tensor) -> Tensor:
    """The mean of a scalar count over all processes, without gradient; all of them must ask."""
    n = n_processes()
    if n == 1:
        return value
    value = value.to(torch.float64)
    dist.all_reduce(value)
    return (value / n).float()


@torch.no_grad()
def gathered(rows: Tensor) -> Tensor:
    """The rows [n, ...] of all processes in their order, without gradient; n is the same everywhere."""
    n = n_processes()
    if n == 1:
        return rows.detach()
    parts = [torch.empty_like(rows) for _ in range(n)]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)
