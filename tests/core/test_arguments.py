"""Checks of the objects that a program passes to the public functions."""

from __future__ import annotations

import pytest

from nha.core.arguments import list_of
from nha.core.errors import UserError


@pytest.mark.parametrize("wrong", ["", None, 0.0])
def test_an_object_of_another_class_is_refused_also_if_it_counts_as_false(wrong):
    assert list_of(int, 3, "numbers") == [3]
    with pytest.raises(UserError, match="numbers must be a list of builtins.int, but holds"):
        list_of(int, [3, wrong], "numbers")
