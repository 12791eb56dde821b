"""The eyelid rule by a fused kernel against plain torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nha.core.device import accelerator_path
from nha.core.types import Fragments
from nha.render.gbuffer import visible_surface

FACES, SIZE = 9, (2, 18, 20)  # more pixels than one program's


class Tables:
    """What `visible_surface` reads of `SurfaceTables`."""

    def __init__(self, device: str) -> None:
        generator = torch.Generator().manual_seed(1)
        tables = torch.randint(0, 4, (2, FACES + 1), generator=generator, dtype=torch.uint8)
        tables[:, -1] = 0  # no face
        self.eyelid_faces = tables.to(device).unbind()


def chosen(device: str, layers: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    nearest = Fragments(
        torch.randint(-1, FACES, (*SIZE, layers), generator=generator).to(device),
        torch.rand(*SIZE, layers, 3, generator=generator).to(device),
        torch.rand(*SIZE, layers, generator=generator).to(device),
    )
    visible = visible_surface(nearest, Tables(device))
    assert not torch.equal(visible.face_index, nearest.face_index[..., :1])  # some pixels are swapped
    return [visible.face_index.cpu(), visible.barycentric.cpu(), visible.depth.cpu()]


def assert_equals_plain(found: list[Tensor], layers: int) -> None:
    for ours, plain in zip(found, chosen("cpu", layers), strict=True):
        assert torch.equal(ours, plain)


@pytest.mark.parametrize("layers", [2, 3])
def test_fused_rule_equals_plain(layers) -> None:
    with accelerator_path():
        found = chosen("cpu", layers)
    assert_equals_plain(found, layers)


@pytest.mark.triton
@pytest.mark.parametrize("layers", [2, 3])
def test_kernel_equals_plain(kernel_device, layers) -> None:
    with accelerator_path():
        found = chosen(kernel_device, layers)
    assert_equals_plain(found, layers)
