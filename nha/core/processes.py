"""Communication between the processes of a training run. With one process every function is the identity.

A batch that is split between processes must have the gradient of the whole batch. The gradients of the processes are
averaged, so each process divides the sum over its own pixels by the *mean* pixel count of all processes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class BatchShare:
    """The part of a batch that belongs to one process.

    Attributes:
        process: index of the process.
        n_processes: number of processes; all have parts of the same size.
    """

    process: int = 0
    n_processes: int = 1

    def total(self, n: int) -> int:
        """Number of frames of the whole batch, if each process has n."""
        return n * self.n_processes

    def own(self, n: int) -> slice:
        """The rows of this process's n frames in the whole batch."""
        return slice(self.process * n, (self.process + 1) * n)


WHOLE_BATCH = BatchShare()


def n_processes() -> int:
    """Number of processes of this run."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


@torch.no_grad()
def mean_over_processes(value: Tensor) -> Tensor:
    """The mean of a scalar over all processes, without gradient; all processes must call it."""
    n = n_processes()
    if n == 1:
        return value
    value = value.to(torch.float64)
    dist.all_reduce(value)
    return (value / n).float()


@torch.no_grad()
def gathered(rows: Tensor) -> Tensor:
    """The rows [n, ...] of all processes in their order, without gradient; n is the same in all processes."""
    n = n_processes()
    if n == 1:
        return rows.detach()
    parts = [torch.empty_like(rows) for _ in range(n)]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)
