"""Vertex weights of the Laplacian term, from weights per body part. `docs/method.md`, section 4.

The weights are read from `configs/body_part_weights.json`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from nha.core.errors import UserError
from nha.core.json_file import read_json
from nha.core.mesh import neighbour_mean
from nha.losses.shapes import expect_shape

EARS = ("left_ear", "right_ear")
SMOOTHING_ROUNDS = 3


def read_part_weights(path: Path, model: str = "mlp", term: str = "lap") -> dict[str, float]:
    """The weights of one loss term as part name -> weight.

    Args:
        path: JSON file {model: {term: {part: number}}}.
        model: kind of offset model.
        term: name of the loss term.

    Raises:
        UserError: the file is missing, is not JSON or has no such table of numbers.
    """
    try:
        table = read_json(Path(path))[model][term]
        return {str(part): float(weight) for part, weight in table.items()}
    except OSError as error:
        raise UserError(
            f"cannot read the body part weights {path}: {error.strerror}; check `body_part_weights`"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        layout = f'{{"{model}": {{"{term}": {{part: number}}}}}}'
        raise UserError(f"{path} is not a table of body part weights; it must contain {layout}") from None


def part_weights(
    weight_of_part: Mapping[str, float], hard_labels: Tensor, part_names: Sequence[str], edges: Tensor
) -> Tensor:
    """A weight per vertex from a weight per part, smoothed over the borders of all parts but the ears.

    Each vertex starts with 1, multiplied by the weights of all parts that it is in, except ears. The mean over the
    vertex and its 1-ring is taken three times. Finally the vertices of the ears get the weight of the ear.

    Args:
        weight_of_part: name -> weight.
        hard_labels: [V, P], 0 or 1.
        part_names: the P names.
        edges: [E, 2] vertex ids.

    Returns:
        float [V].

    Raises:
        UserError: a part that the head does not have.
    """
    expect_shape("hard_labels", hard_labels, None, len(part_names))
    column_of = {name: i for i, name in enumerate(part_names)}
    for part in weight_of_part:
        if part not in column_of:
            nearest = difflib.get_close_matches(part, part_names, 1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            raise UserError(f"body_part_weights names {part!r}, a part that this head does not have{hint}")

    weights = torch.ones(len(hard_labels), device=hard_labels.device)
    for part, weight in weight_of_part.items():
        if part not in EARS:
            weights[hard_labels[:, column_of[part]] > 0.5] *= weight
    for _ in range(SMOOTHING_ROUNDS):
        weights = neighbour_mean(weights[None, :, None], edges, include_self=True)[0, :, 0]
    for ear in EARS:
        if ear in weight_of_part:
            weights[hard_labels[:, column_of[ear]] > 0.5] = weight_of_part[ear]
    return weights
