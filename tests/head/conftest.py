from __future__ import annotations

import pytest

from nha.head.assets import HeadAssets, load_head
from nha.head.model import HeadModel


@pytest.fixture(scope="session")
def assets() -> HeadAssets:
    return load_head("procedural")


@pytest.fixture(scope="session")
def head(assets) -> HeadModel:
    """The procedural head, subdivided once, without soft labels (they take a second)."""
    return HeadModel(assets, blur_sigma=None)
