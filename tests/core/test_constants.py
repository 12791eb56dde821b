import torch

from nha.core.constants import constant, present_values


def test_a_constant_is_made_once_for_each_type():
    like = torch.zeros(2)
    first = constant((1.0, 2.0), like)
    assert first.tolist() == [1.0, 2.0]
    assert constant((1.0, 2.0), torch.ones(5)) is first
    assert constant((1.0, 2.0), like.double()).dtype == torch.float64
    assert constant((0, 1), like, torch.long).tolist() == [0, 1]


def test_constants_stay_where_they_are_because_graphs_read_them():
    like = torch.zeros(2)
    first = constant((1.0, 2.0), like)
    for i in range(2000):
        constant((float(i),), like)
    assert constant((1.0, 2.0), like) is first


def test_numbers_that_change_are_not_kept():
    like = torch.zeros(2, dtype=torch.float64)
    first = present_values((1.0, 2.0), like)
    assert first.tolist() == [1.0, 2.0]
    assert first.dtype == torch.float64
    assert present_values((1.0, 2.0), like) is not first


def test_a_constant_made_in_inference_mode_serves_training():
    with torch.inference_mode():
        factor = constant((3.5,), torch.zeros(1))
    x = torch.ones(1, requires_grad=True)
    (x * factor).sum().backward()
    assert x.grad.item() == 3.5
