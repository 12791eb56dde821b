"""Connected components of masks."""

from __future__ import annotations

import cv2
import numpy as np


def largest_component(mask: np.ndarray) -> np.ndarray:
    """The largest connected component of a mask, bool [H, W]; an empty mask for an empty one."""
    if not mask.any():  # OpenCV crashes on an image without pixels
        return mask
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    box = slice(top, top + height), slice(left, left + width)
    count, components, statistics, _ = cv2.connectedComponentsWithStats(mask[box].view(np.uint8))
    if count <= 2:
        return mask
    result = np.zeros_like(mask)
    result[box] = components == 1 + int(np.argmax(statistics[1:, cv2.CC_STAT_AREA]))
    return result


def small_components(mask: np.ndarray, smallest_area_px: float) -> np.ndarray:
    """The connected components of a mask that are smaller than an area, bool [H, W]."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    box = slice(top, top + height), slice(left, left + width)
    _, components, statistics, _ = cv2.connectedComponentsWithStats(mask[box].view(np.uint8))
    too_small = statistics[:, cv2.CC_STAT_AREA] < smallest_area_px
    too_small[0] = False
    result = np.zeros_like(mask)
    if too_small.any():
        result[box] = too_small[components]
    return result


def components_outside(mask: np.ndarray, zone: np.ndarray) -> np.ndarray:
    """The connected components of a mask that have no pixel in a zone, bool [H, W]."""
    _, components = cv2.connectedComponents(mask.astype(np.uint8))
    rooted = np.zeros(int(components.max()) + 1, bool)
    rooted[np.unique(components[zone & mask])] = True
    return mask & ~rooted[components]


def fill_holes(mask: np.ndarray, largest_hole: float) -> np.ndarray:
    """A mask, bool [H, W], with its holes filled that are smaller than this share of the image's area."""
    count, components, statistics, _ = cv2.connectedComponentsWithStats(
        (~mask).astype(np.uint8), connectivity=4
    )
    filled = mask.copy()
    for component in range(1, count):
        left, top, width, height, area = statistics[component]
        at_border = left == 0 or top == 0 or left + width == mask.shape[1] or top + height == mask.shape[0]
        if not at_border and area < largest_hole * mask.size:
            filled |= components == component
    return filled
