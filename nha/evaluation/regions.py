"""The regions of a face that are scored by themselves."""

from __future__ import annotations

from torch import Tensor

from nha.core.conventions import OTHER_PARSING_LABELS, Parsing
from nha.core.images import erode
from nha.losses.masks import label_mask

_GLASSES = next(label for label, name in OTHER_PARSING_LABELS.items() if name == "glasses")
_EYES = (Parsing.L_EYE, Parsing.R_EYE)
_MOUTH = (Parsing.MOUTH, Parsing.U_LIP, Parsing.L_LIP)

# Region -> labels of the *true* picture's parsing. Neck, ears and clothes are in none.
REGIONS: dict[str, tuple[int, ...]] = {
    "face": (Parsing.SKIN, Parsing.L_BROW, Parsing.R_BROW, Parsing.NOSE, *_EYES, *_MOUTH, _GLASSES),
    "eyes": _EYES,
    "mouth": _MOUTH,
    "hair": (Parsing.HAIR,),
}
LID_SHARE = 50  # the lids belong to the eyes: they are grown by the picture's longer side divided by this


def region_masks(parsing: Tensor, foreground: Tensor) -> dict[str, Tensor]:
    """Where each region is, inside the head mask.

    parsing: [N, H, W] labels of the true picture; foreground: bool [N, 1, H, W]. Returns bool [N, 1, H, W] by name;
    empty in frames that do not show the region.
    """
    masks = {name: label_mask(parsing, labels) for name, labels in REGIONS.items()}
    radius = max(parsing.shape[1:]) // LID_SHARE
    masks["eyes"] = ~erode(~masks["eyes"], radius)
    return {name: mask & foreground for name, mask in masks.items()}
