"""Images of an avatar without gradient: on a GPU from a CUDA graph for each size of image and batch."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import torch
from torch import Tensor

from nha.avatar.base import HeadAvatar
from nha.core.cuda_graphs import CapturedFunction
from nha.core.types import Camera, HeadParams, Rendering
from nha.nets.fused_siren import fused_networks_wanted
from nha.render.rasterize import chosen_raster_backend

_renderers: weakref.WeakKeyDictionary[HeadAvatar, ImageRenderer] = weakref.WeakKeyDictionary()


def render_images(
    avatar: HeadAvatar,
    params: HeadParams,
    camera: Camera,
    *,
    frame_ids: Tensor | None = None,
    corrected: bool = False,
    offset_neck: Tensor | None = None,
    channels: Sequence[str] = (),
) -> Rendering:
    """`avatar.render` with these arguments, without gradient; on a GPU much faster from the fourth call on."""
    return image_renderer(avatar).rendering(
        params, camera, frame_ids, offset_neck, (corrected, tuple(channels))
    )


def render_rgba(
    avatar: HeadAvatar,
    params: HeadParams,
    camera: Camera,
    *,
    frame_ids: Tensor | None = None,
    corrected: bool = False,
    offset_neck: Tensor | None = None,
) -> Tensor:
    """Images [N, 4, H, W], rgb01 on white and alpha; as `render_images`, but nothing else is kept."""
    return image_renderer(avatar).rgba(params, camera, frame_ids, offset_neck, (corrected, ()))


def image_renderer(avatar: HeadAvatar) -> ImageRenderer:
    """The renderer of an avatar; kept as long as the avatar."""
    renderer = _renderers.get(avatar)
    if renderer is None or renderer.device != avatar.device:
        renderer = _renderers[avatar] = ImageRenderer(avatar)
    return renderer


class ImageRenderer:
    """The captured functions of one avatar.

    Attributes:
        device: of the avatar when this object was made.
    """

    def __init__(self, avatar: HeadAvatar) -> None:
        self.device = avatar.device
        self._avatar = weakref.ref(avatar)  # a reference of a dictionary's value to its key would keep both
        self._parameters = list(avatar.parameters())
        self._rendering = CapturedFunction(self._render, "rendering", self.device, exact=True)
        self._rgba = CapturedFunction(
            lambda *inputs: self._render(*inputs).rgba, "rendering", self.device, exact=True
        )

    @property
    def captures(self) -> bool:
        """Whether images come from CUDA graphs."""
        return self._rendering.captures and self._rgba.captures

    @torch.no_grad()
    def rendering(self, *inputs) -> Rendering:
        """The rendering of the inputs of `_render`."""
        return self._rendering(*inputs, key=self._state(), copy=True)

    @torch.no_grad()
    def rgba(self, *inputs) -> Tensor:
        """The images of the inputs of `_render`."""
        return self._rgba(*inputs, key=self._state(), copy=True)

    def _render(
        self,
        params: HeadParams,
        camera: Camera,
        frame_ids: Tensor | None,
        offset_neck: Tensor | None,
        options: tuple[bool, tuple[str, ...]],
    ) -> Rendering:
        """`HeadAvatar.render`; options: whether the parameters are corrected, and further channels."""
        corrected, channels = options
        return self._avatar().render(
            params,
            camera,
            frame_ids=frame_ids,
            corrected=corrected,
            offset_neck=offset_neck,
            channels=channels,
        )

    def _state(self) -> tuple:
        """What a graph depends on beside its inputs' shapes: weights, modes and precision."""
        # a graph reads the weights where they are; what is derived from them (`nha.core.derived`) it has as it was
        weights = tuple((parameter.data_ptr(), parameter._version) for parameter in self._parameters)
        precision = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
        kernels = chosen_raster_backend(), fused_networks_wanted()
        return weights, self._avatar().training, kernels, precision
