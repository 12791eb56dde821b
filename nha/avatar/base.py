"""What the published and the blend model share: parameters to surface, surface to G-buffer, G-buffer to image.

`HeadAvatar.render` is the whole sequence; `surface`, `rasterize` and `draw` are its parts. There are no losses and no
optimisers here. See `docs/method.md`, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from nha.avatar.drawn_parts import drawn_tables, require_drawn_parts
from nha.avatar.frame_parameters import FrameParameters
from nha.avatar.settings import AvatarSettings
from nha.core.types import Camera, GBuffer, HeadParams, Rendering, Surface
from nha.head.model import HeadModel
from nha.render.gbuffer import draw_gbuffer

# covered pixels, bool [N, 1, H, W] -> pixels whose colours are computed, bool [N, 1, H, W]
PixelChoice = Callable[[Tensor], Tensor]


class HeadAvatar(nn.Module):
    """A head mesh with learned offsets and learned colours; the base class of both models.

    Attributes:
        head: the head model.
        settings: sizes of the avatar.
        frame_parameters: learned corrections of the tracked parameters, by frame id.
        still_torso: whether the neck turns the head, and the root joint keeps its rotation.
    """

    still_torso = False
    PAINT_CHANNELS: tuple[str, ...] = ("normals",)  # G-buffer channels from which colours are computed

    def __init__(self, head: HeadModel, settings: AvatarSettings, max_frame_id: int) -> None:
        """Keep the head model and create the corrections.

        Args:
            head: the head model, built with `settings.subdivide_mesh` (see `nha.avatar.open.build_head`).
            settings: sizes of the avatar.
            max_frame_id: the largest frame id of the dataset.

        Raises:
            UserError: the head model lacks a part that rendering needs.
        """
        super().__init__()
        require_drawn_parts(head)
        self.settings = settings
        self.head = head
        self.frame_parameters = FrameParameters(max_frame_id, head.n_shape, head.n_expr)

    @property
    def device(self) -> torch.device:
        """The device of the avatar's tensors."""
        return self.frame_parameters.shape.device

    def render(
        self,
        params: HeadParams,
        camera: Camera,
        *,
        frame_ids: Tensor | None = None,
        corrected: bool = False,
        offset_neck: Tensor | None = None,
        channels: Sequence[str] = (),
        paint: bool = True,
        condition_noise: HeadParams | None = None,
        choose_pixels: PixelChoice | None = None,
    ) -> Rendering:
        """Images of N heads: pose, rasterise once, paint. Differentiable in the avatar and in the parameters.

        Args:
            params: N sets of head parameters, as tracked (units: see `HeadParams`).
            camera: N cameras; their `image_size` is the size of the images.
            frame_ids: [N] ids of the frames whose learned corrections are added; None for free posing, where only the
                learned head shape is added.
            corrected: `params` hold the learned corrections already; none are added.
            offset_neck: [N, 3] neck parameters that condition the vertex offsets instead of `params.neck`.
            channels: further G-buffer channels (see `nha.render.gbuffer`); "normals" is drawn wherever colours are.
            paint: whether colours are computed; without them `rgb01` is None.
            condition_noise: added to a copy of the parameters from which the texture's condition is computed.
            choose_pixels: gets the covered pixels, bool [N, 1, H, W], and returns those to paint; others stay white.

        Returns:
            A `Rendering`: rgb01 [N, 3, H, W] in 0..1 on white, alpha [N, 1, H, W], the G-buffer and the surface.
        """
        if not corrected:
            params = self.corrected(params, frame_ids)
        return self.draw(
            self.surface(params, offset_neck),
            camera,
            frame_ids=frame_ids,
            channels=channels,
            paint=paint,
            condition_noise=condition_noise,
            choose_pixels=choose_pixels,
        )

    def draw(
        self,
        surface: Surface,
        camera: Camera,
        *,
        frame_ids: Tensor | None = None,
        channels: Sequence[str] = (),
        paint: bool = True,
        condition_noise: HeadParams | None = None,
        choose_pixels: PixelChoice | None = None,
    ) -> Rendering:
        """Images [N, 3, H, W] of N posed heads; `render` without the first step. Arguments and result as there."""
        wanted = (*self.PAINT_CHANNELS, *channels) if paint else channels
        gbuffer = self.rasterize(surface, camera, wanted)
        painted = choose_pixels(gbuffer.alpha > 0.5) if paint and choose_pixels is not None else None
        rendering = Rendering(None, gbuffer.alpha, gbuffer, surface, painted)
        return self._image(rendering, camera, frame_ids, condition_noise, paint)

    def _image(
        self,
        rendering: Rendering,
        camera: Camera,
        frame_ids: Tensor | None,
        condition_noise: HeadParams | None,
        paint: bool,
    ) -> Rendering:
        """The rendering with its colours where `paint` is set, and with the model's coverage."""
        raise NotImplementedError

    def surface(self, params: HeadParams, offset_neck: Tensor | None = None) -> Surface:
        """Pose N heads (`params` corrected); `offset_neck` [N, 3] conditions the offsets instead of the neck."""
        raise NotImplementedError

    def pose(self, *, arkit: Mapping[str, float] | Tensor) -> HeadParams:
        """Parameters of a pose for `render`; the head has the person's shape and looks at the camera.

        Args:
            arkit: some of ARKit's 52 coefficients in 0..1 by name, such as {"jawOpen": 0.5}, or all of them [N, 52] in
                the order of `nha.head.arkit_shapes.ARKIT_NAMES`.

        Raises:
            UserError: a name is unknown.
        """
        from nha.avatar.arkit_motion import arkit_pose
        from nha.avatar.training_record import record_of, recorded_shape

        shape = recorded_shape(record_of(self))
        return arkit_pose(self.head, None if shape is None else torch.from_numpy(shape), arkit)

    def settled(self, params: HeadParams) -> HeadParams:
        """Poses [N] (corrected) that were moved, as the model was trained: with a still torso where it has one."""
        return params

    def posed_with(self, params: HeadParams, offsets: Tensor) -> Tensor:
        """Vertices [N, V, 3] of N heads (`params` corrected) with given offsets, as `Surface.offsets` are."""
        return self.head(params, offsets)

    def shape_targets(self) -> Tensor:
        """Personal shapes [S, V, 3] in metres that are added in the rest pose, in the axes of the template."""
        return self.head.template.new_zeros(0, self.head.n_vertices, 3)

    def shape_target_weights(self, params: HeadParams) -> Tensor:
        """The weights [N, S] of the personal shapes in N poses (`params` corrected)."""
        return params.expr.new_zeros(len(params), 0)

    def forward(self, tracked: HeadParams, camera: Camera, frame_ids: Tensor | None = None) -> Tensor:
        """Images of N frames: [N, 4, H, W], rgb01 on white and alpha. Arguments as in `render`."""
        return self.render(tracked, camera, frame_ids=frame_ids).rgba

    def corrected(self, tracked: HeadParams, frame_ids: Tensor | None) -> HeadParams:
        """Tracked parameters plus the corrections of `frame_ids` [N]; None (free posing) adds only the shape's."""
        return self.frame_parameters.corrected(tracked, frame_ids)

    def rasterize(self, surface: Surface, camera: Camera, channels: Sequence[str] | None = None) -> GBuffer:
        """Rasterise the surfaces once; channels as in `nha.render.gbuffer`, None for those that colours need."""
        channels = self.PAINT_CHANNELS if channels is None else channels
        return draw_gbuffer(surface.vertices, drawn_tables(self.head), camera, channels)


def with_noise(params: HeadParams, noise: HeadParams) -> HeadParams:
    """The parameters with noise added to expression, rotation, neck, jaw and eyes."""
    return params.replace(
        expr=params.expr + noise.expr,
        rotation=params.rotation + noise.rotation,
        neck=params.neck + noise.neck,
        jaw=params.jaw + noise.jaw,
        eyes=params.eyes + noise.eyes,
    )
