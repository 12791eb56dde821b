"""Splits the error of an avatar: each oracle removes one of its causes from the rendered frames, with the truth's help.

An oracle is a function from rendered frames to rendered frames whose prediction is better in one respect only; the
increase of the scores is the share of that cause. Nothing is trained, and none of the results can be reached by an
avatar alone. `docs/quality.md` has the measured shares.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

import cv2
import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from nha.core.types import map_tensors
from nha.evaluation.rendered_frames import RenderedFrames
from nha.visualization.colours import to_uint8

CHANNELS = ("normals", "uvcoords", "uvmap")  # G-buffer channels that oracles read
FULL_COVERAGE = 0.99  # pixels with less alpha contain background, so their colours are not used elsewhere
FLOW_SCALE = 2  # images are enlarged before the optical flow, whose smallest patches have 8 pixels
AFFINE_ROUNDS, SMALLEST_DISTANCE_PX = 60, 1e-4  # of the fit of an affine map to the flow
LIGHT_RIDGE = 1e-3  # weight per pixel that draws the light towards no change

Oracle = Callable[[RenderedFrames], RenderedFrames]


def correct_coverage(rendered: RenderedFrames) -> RenderedFrames:
    """Draw the avatar's colours exactly inside the head mask: extended where it is too small, white elsewhere."""
    prediction = torch.where(rendered.mask, extended(rendered.prediction, rendered), 1.0)
    return _changed(rendered, prediction, rendered.mask.to(prediction))


def align(rendered: RenderedFrames) -> RenderedFrames:
    """Move the rendered pixels, colours and coverage, to where the optical flow finds them in the true image."""
    return _moved(rendered, flow_to_prediction(rendered))


def align_affinely(rendered: RenderedFrames) -> RenderedFrames:
    """As `align`, but each frame moves as a whole, by the affine map of the image that fits the flow in the head mask.

    It is about what another shift, roll or scale of the head could reach; other turns are only partly affine.
    """
    return _moved(rendered, affine_part(flow_to_prediction(rendered), rendered.mask))


def _moved(rendered: RenderedFrames, flow: np.ndarray) -> RenderedFrames:
    return _changed(rendered, warp(rendered.prediction, flow), warp(rendered.rendering.alpha, flow))


def relight(rendered: RenderedFrames) -> RenderedFrames:
    """Multiply the colours of each frame by the best low-order light for its truth.

    The factor is a second-order spherical harmonic of the rendered normal, nine coefficients for each frame and colour
    channel, by least squares over the pixels of the head mask that the avatar covers. It includes a gain.
    """
    normals = extended(rendered.rendering.gbuffer["normals"], rendered)
    basis = harmonics(torch.nn.functional.normalize(normals, dim=1))  # [N, 9, H, W]
    fitted = rendered.mask & (rendered.rendering.alpha > FULL_COVERAGE)
    prediction = rendered.prediction.clone()
    for i, inside in enumerate(fitted[:, 0]):
        for channel in range(3):
            colour = rendered.prediction[i, channel]
            factor = _light(basis[i][:, inside], colour[inside], rendered.target[i, channel][inside])
            lit = colour * (1 + torch.einsum("k,khw->hw", factor, basis[i]))
            prediction[i, channel] = torch.where(rendered.rendering.alpha[i, 0] > 0, lit, colour)
    return _changed(rendered, prediction.clamp(0, 1), rendered.rendering.alpha)


def texture_error(rendered: RenderedFrames, side: int) -> Tensor:
    """Mean error of the pixels of each texel, where the avatar covers the head mask: [2 side², 3], target - prediction.

    Args:
        rendered: the frames that share the map: one for an upper bound of textures that change with the frame, all for
            that of a fixed texture.
        side: of the map for the head and of that for the mouth, in texels.
    """
    texel = texel_of_pixels(rendered, side)  # [N, H, W]
    inside = (rendered.mask & (rendered.rendering.alpha > FULL_COVERAGE))[:, 0]
    error = (rendered.target - rendered.prediction).permute(0, 2, 3, 1)
    total = error.new_zeros(2 * side * side, 3).index_add_(0, texel[inside], error[inside])
    return total / torch.bincount(texel[inside], minlength=len(total)).clamp_min(1)[:, None]


def retexture(rendered: RenderedFrames, error: Tensor) -> RenderedFrames:
    """Add an error by texel (`texture_error`) to the colours of the pixels that the avatar covers."""
    side = round((len(error) / 2) ** 0.5)
    change = error[texel_of_pixels(rendered, side)].permute(0, 3, 1, 2)
    change = torch.where(rendered.rendering.alpha > 0, change, 0.0)
    return _changed(rendered, (rendered.prediction + change).clamp(0, 1), rendered.rendering.alpha)


# --- parts ----------------------------------------------------------------------------------------------


def extended(image: Tensor, rendered: RenderedFrames) -> Tensor:
    """Images [N, C, H, W] in which pixels that the avatar does not cover have the value of the nearest covered one."""
    covered = (rendered.rendering.alpha > FULL_COVERAGE)[:, 0].cpu().numpy()
    result = image.clone()
    for i, inside in enumerate(covered):
        if inside.any():
            rows, columns = ndimage.distance_transform_edt(
                ~inside, return_distances=False, return_indices=True
            )
            result[i] = image[i][:, torch.from_numpy(rows), torch.from_numpy(columns)]
    return result


