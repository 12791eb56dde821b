"""Small calls of every function that launches a kernel of the project; `compile_kernels.py` compiles the kernels.

To be called in `nha.core.launches.kernels_on_cpu` and `nha.core.device.accelerator_path`. Importing it needs Triton.
"""

from __future__ import annotations

import torch

from nha.core.mesh import moved_in_frames, neighbour_mean_difference, vertex_normals
from nha.core.rotations import rotation_matrix, rotation_vector
from nha.core.types import Fragments
from nha.head.joint_rotation_ops import fused_joint_rotations
from nha.head.skinning import skinning
from nha.losses.image_ops import fused_colour_loss, fused_gradient_loss
from nha.losses.landmarks import eye_closure_loss, landmark_loss
from nha.losses.normal_mask_ops import absent_normals, masked_normals
from nha.losses.priors import frame_prior
from nha.losses.screen_ops import fused_screen_l1
from nha.nets import siren_ops
from nha.nets.film_siren import MappingNetwork, siren_layers
from nha.nets.sine_ops import modulated_sine_, through_modulated_sine_, times_cosine_and_sine_
from nha.nets.siren_folding import fold_layers
from nha.optimization.adam_variants import RowAdam, UniformAdam
from nha.render.antialias_triton import antialias_triton
from nha.render.camera_ops import fused_project
from nha.render.raster_triton import rasterize_triton
from nha.render.visible_ops import fused_visible_surface

POINTS = 192


def launch_all() -> None:
    """Launch all kernels, with the sizes of the published networks."""
    for launch in (_posing, _rasterisation, _losses, _networks, _optimisers):
        launch()


def _posing() -> None:
    rotations = rotation_matrix(torch.zeros(POINTS, 3, requires_grad=True))
    rotation_vector(rotations).sum().backward()
    angles = [torch.zeros(2, size, requires_grad=True) for size in (3, 3, 3, 6)]
    fused_joint_rotations(*angles).sum().backward()
    for corner_weights in (None, torch.zeros(POINTS // 3, 3)):
        feature, place = skinning(
            torch.zeros(1, 5, 3, 3, requires_grad=True),
            torch.zeros(1, 5, 3),
            torch.zeros(1, 3),
            (-1, 0, 1, 1, 1),
            torch.zeros(POINTS, 5),
            corner_weights,
        )
        (place(torch.zeros(1, POINTS, 3)).sum() + feature.sum()).backward()
    vertices = torch.zeros(2, POINTS, 3, requires_grad=True)
    faces = torch.tensor([[0, 1, 2]])
    normals, ids = vertex_normals(vertices, faces), torch.arange(POINTS)
    moved = moved_in_frames(vertices, normals, ids, torch.zeros(2, POINTS, 3, requires_grad=True))
    (normals + moved + neighbour_mean_difference(vertices, faces[:, :2])).sum().backward()


def _rasterisation() -> None:
    fragments = Fragments(torch.zeros(1, 8, 8, 2).long(), torch.zeros(1, 8, 8, 2, 3), torch.zeros(1, 8, 8, 2))
    fused_visible_surface(fragments, *torch.zeros(2, 4, dtype=torch.uint8))
    cameras = torch.zeros(2, 3, 4), torch.zeros(1, 3, 3)
    fused_project(torch.zeros(2, POINTS, 3, requires_grad=True), *cameras, 64).sum().backward()
    faces = torch.tensor([[0, 1, 2]])
    vertices = torch.zeros(1, 3, 3, requires_grad=True)
    for cull in (False, True):
        rasterize_triton(vertices.detach(), faces, (32, 32), 2, cull)
    values = torch.zeros(1, 3, 32, 32, requires_grad=True)
    fragments = torch.zeros(1, 32, 32, dtype=torch.long), torch.zeros(1, 32, 32)
    antialias_triton(values, *fragments, vertices, faces, faces).sum().backward()


def _losses() -> None:
    images = torch.zeros(1, 3, 32, 32, requires_grad=True), torch.zeros(1, 3, 32, 32)
    mask, coords = torch.ones(1, 1, 32, 32, dtype=torch.bool), torch.zeros(1, 32, 32, 2)
    for screen_coords in (coords, coords.clone().requires_grad_()):
        fused_colour_loss(*images, mask, screen_coords, 2.0, 0.5).backward()
        fused_gradient_loss(*images, mask, screen_coords, 0.5).backward()
    points = torch.zeros(2, 68, 3, requires_grad=True)
    landmark_loss(points, torch.zeros(2, 68, 2), torch.zeros(2, 68), (64, 64)).backward()
    eye_closure_loss(points, torch.zeros(2, 2), torch.zeros(2), 64).backward()
    tables = [torch.zeros(9, size, requires_grad=True) for size in (3, 3, 6)]
    frame_prior(torch.zeros(2, dtype=torch.long), *tables).backward()
    image, alpha = torch.zeros(2, 3, 32, 32, requires_grad=True), torch.zeros(2, 1, 32, 32)
    absent_normals(image.detach())
    for parsing in (torch.zeros(2, 32, 32, dtype=kind) for kind in (torch.uint8, torch.long)):
        mask, stacked = masked_normals(
            image.detach(),
            image.detach(),
            alpha,
            parsing,
            alpha,
            image.detach(),
            alpha[:, 0, 0, 0],
            (1,),
            (0,),
            (1, 2),
        )
    for blurred in (None, stacked):
        fused_screen_l1(image, image.detach(), mask, torch.zeros(2, 32, 32, 2), 2.0, blurred).backward()


def _networks() -> None:
    for rows in (2, 17):
        MappingNetwork(13, 2176)(torch.zeros(rows, 13, requires_grad=True))[0].sum().backward()
    layer = [torch.zeros(POINTS, 256) for _ in range(4)]
    times_cosine_and_sine_(*layer[:2])
    modulated_sine_(*layer[:3], layer[3])
    through_modulated_sine_(*layer)
    for conditions in (1, 3):
        modulation = torch.zeros(2, conditions, 6 * 128, requires_grad=True)
        weights = fold_layers(siren_layers(35, 128, 6), *modulation)
        sum(values.sum() for values in weights).backward()
    for inputs, width, layers in ((67, 256, 8), (35, 128, 6)):  # texture and offsets
        x, first = torch.zeros(POINTS, inputs), torch.zeros(1, width, inputs)
        later, biases = torch.zeros(1, layers - 1, width, width), torch.zeros(1, layers, width)
        for keep in (False, True):
            out, turns = siren_ops.trunk_forward(x, first, later, biases, torch.float16, keep=keep)
        for operand in (torch.float32, torch.bfloat16):
            siren_ops.trunk_backward(out, turns, later, operand)


def _optimisers() -> None:
    for kind in (RowAdam, UniformAdam):
        table = torch.nn.Parameter(torch.zeros(POINTS, 100))
        table.grad = torch.zeros_like(table)
        kind([{"params": [table], "centred": True}], lr=torch.tensor(0.1)).step()
