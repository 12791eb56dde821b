"""Compile all Triton kernels of the project for a GPU that need not be there.

    python benchmarks/compile_kernels.py [--capability 90]

Calls the functions that launch kernels with small tensors on the CPU. In place of each launch the kernel is compiled
for the types and the alignment of its arguments, down to machine code. Needs the package triton, but no GPU.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from unittest import mock

import torch

import checkout  # noqa: F401 - finds the package where it is not installed
from nha.core.device import accelerator_path
from nha.core.errors import UserError
from nha.core.launches import kernels_on_cpu
from nha.core.system import run_script

POINTS = 192
ALIGNMENT = 16  # bytes, or a factor of integers
TYPES = {
    torch.float32: "fp32",
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.uint8: "u8",
    torch.int16: "i16",
    torch.int32: "i32",
    torch.int64: "i64",
}


def compile_launches(capability: int, report: Callable[[str], None]) -> int:
    """Compile the kernels of all launches.

    Args:
        capability: of the GPU, 90 for an H100 or H200.
        report: gets one line for each compiled kernel.

    Returns:
        The number of different kernels.

    Raises:
        UserError: triton is not installed, or runs in its interpreter.
    """
    try:
        import triton
        from triton.backends.compiler import GPUTarget
        from triton.compiler import ASTSource
        from triton.runtime.jit import JITFunction
    except ImportError:
        raise UserError("the package triton is not installed") from None
    if triton.knobs.runtime.interpret:
        raise UserError("TRITON_INTERPRET is set, which replaces the compiler; unset it")
    compiled: dict[tuple, None] = {}

    def compile_instead(kernel: JITFunction, *arguments, grid, warmup, **options) -> None:
        values = dict(zip(kernel.arg_names, arguments, strict=False))
        values |= {name: options.pop(name) for name in kernel.arg_names if name in options}
        constants = {
            name for name in kernel.arg_names if kernel.params[kernel.arg_names.index(name)].is_constexpr
        }
        signature = {
            name: "constexpr" if name in constants else _type(values[name]) for name in kernel.arg_names
        }
        fixed = {name: values[name] for name in constants}
        key = (kernel.__name__, *signature.values(), *sorted(fixed.items()))
        if key in compiled:
            return
        compiled[key] = None
        aligned = [
            i for i, name in enumerate(kernel.arg_names) if name not in fixed and _aligned(values[name])
        ]
        attributes = {(i,): [["tt.divisibility", ALIGNMENT]] for i in aligned}
        source = ASTSource(fn=kernel, signature=signature, constexprs=fixed, attrs=attributes)
        target = GPUTarget("cuda", capability, 32)
        binary = triton.compile(source, target=target, options=options)
        sizes = ", ".join(f"{name} {value}" for name, value in sorted(fixed.items()))
        report(
            f"{kernel.__name__} ({sizes}): {len(binary.asm['cubin'])} bytes, {binary.metadata.shared} shared"
        )

    with mock.patch.object(JITFunction, "run", compile_instead):
        _launch_all()
    return len({key[0] for key in compiled})


def _type(value: object) -> str:
    """The type of an argument in a kernel's signature."""
    if isinstance(value, torch.Tensor):
        return "*" + TYPES[value.dtype]
    if isinstance(value, float):
        return "fp32"
    return "i64" if abs(value) >= 2**31 else "i32"


def _aligned(value: object) -> bool:
    """Whether Triton compiles for an argument that is a multiple of ALIGNMENT; torch aligns memory."""
    return isinstance(value, torch.Tensor) or (isinstance(value, int) and value % ALIGNMENT == 0)


def _launch_all() -> None:
    """Call every function that launches kernels, with the sizes of the published networks."""
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

    with kernels_on_cpu(), accelerator_path():
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
        fragments = Fragments(
            torch.zeros(1, 8, 8, 2).long(), torch.zeros(1, 8, 8, 2, 3), torch.zeros(1, 8, 8, 2)
        )
        fused_visible_surface(fragments, *torch.zeros(2, 4, dtype=torch.uint8))
        cameras = torch.zeros(2, 3, 4), torch.zeros(1, 3, 3)
        fused_project(torch.zeros(2, POINTS, 3, requires_grad=True), *cameras, 64).sum().backward()
        images = torch.zeros(1, 3, 32, 32, requires_grad=True), torch.zeros(1, 3, 32, 32)
        mask, coords = torch.ones(1, 1, 32, 32, dtype=torch.bool), torch.zeros(1, 32, 32, 2)
        for screen_coords in (coords, coords.clone().requires_grad_()):
            fused_colour_loss(*images, mask, screen_coords, 2.0, 0.5).backward()
            fused_gradient_loss(*images, mask, screen_coords, 0.5).backward()
        for rows in (2, 17):
            MappingNetwork(13, 2176)(torch.zeros(rows, 13, requires_grad=True))[0].sum().backward()
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
        layer = [torch.zeros(POINTS, 256) for _ in range(4)]
        times_cosine_and_sine_(*layer[:2])
        modulated_sine_(*layer[:3], layer[3])
        through_modulated_sine_(*layer)
        for conditions in (1, 3):
            modulation = torch.zeros(2, conditions, 6 * 128, requires_grad=True)
            weights = fold_layers(siren_layers(35, 128, 6), *modulation)
            sum(values.sum() for values in weights).backward()
        for kind in (RowAdam, UniformAdam):
            table = torch.nn.Parameter(torch.zeros(POINTS, 100))
            table.grad = torch.zeros_like(table)
            kind([{"params": [table], "centred": True}], lr=torch.tensor(0.1)).step()
        for inputs, width, layers in ((67, 256, 8), (35, 128, 6)):  # texture and offsets
            x, first = torch.zeros(POINTS, inputs), torch.zeros(1, width, inputs)
            later, biases = torch.zeros(1, layers - 1, width, width), torch.zeros(1, layers, width)
            for keep in (False, True):
                out, turns = siren_ops.trunk_forward(x, first, later, biases, torch.float16, keep=keep)
            for operand in (torch.float32, torch.bfloat16):
                siren_ops.trunk_backward(out, turns, later, operand)

    faces = torch.tensor([[0, 1, 2]])
    vertices = torch.zeros(1, 3, 3, requires_grad=True)
    for cull in (False, True):
        rasterize_triton(vertices.detach(), faces, (32, 32), 2, cull)
    values = torch.zeros(1, 3, 32, 32, requires_grad=True)
    fragments = torch.zeros(1, 32, 32, dtype=torch.long), torch.zeros(1, 32, 32)
    antialias_triton(values, *fragments, vertices, faces, faces).sum().backward()


def main(argv: list[str] | None = None) -> None:
    """Compile and print one line for each kernel."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--capability", type=int, default=90, help="of the GPU: 80, 86, 89, 90, ...")
    arguments = parser.parse_args(argv)
    count = compile_launches(arguments.capability, print)
    print(f"{count} kernels compiled for sm_{arguments.capability}")


if __name__ == "__main__":
    run_script(main)
