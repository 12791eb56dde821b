"""Checks of the objects that a program passes to the public functions."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, TypeVar

from torch.nn import Module

from nha.core.errors import UserError

T = TypeVar("T")


def list_of(kind: type[T], given: T | Iterable[T], name: str) -> list[T]:
    """Several objects of a class as a list; one alone is a list of one.

    Args:
        kind: the class.
        given: the objects.
        name: of the argument, for the message.

    Raises:
        UserError: an object is not of the class.
    """
    items = list(given) if isinstance(given, Iterable) else [given]
    for item in items:
        if not isinstance(item, kind):
            raise UserError(
                f"{name} must be a list of {kind.__module__}.{kind.__name__}, but holds {_description(item)}"
            )
    return items


def require_network(network: Module | None, published: type[Module], name: str) -> None:
    """Check a network that takes the place of a published one; None takes no place.

    Args:
        network: the network.
        published: class of the published one, whose `forward` gets its arguments by position.
        name: of the argument, for the message.

    Raises:
        UserError: it is no module, or its `forward` takes other arguments.
    """
    if network is None:
        return
    if not isinstance(network, Module):
        raise UserError(
            f"{name} must be a torch.nn.Module (an object, not a class), not {_description(network)}"
        )
    expected = list(inspect.signature(published.forward).parameters)[1:]
    try:
        inspect.signature(network.forward).bind(*expected)
    except TypeError:
        raise UserError(
            f"{name}.forward must take {len(expected)} arguments: {', '.join(expected)} (see "
            f"{published.__module__}.{published.__name__})"
        ) from None


def _description(value: Any) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return f"a {type(value).__name__}"
