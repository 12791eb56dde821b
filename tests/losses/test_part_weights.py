"""Weights per vertex from weights per body part."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from nha.core.errors import UserError
from nha.losses.part_weights import part_weights, read_part_weights

PARTS = ("face", "left_ear", "nose", "right_ear")
CHAIN = torch.tensor([[0, 1], [1, 2], [2, 3], [3, 4]])  # five vertices in a row


def labels(**vertices: list[int]) -> torch.Tensor:
    table = torch.zeros(5, len(PARTS))
    for part, ids in vertices.items():
        table[ids, PARTS.index(part)] = 1
    return table


def test_a_uniform_part_stays_uniform_and_others_start_from_one() -> None:
    everywhere = labels(face=[0, 1, 2, 3, 4])
    assert part_weights({"face": 3.0}, everywhere, PARTS, CHAIN).tolist() == pytest.approx([3.0] * 5)
    assert part_weights({"nose": 3.0}, everywhere, PARTS, CHAIN).tolist() == [1.0] * 5


def test_parts_multiply_then_are_smoothed_three_times() -> None:
    hard = labels(face=[0, 1], nose=[0])
    expected = [2.0 * 5.0, 2.0, 1.0, 1.0, 1.0]
    for _ in range(3):
        padded = [None, *expected, None]
        rings = [[w for w in padded[i : i + 3] if w is not None] for i in range(5)]
        expected = [sum(ring) / len(ring) for ring in rings]
    weights = part_weights({"face": 2.0, "nose": 5.0}, hard, PARTS, CHAIN)
    assert weights.tolist() == pytest.approx(expected)


def test_ears_are_set_at_the_end() -> None:
    hard = labels(face=[0, 1, 2, 3, 4], left_ear=[4])
    weights = part_weights({"left_ear": 500, "face": 2.0}, hard, PARTS, CHAIN)
    assert weights.tolist() == pytest.approx([2.0, 2.0, 2.0, 2.0, 500.0])


def test_a_zero_weight_and_no_edges() -> None:
    weights = part_weights({"nose": 0.0}, labels(nose=[2]), PARTS, torch.zeros(0, 2, dtype=torch.long))
    assert weights.tolist() == [1.0, 1.0, 0.0, 1.0, 1.0]


def test_an_unknown_part_offers_the_nearest() -> None:
    with pytest.raises(UserError, match="'left_eer'.*did you mean 'left_ear'"):
        part_weights({"left_eer": 1.0}, labels(), PARTS, CHAIN)


def test_reading(spaced_dir: Path) -> None:
    path = spaced_dir / "weights.json"
    path.write_text(json.dumps({"mlp": {"lap": {"nose": 0.5, "face": 1}}}))
    assert read_part_weights(path) == {"nose": 0.5, "face": 1.0}
    with pytest.raises(UserError, match="cannot read"):
        read_part_weights(spaced_dir / "missing.json")
    for broken in ("{", '{"mlp": {}}', "[1]", '{"mlp": {"lap": {"nose": "heavy"}}}', '{"mlp": {"lap": 3}}'):
        path.write_text(broken)
        with pytest.raises(UserError, match="not a table of body part weights"):
            read_part_weights(path)
