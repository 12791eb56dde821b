"""The camera of a browser."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nha.viewer.client_messages import FOV_RANGE_RAD
from nha.viewer.viewpoint import Viewpoint

_ASPECT_RANGE = (0.25, 4.0)  # width over height of an image


def viewpoint_of_client(client: Any) -> Viewpoint:
    """The camera of a browser. Its numbers were checked when they arrived, see `client_messages`."""
    camera = client.camera
    fov_rad = min(max(float(camera.fov), FOV_RANGE_RAD[0]), FOV_RANGE_RAD[1])
    wxyz, position = (tuple(np.asarray(value, float).tolist()) for value in (camera.wxyz, camera.position))
    return Viewpoint(wxyz, position, fov_rad)


def aspect_of_client(client: Any) -> float:
    """Width over height of a browser's window, from 1:4 to 4:1."""
    aspect = float(client.camera.aspect)
    return min(max(aspect, _ASPECT_RANGE[0]), _ASPECT_RANGE[1]) if math.isfinite(aspect) else 1.0
