from __future__ import annotations

import pytest

from nha.head.model import HeadModel


@pytest.fixture(scope="session")
def head(assets) -> HeadModel:
    """The procedural head, subdivided once, without soft labels (they take a second)."""
    return HeadModel(assets, blur_sigma=None)
