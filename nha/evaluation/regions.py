"""Regions of the face that have their own scores."""

from __future__ import annotations

from torch import Tensor

from nha.core.conventions import OTHER_PARSING_LABELS, Parsing
from nha.core.images import erode
from nha.losses.masks import label_mask

_GLASSES = next(label for label, name in OTHER_PARSING_LABELS.items() if name == "glasses")
_EYES = (Parsing.L_EYE, Parsing.R_EYE)
_MOUTH = (Parsing.MOUTH, Parsing.U_LIP, Parsing.L_LIP)

# Region -> labels in the parsing of the *true* image. Neck, ears and clothes belong to none.
REGIONS: dict[str, tuple[int, ...]] = {
    "face": (Parsing.SKIN, Parsing.L_BROW, Parsing.R_BROW, Parsing.NOSE, *_EYES, *_MOUTH, _GLASSES),
    "eyes": _EYES,
    "mouth": _MOUTH,
    "hair": (Parsing.HAIR,),
}
LID_SHARE = 50  # the eyes are dilated by the image's longer side divided by this, to include the lids


def region_masks(parsing: Tensor, foreground: Tensor) -> dict[str, Tensor]:
    """Return the masks of the regions inside the head mask.

    Args:
        parsing: [N, H, W] labels of the true image.
        foreground: bool [N, 1, H, W], the head mask.

    Returns:
        bool [N, 1, H, W] by the name of the region; empty in frames in which it is not visible.
    """
    masks = {name: label_mask(parsing, labels) for name, labels in REGIONS.items()}
    radius = max(parsing.shape[1:]) // LID_SHARE
    masks["eyes"] = ~erode(~masks["eyes"], radius)
    return {name: mask & foreground for name, mask in masks.items()}
