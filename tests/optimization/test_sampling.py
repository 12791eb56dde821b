"""Random draws of a training step."""

import math

import torch

from nha.core.types import HeadParams
from nha.optimization.sampling import parameter_noise, random_partners, step_generator


def zeros(n: int) -> HeadParams:
    sizes = {"shape": 300, "expr": 100, "rotation": 3, "translation": 3, "neck": 3, "jaw": 3, "eyes": 6}
    return HeadParams(**{name: torch.zeros(n, size) for name, size in sizes.items()})


def test_noise_has_the_published_deviations():
    noise = parameter_noise(zeros(20000), 0.1, 5.0, step_generator(0, 0))
    published = {
        "rotation": math.radians(5),
        "eyes": 15 * math.pi / 180,
        "neck": 0.15,
        "jaw": 0.2,
        "expr": 1.0,
    }
    for name, sigma in published.items():
        values = getattr(noise, name)
        assert abs(values.std().item() / (0.1 * sigma) - 1) < 0.02, name
        assert abs(values.mean().item()) < 0.002, name
    assert (noise.shape == 0).all()
    assert (noise.translation == 0).all()


def test_draws_depend_only_on_seed_and_step():
    draw = lambda seed, step: parameter_noise(zeros(1), 1.0, 5.0, step_generator(seed, step)).expr  # noqa: E731
    assert torch.equal(draw(1, 7), draw(1, 7))
    assert not torch.equal(draw(1, 7), draw(1, 8))
    assert not torch.equal(draw(1, 7), draw(2, 7))


def test_a_partner_is_another_frame():
    for n in (2, 3, 16):
        partners = random_partners(n, step_generator(0, n))
        assert ((partners >= 0) & (partners < n)).all()
        assert (partners != torch.arange(n)).all()
    assert random_partners(1, step_generator(0, 0)).tolist() == [0]
