import torch

from nha.core.conventions import Parsing
from nha.evaluation.regions import region_masks


def test_regions_follow_the_parsing_inside_the_head_mask():
    parsing = torch.full((1, 60, 100), int(Parsing.SKIN))
    parsing[:, :10] = Parsing.HAIR
    parsing[:, 20:23, 40:44] = Parsing.L_EYE
    parsing[:, 40:44, 40:50] = Parsing.U_LIP
    parsing[:, 50:] = Parsing.NECK
    foreground = torch.ones(1, 1, 60, 100, dtype=torch.bool)
    foreground[..., :5] = False
    masks = {name: mask[0, 0] for name, mask in region_masks(parsing, foreground).items()}
    assert masks["hair"].sum() == 10 * 95
    assert masks["mouth"].sum() == 4 * 10
    assert masks["eyes"].sum() == (3 + 4) * (4 + 4)  # with lids of 100 / 50 pixels on each side
    assert masks["eyes"][18:25, 38:46].all()
    assert masks["face"].sum() == 40 * 95  # eyes and lips are part of it; hair and neck are not


def test_a_region_that_is_not_visible_is_empty():
    masks = region_masks(torch.zeros(2, 8, 8, dtype=torch.long), torch.ones(2, 1, 8, 8, dtype=torch.bool))
    assert not any(mask.any() for mask in masks.values())