def flow_to_prediction(rendered: RenderedFrames) -> np.ndarray:
    """Dense optical flow (DIS) from the truth to the prediction: float32 [N, H, W, 2], (x, y) in pixels."""
    solver = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flows = []
    for target, prediction in zip(rendered.target, rendered.prediction, strict=True):
        size = (FLOW_SCALE * target.shape[2], FLOW_SCALE * target.shape[1])
        grey = [
            cv2.resize(cv2.cvtColor(to_uint8(image), cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_CUBIC)
            for image in (target, prediction)
        ]
        flow = solver.calc(grey[0], grey[1], None) / FLOW_SCALE
        flows.append(cv2.resize(flow, (target.shape[2], target.shape[1]), interpolation=cv2.INTER_AREA))
    return np.stack(flows)


def affine_part(flow: np.ndarray, mask: Tensor) -> np.ndarray:
    """The affine map of the image that is nearest to the flow [N, H, W, 2] inside a mask, as a flow again.

    The sum of the distances is minimised, not of their squares, so that parts that move otherwise count little.
    """
    rows, columns = np.mgrid[: flow.shape[1], : flow.shape[2]]
    points = np.stack([columns, rows, np.ones_like(rows)], -1).astype(np.float64)
    result = np.zeros_like(flow)
    for i, inside in enumerate(mask[:, 0].cpu().numpy()):
        weight = np.ones(np.count_nonzero(inside))
        for _ in range(AFFINE_ROUNDS if inside.any() else 0):
            root = np.sqrt(weight)[:, None]
            matrix, *_ = np.linalg.lstsq(root * points[inside], root * flow[i][inside], rcond=None)
            distance = np.linalg.norm(points[inside] @ matrix - flow[i][inside], axis=-1)
            weight = 1 / np.maximum(distance, SMALLEST_DISTANCE_PX)
            result[i] = points @ matrix
    return result


def warp(image: Tensor, flow: np.ndarray) -> Tensor:
    """Images [N, C, H, W] sampled (bilinearly) at each pixel's position plus the flow [N, H, W, 2]."""
    rows, columns = np.mgrid[: image.shape[2], : image.shape[3]].astype(np.float32)
    warped = []
    for values, (dx, dy) in zip(image.cpu().numpy(), np.moveaxis(flow, 3, 1), strict=True):
        moved = [
            cv2.remap(plane, columns + dx, rows + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for plane in values
        ]
        warped.append(np.stack(moved))
    return torch.from_numpy(np.stack(warped)).to(image)


def harmonics(normals: Tensor) -> Tensor:
    """The nine real spherical harmonics up to order 2, not normalised, of unit vectors [N, 3, H, W]: [N, 9, H, W]."""
    x, y, z = normals.unbind(1)
    terms = (torch.ones_like(x), x, y, z, x * y, y * z, x * z, x * x - y * y, 3 * z * z - 1)
    return torch.stack(terms, 1)


def _light(basis: Tensor, colour: Tensor, target: Tensor) -> Tensor:
    """Coefficients [9] with target ~ colour (1 + basis . coefficients), from P pixels: basis [9, P], colour [P]."""
    columns = (basis * colour).double()
    residual = (target - colour).double()
    normal = columns @ columns.T + LIGHT_RIDGE * max(len(colour), 1) * torch.eye(
        len(basis), dtype=torch.float64
    )
    return torch.linalg.solve(normal, columns @ residual).to(colour)


def texel_of_pixels(rendered: RenderedFrames, side: int) -> Tensor:
    """The texel [N, H, W] that each pixel shows, in 0..2 side²; those of the mouth's map follow those of the head's."""
    uv = extended(rendered.rendering.gbuffer["uvcoords"][:, :2], rendered)
    on_mouth = extended(rendered.rendering.gbuffer["uvmap"], rendered)[:, 0] > 0.5
    column, row = ((uv + 1) / 2 * side).long().clamp(0, side - 1).unbind(1)
    return row * side + column + side * side * on_mouth


def chained(oracles: Sequence[Oracle]) -> Oracle:
    """Apply several oracles one after the other."""

    def apply(rendered: RenderedFrames) -> RenderedFrames:
        for oracle in oracles:
            rendered = oracle(rendered)
        return rendered

    return apply


def joined(batches: Iterable[RenderedFrames]) -> RenderedFrames:
    """The frames of several batches as one."""
    batches = [_without_pixel_list(batch) for batch in batches]

    def join(values: Sequence):
        first = values[0]
        if isinstance(first, Tensor):
            return torch.cat(list(values))
        if dataclasses.is_dataclass(first):
            names = [field.name for field in dataclasses.fields(first)]
            return type(first)(**{name: join([getattr(value, name) for value in values]) for name in names})
        if isinstance(first, Mapping):
            return {name: join([value[name] for value in values]) for name in first}
        return first

    return join(batches)


def separated(rendered: RenderedFrames) -> list[RenderedFrames]:
    """Each of the frames alone; the inverse of `joined`."""
    rendered = _without_pixel_list(rendered)
    return [map_tensors(rendered, lambda values, i=i: values[i : i + 1]) for i in range(len(rendered.target))]


def _without_pixel_list(rendered: RenderedFrames) -> RenderedFrames:
    """The frames without the list of covered pixels, which counts the pixels of the whole batch."""
    gbuffer = rendered.rendering.gbuffer.replace(covered=None)
    return dataclasses.replace(rendered, rendering=rendered.rendering.replace(gbuffer=gbuffer))


def _changed(rendered: RenderedFrames, prediction: Tensor, alpha: Tensor) -> RenderedFrames:
    """The frames with another prediction and coverage."""
    return dataclasses.replace(
        rendered, prediction=prediction, rendering=rendered.rendering.replace(alpha=alpha)
    )
