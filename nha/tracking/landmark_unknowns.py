"""The unknowns of the landmark stages as vectors: each frame's own ones and those that all frames share."""

from __future__ import annotations

import torch
from torch import Tensor

from nha.core.conventions import N_LANDMARKS
from nha.head.model import HeadModel
from nha.tracking.head_rig import POSE_WIDTHS
from nha.tracking.reprojection import DetectedLandmarks
from nha.tracking.state import Unknowns


class UnknownVectors:
    """Between `Unknowns` and vectors, for the coefficients that are fitted.

    Attributes:
        n_shape, n_expr: how many coefficients of identity and expression are fitted.
        widths: of the parts of an own vector.
    """

    def __init__(self, head: HeadModel, n_shape: int, n_expr: int) -> None:
        self.n_shape, self.n_expr = min(n_shape, head.n_shape), min(n_expr, head.n_expr)
        self.widths = (self.n_expr, *POSE_WIDTHS)

    def own(self, u: Unknowns) -> Tensor:
        """[N, P] float64: expression, rotation, translation, neck, jaw, eyes."""
        parts = (u.expr[:, : self.n_expr], u.rotation, u.translation, u.neck, u.jaw, u.eyes)
        return torch.cat(parts, 1).double()

    def shared(self, u: Unknowns, detected: DetectedLandmarks) -> Tensor:
        """[S] float64: shape, landmark offsets, logarithm of the focal length."""
        parts = (u.shape[: self.n_shape], detected.offsets.flatten(), u.focal_and_centre[:1].log())
        return torch.cat(parts).double()

    def offsets(self, shared: Tensor) -> Tensor:
        """The landmark offsets' part of a shared vector: [70, 3]."""
        return shared[self.n_shape : -1].view(N_LANDMARKS, 3)

    def with_own(self, u: Unknowns, own: Tensor) -> Unknowns:
        """Unknowns like `u` with the frames' own ones from a vector [N, P]."""
        expr, rotation, translation, neck, jaw, eyes = own.split(self.widths, 1)
        unused = u.expr[:, self.n_expr :].to(expr).expand(len(expr), -1)
        expr = torch.cat([expr, unused], 1)
        return u.replace(expr=expr, rotation=rotation, translation=translation, neck=neck, jaw=jaw, eyes=eyes)

    def unknowns(self, u: Unknowns, own: Tensor, shared: Tensor) -> Unknowns:
        """Unknowns like `u` with what was found."""
        shared = shared.float()
        return self.with_own(u, own.float()).replace(
            shape=torch.cat([shared[: self.n_shape], u.shape[self.n_shape :]]),
            focal_and_centre=torch.cat([shared[-1:].exp(), u.focal_and_centre[1:]]),
        )
