"""Metrics that need weights or another package, and the reasons why some are not available."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nha.core.errors import UserError
from nha.evaluation.landmark_distance import LandmarkDistance, landmark_detector
from nha.evaluation.lpips import load_lpips

ImageMetric = Callable[[Tensor, Tensor], Tensor]  # prediction, target rgb01 [N, 3, H, W] -> [N]


@dataclass(frozen=True)
class OptionalMetrics:
    """The available optional metrics.

    Attributes:
        metrics: functions by metric name.
        by: the network or detector that computes each of them.
        absent: the reason why each of the others is not available.
    """

    metrics: Mapping[str, ImageMetric] = field(default_factory=dict)
    by: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)


def open_optional_metrics(device: torch.device) -> OptionalMetrics:
    """Open LPIPS and the landmark distance if their weights and packages are installed."""
    metrics: dict[str, ImageMetric] = {}
    by: dict[str, str] = {}
    absent: dict[str, str] = {}
    for name, open_metric in (("lpips", _open_lpips), ("landmark_px", _open_landmark_distance)):
        try:
            metrics[name], by[name] = open_metric(device)
        except UserError as error:
            absent[name] = str(error)
    return OptionalMetrics(metrics, by, absent)


def _open_lpips(device: torch.device) -> tuple[ImageMetric, str]:
    return load_lpips().to(device), "AlexNet, version 0.1"


def _open_landmark_distance(device: torch.device) -> tuple[ImageMetric, str]:
    detector = landmark_detector(device)
    return LandmarkDistance(detector), detector.name
