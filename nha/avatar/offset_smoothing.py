"""Vertex offsets averaged with their neighbours. `docs/method.md`, section 3.

The averages are the change of variables of *Large Steps in Inverse Rendering* (Nicolet et al. 2021): a step of the
optimiser moves a region of the surface instead of single vertices.
"""

from __future__ import annotations

import numba
import numpy as np
import torch
from numba import float32, int64, prange
from scipy.spatial import cKDTree
from torch import Tensor, nn

from nha.core.device import float32_products, uses_cpu_kernels
from nha.core.mesh import unique_edges

_BLOCK = (
    16  # columns that one thread averages together: the values of a mesh's vertices then stay in its cache
)

_LARGEST_DENSE = 10_000  # vertices up to which accelerators multiply by a dense matrix: 400 MB
_MIRROR = (-1.0, 1.0, 1.0)  # heads are symmetric in x
_LARGEST_ASYMMETRY_METRES = 0.004  # vertices without a mirrored vertex within this distance have no partner


def mirrored_rows(rest: Tensor) -> tuple[Tensor, Tensor]:
    """The vertices on the other side of a head.

    Args:
        rest: [O, 3] metres, the vertices of the template that carry offsets.

    Returns:
        [O] long, the row of each partner; [O, 3] factors that mirror its offset, 0 without a partner.
    """
    points = rest.numpy()
    distance, partner = cKDTree(points).query(points * np.array(_MIRROR, dtype=points.dtype))
    has_partner = torch.from_numpy(distance < _LARGEST_ASYMMETRY_METRES).float()
    return torch.from_numpy(partner), torch.tensor(_MIRROR) * has_partner[:, None]


class OffsetSmoothing(nn.Module):
    """Repeated averages over the vertices that carry offsets, without parameters."""

    def __init__(self, faces: Tensor, offset_vertices: Tensor, times: int) -> None:
        """Build the symmetric matrix of one average.

        Args:
            faces: [F, 3] long, the mesh.
            offset_vertices: [O] ids of the vertices that carry offsets; edges to other vertices do not count.
            times: number of averages.
        """
        super().__init__()
        self.times = times
        n_offset = len(offset_vertices)
        row = torch.full((int(faces.max()) + 1,), -1)
        row[offset_vertices] = torch.arange(n_offset)
        edges = row[unique_edges(faces)]
        edges = edges[(edges >= 0).all(1)]
        both = torch.cat([edges, edges.flip(1)])
        degree = torch.bincount(both[:, 0], minlength=n_offset).float()
        step = 1 / degree.max().clamp_min(1)
        diagonal = torch.arange(n_offset)
        index = torch.cat([both, torch.stack([diagonal, diagonal], 1)]).T
        values = torch.cat([step.expand(len(both)), 1 - step * degree])
        matrix = torch.sparse_coo_tensor(
            index, values, (n_offset, n_offset), check_invariants=True
        ).coalesce()
        starts = torch.searchsorted(matrix.indices()[0].contiguous(), torch.arange(n_offset + 1))
        self.register_buffer("index", matrix.indices(), persistent=False)  # [2, E]
        self.register_buffer("values", matrix.values(), persistent=False)  # [E]
        self.register_buffer("starts", starts, persistent=False)  # [O + 1] first entry of each row
        self._power: Tensor | None = None  # [O, O] the matrix to the power of `times`, on accelerators

    def forward(self, offsets: Tensor) -> Tensor:
        """Offsets [K, O, 3] averaged with their neighbours, `times` times."""
        columns = offsets.permute(1, 0, 2).reshape(offsets.shape[1], -1)
        return _Smooth.apply(columns, self).unflatten(1, (-1, 3)).transpose(0, 1)

    def powers(self, columns: Tensor) -> Tensor:
        """The averages of columns [O, C], without gradient."""
        if uses_cpu_kernels(columns.device) and columns.dtype == torch.float32:
            return self._powers_numba(columns)
        if columns.dtype == torch.float32 and len(columns) <= _LARGEST_DENSE:
            return self._dense_powers(columns)
        matrix = torch.sparse_coo_tensor(
            self.index, self.values, (len(columns),) * 2, is_coalesced=True, check_invariants=False
        )
        for _ in range(self.times):
            columns = torch.sparse.mm(matrix, columns)
        return columns

    @float32_products()
    def _dense_powers(self, columns: Tensor) -> Tensor:
        """One product with the power of the matrix, which is computed at the first call."""
        power = self._power
        if power is None or power.device != columns.device:
            # computed on the CPU, where the averages are fast; 100 MB for 5000 vertices
            with torch.inference_mode(False), torch.no_grad():
                power = self._power = self._powers_numba(torch.eye(len(columns))).to(columns.device)
        return power @ columns

    def _powers_numba(self, columns: Tensor) -> Tensor:
        count = columns.shape[1]
        blocks = [block.contiguous() for block in columns.detach().split(_BLOCK, 1)]
        averaged = np.empty((len(columns), count), np.float32)
        matrix = [table.cpu().contiguous().numpy() for table in (self.starts, self.index[1], self.values)]
        padded = np.zeros((len(blocks), len(columns), min(_BLOCK, count)), np.float32)
        for block, values in zip(padded, blocks, strict=True):
            block[:, : values.shape[1]] = values.numpy()
        _average(padded, *matrix, self.times, averaged)
        return torch.from_numpy(averaged)


class _Smooth(torch.autograd.Function):
    """Repeated products with a symmetric sparse matrix; the backward pass repeats them with the gradient."""

    @staticmethod
    def forward(ctx, columns: Tensor, smoothing: OffsetSmoothing) -> Tensor:
        ctx.smoothing = smoothing
        return smoothing.powers(columns)

    @staticmethod
    def backward(ctx, upstream: Tensor):
        return ctx.smoothing.powers(upstream), None


@numba.njit(
    numba.void(float32[:, :, ::1], int64[::1], int64[::1], float32[::1], int64, float32[:, ::1]),
    parallel=True,
    cache=True,
)
def _average(blocks, starts, neighbours, weights, times, averaged):
    """averaged [O, C] = matrix^times @ columns, with the columns in blocks [B, O, c]; the blocks are overwritten."""
    width = blocks.shape[2]
    for b in prange(len(blocks)):
        present = blocks[b]
        following = np.empty_like(present)
        for _ in range(times):
            for row in range(len(present)):
                target = following[row]
                target[:] = 0
                for entry in range(starts[row], starts[row + 1]):
                    source, weight = present[neighbours[entry]], weights[entry]
                    for column in range(width):
                        target[column] += weight * source[column]
            present, following = following, present
        first = b * _BLOCK
        for row in range(len(present)):
            for column in range(min(width, averaged.shape[1] - first)):
                averaged[row, first + column] = present[row, column]
