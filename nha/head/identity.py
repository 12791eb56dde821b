"""The identity of a head model: whether coefficients and poses of one model mean the same on another.

All releases of FLAME and the procedural head have equally many coefficients, so that sizes do not tell them apart.
An identity (`HeadAssets.identity`) is a dictionary of text:

    name, release   for messages
    fingerprint     16 hexadecimal digits of a hash of template, identity and expression directions
    measures        mean (x, y, z) and spread of the template, spread of both kinds of directions, in metres
"""

from __future__ import annotations

from collections.abc import Mapping

GENERATED = "(generator version"  # in the release of a procedural head, see `nha.head.releases`
SAME_MEASURES_WITHIN = 5e-7  # metres


def same_head(first: Mapping[str, str], second: Mapping[str, str]) -> bool | None:
    """Whether two identities are of the same head model; None where one of them was not recorded.

    Heads of one generator version need equal measures only, because the last bits of their values may depend on the
    machine.
    """
    if not (first.get("fingerprint") and second.get("fingerprint")):
        return None
    if first["fingerprint"] == second["fingerprint"]:
        return True
    release = first.get("release", "")
    if GENERATED not in release or release != second.get("release"):
        return False
    measures = [[float(value) for value in one.get("measures", "").split()] for one in (first, second)]
    return len(measures[0]) == len(measures[1]) and all(
        abs(a - b) < SAME_MEASURES_WITHIN for a, b in zip(*measures, strict=True)
    )


def describe_head(identity: Mapping[str, str]) -> str:
    """A head model in a message: its release, else its name, and the start of its fingerprint."""
    name = identity.get("release") or identity.get("name") or "unknown"
    return f"'{name}' ({identity.get('fingerprint', '')[:8]})"
