import torch

from nha.core.constants import constant


def test_a_constant_is_made_once_for_each_type():
    like = torch.zeros(2)
    first = constant((1.0, 2.0), like)
    assert first.tolist() == [1.0, 2.0]
    assert constant((1.0, 2.0), torch.ones(5)) is first
    assert constant((1.0, 2.0), like.double()).dtype == torch.float64
    assert constant((0, 1), like, torch.long).tolist() == [0, 1]


def test_a_constant_made_in_inference_mode_serves_training():
    with torch.inference_mode():
        factor = constant((3.5,), torch.zeros(1))
    x = torch.ones(1, requires_grad=True)
    (x * factor).sum().backward()
    assert x.grad.item() == 3.5
