"""Metrics that need weights or a package of their own: those that are there, and for the others why they are not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nha.core.errors import UserError
from nha.evaluation.landmark_distance import LandmarkDistance, landmark_detector
from nha.evaluation.lpips import load_lpips

PictureMetric = Callable[[Tensor, Tensor], Tensor]  # prediction, target rgb01 [N, 3, H, W] -> [N]


@dataclass(frozen=True)
class OptionalMetrics:
    """metrics: by name, what to call; by: who computes it; absent: why the others are not computed."""

    metrics: Mapping[str, PictureMetric] = field(default_factory=dict)
    by: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)


def open_optional_metrics(device: torch.device) -> OptionalMetrics:
    """Open LPIPS and the landmark distance where that works."""
    metrics: dict[str, PictureMetric] = {}
    by: dict[str, str] = {}
    absent: dict[str, str] = {}
    for name, open_metric in (("lpips", _lpips), ("landmark_px", _landmarks)):
        try:
            metrics[name], by[name] = open_metric(device)
        except UserError as error:
            absent[name] = str(error)
    return OptionalMetrics(metrics, by, absent)


def _lpips(device: torch.device) -> tuple[PictureMetric, str]:
    return load_lpips().to(device), "AlexNet, version 0.1"


def _landmarks(device: torch.device) -> tuple[PictureMetric, str]:
    detector = landmark_detector(device)
    return LandmarkDistance(detector), detector.name
