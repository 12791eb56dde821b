"""Properties of every row of the table of terms, on one rendering with all G-buffer channels."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from nha.core.conventions import Parsing, Segmentation
from nha.core.mesh import unique_edges
from nha.core.types import Camera, FrameBatch, GBuffer, Rendering, Surface, map_tensors
from nha.head.model import HeadModel
from nha.losses.inputs import LossInputs, MeshTables
from nha.losses.surface import edges_touching_part, edges_without_part
from nha.losses.terms import TERMS, Term, evaluate_terms
from nha.render.camera import project
from nha.render.gbuffer import CHANNELS, draw_gbuffer

SIZE = 64
N = 2

# The tensors that each term moves. Labels, masks and annotations never get a gradient.
GRADIENT_REACHES = {
    "rgb": {"rgb01", "screen_coords"},
    "perc": {"rgb01"},
    "image": {"rgb01", "screen_coords"},
    "gradient": {"rgb01", "screen_coords"},
    "feature": {"rgb01", "screen_coords"},
    "cover": {"rendered alpha"},
    "lap": {"vertices"},
    "edge": {"vertices"},
    "surface_reg": {"offsets"},
    "lmk": {"vertices"},
    "eye_closed": {"expr"},
    "gap": {"vertices"},
    "contact": {"offsets"},
    "stretch": {"offsets"},
    "norm": {"normals", "screen_coords"},
    "silh": {"screen_coords"},
    "semantic_ear": {"screen_coords"},
    "semantic_eye": {"screen_coords"},
    "semantic_mouth": {"screen_coords"},
    "semantic_hair": {"screen_coords"},
    "shape_reg": {"correction shape"},
    "expr_reg": {"correction expr"},
    "pose_reg": {"correction neck", "correction jaw", "correction eyes"},
}

every_term = pytest.mark.parametrize("term", TERMS.values(), ids=TERMS)


def mean_squared_difference(rgb01: Tensor, target_rgb01: Tensor, alpha: Tensor) -> Tensor:
    return (rgb01 - target_rgb01).square().mean()


def annotated_frames(head: HeadModel, vertices: Tensor, camera: Camera, tracked) -> FrameBatch:
    """Annotations that differ from the rendering in every term."""
    parsing = torch.randint(0, len(Parsing), (N, SIZE // 4, SIZE // 4))
    return FrameBatch(
        frame_id=torch.arange(N),
        rgb01=torch.rand(N, 3, SIZE, SIZE),
        segmentation=torch.full((N, SIZE, SIZE), int(Segmentation.HEAD)),
        parsing=parsing.repeat_interleave(4, 1).repeat_interleave(4, 2),
        normals=torch.nn.functional.normalize(torch.randn(N, 3, SIZE, SIZE), dim=1),
        landmarks_px=project(head.landmarks(vertices), camera)[:, :68, :2].detach()
        + torch.linspace(1, 3, 68)[:, None],
        landmark_confidence=torch.ones(N, 68),
        iris_px=torch.zeros(N, 2, 2),
        eye_height_px=torch.tensor([[1.0, 2.0], [3.0, 0.0]]),
        tracked=tracked,
        camera=camera,
    )


def rendered_heads(head: HeadModel, params, camera: Camera) -> Rendering:
    """Two heads with noisy offsets, drawn with every channel."""
    offsets = 0.003 * torch.randn(N, head.n_vertices, 3)
    offsets[:, 0] += 0.1  # makes edges too long
    posed = head.pose(params, offsets)
    gbuffer = draw_gbuffer(posed.vertices, head.tables, camera, CHANNELS)
    surface = Surface(params, offsets, posed.vertices, posed.plain_vertices)
    return Rendering(torch.rand(N, 3, SIZE, SIZE), gbuffer.alpha, gbuffer, surface)


@pytest.fixture
def inputs(head) -> LossInputs:
    """Two frames of the procedural head with an open mouth. Every tensor of the rendering is a leaf."""
    torch.manual_seed(0)
    rest = head.neutral_params(N)
    turn = torch.tensor([0.1, -0.2])
    params = rest.replace(
        rotation=torch.stack([0 * turn, torch.pi + turn, 0 * turn], 1),
        translation=torch.tensor([0.0, 0.0, 0.9]).expand(N, 3),
        jaw=torch.tensor([1.0, 0.0, 0.0]).expand(N, 3),
        expr=0.1 * torch.randn_like(rest.expr),
    )
    intrinsics = torch.tensor([[2.6 * SIZE, 0, SIZE / 2], [0, 2.6 * SIZE, SIZE / 2], [0, 0, 1]])
    camera = Camera(intrinsics.expand(N, 3, 3), torch.eye(3, 4).expand(N, 3, 4), (SIZE, SIZE))
    rendering = rendered_heads(head, params, camera)
    in_part = head.hard_labels > 0.5
    eyeballs = in_part[:, head.part("left_eyeball")] | in_part[:, head.part("right_eyeball")]
    edges = unique_edges(head.faces)
    scalp = torch.zeros(head.n_vertices, dtype=torch.bool)
    scalp[edges[(edges == 0).any(1)].flatten()] = True  # around the vertex with the large offset
    sizes = {"expr": params.expr.shape[1], "neck": 3, "jaw": 3, "eyes": 6}
    return LossInputs(
        batch=annotated_frames(head, rendering.surface.vertices, camera, params),
        rendering=as_leaves(rendering),
        head=head,
        corrections={
            "shape": torch.randn(1, params.shape.shape[1], requires_grad=True),
            **{name: torch.randn(N, size, requires_grad=True) for name, size in sizes.items()},
        },
        mesh=MeshTables(
            vertex_weight=torch.ones(head.n_vertices),
            laplacian_edges=edges_without_part(head.faces, eyeballs),
            scalp_edges=edges_touching_part(head.faces, scalp),
            feature_edges=edges,
            feature_edge_length=torch.full((len(edges),), 0.002),
        ),
        partner=torch.tensor([1, 0]),
        perceptual=mean_squared_difference,
    )


def as_leaves(rendering: Rendering) -> Rendering:
    return map_tensors(rendering, lambda x: x.detach().requires_grad_(x.is_floating_point()))


def leaves(inputs: LossInputs) -> dict[str, Tensor]:
    rendering = inputs.rendering
    surface = rendering.surface
    params = dataclasses.asdict(surface.params)
    return {
        "rgb01": rendering.rgb01,
        "rendered alpha": rendering.alpha,
        **rendering.gbuffer.channels,
        "offsets": surface.offsets,
        "vertices": surface.vertices,
        "plain_vertices": surface.plain_vertices,
        **{name: getattr(surface.params, name) for name in params},
        **{f"correction {name}": table for name, table in inputs.corrections.items()},
    }


def value_of(term: Term, inputs: LossInputs) -> Tensor:
    return evaluate_terms([term], inputs).losses[term.name]


def with_channels(inputs: LossInputs, *names: str, colours: bool = True) -> LossInputs:
    """The same inputs with a rendering that has no other channels than these and alpha."""
    gbuffer = inputs.rendering.gbuffer
    kept = {name: gbuffer.channels[name] for name in ("alpha", *names)}
    gbuffer = GBuffer(gbuffer.fragments, gbuffer.image_size, kept, gbuffer.part_names)
    rgb01 = inputs.rendering.rgb01 if colours else None
    return dataclasses.replace(inputs, rendering=inputs.rendering.replace(gbuffer=gbuffer, rgb01=rgb01))


def frame_of(inputs: LossInputs, i: int) -> LossInputs:
    """The inputs of one frame of the batch."""

    def one(x: Tensor) -> Tensor:
        return x[i : i + 1]

    batch, rendering = map_tensors(inputs.batch, one), map_tensors(inputs.rendering, one)
    return dataclasses.replace(inputs, batch=batch, rendering=rendering, partner=torch.tensor([0]))


def test_all_terms_are_evaluated_together(inputs) -> None:
    table = evaluate_terms(TERMS.values(), inputs)
    assert table.names == tuple(TERMS)
    assert {term.metric for term in TERMS.values() if term.metric} == set(table.metrics)
    for name, value in table.losses.items():
        assert value.isfinite(), name
        assert value > 0, name
    for name, value in table.metrics.items():
        assert 0 <= value <= 1, name


@every_term
def test_term_reads_only_the_channels_that_it_declares(term, inputs) -> None:
    only_declared = with_channels(inputs, *term.channels, colours=term.colours)
    assert torch.equal(value_of(term, only_declared), value_of(term, inputs))


@pytest.mark.parametrize(
    ("term", "channel"), [(term, channel) for term in TERMS.values() for channel in term.channels]
)
def test_term_reads_every_channel_that_it_declares(term, channel, inputs) -> None:
    without = with_channels(inputs, *(name for name in term.channels if name != channel))
    with pytest.raises(KeyError, match=channel):
        value_of(term, without)


@every_term
def test_gradient_reaches_only_what_the_term_moves(term, inputs) -> None:
    tensors = leaves(inputs)
    gradients = torch.autograd.grad(value_of(term, inputs), tensors.values(), allow_unused=True)
    reached = {
        name for name, x in zip(tensors, gradients, strict=True) if x is not None and bool((x != 0).any())
    }
    assert reached == GRADIENT_REACHES[term.name]
    assert all(x is None or bool(x.isfinite().all()) for x in gradients)


@every_term
def test_value_of_a_batch_follows_from_its_frames(term, inputs) -> None:
    both = value_of(term, inputs).item()
    single = [value_of(term, frame_of(inputs, i)).item() for i in range(N)]
    if term.sums_over_frames:
        assert both == pytest.approx(sum(single), rel=1e-5)
    elif term.name == "surface_reg":  # compares a frame with another one
        assert single == [0, 0]
    else:  # a mean over frames or over the pixels of all frames
        assert min(single) * (1 - 1e-5) <= both <= max(single) * (1 + 1e-5)


@pytest.mark.parametrize("name", ["semantic_eye", "semantic_mouth", "eye_closed"])
def test_profile_frames_do_not_count(name, inputs) -> None:
    sideways = inputs.batch.tracked.rotation + torch.tensor([0.0, torch.pi / 2, 0.0])
    batch = inputs.batch.replace(tracked=inputs.batch.tracked.replace(rotation=sideways))
    assert value_of(TERMS[name], dataclasses.replace(inputs, batch=batch)).item() == pytest.approx(
        0, abs=1e-9
    )


@pytest.mark.parametrize("name", ["rgb", "norm", "silh", "semantic_ear", "semantic_hair"])
def test_terms_of_an_empty_rendering_are_zero(name, inputs) -> None:
    channels = {key: torch.zeros_like(value) for key, value in inputs.rendering.gbuffer.channels.items()}
    channels["screen_coords"].requires_grad_()
    gbuffer = inputs.rendering.gbuffer.replace(channels=channels)
    rendering = inputs.rendering.replace(gbuffer=gbuffer, alpha=gbuffer.alpha)
    value = value_of(TERMS[name], dataclasses.replace(inputs, rendering=rendering))
    value.backward()
    assert value.item() == 0
    assert not channels["screen_coords"].grad.any()
