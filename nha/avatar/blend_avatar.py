"""The blend model: linear vertex offsets and blended textures. `docs/method.md`, section 3; `docs/quality.md`.

Everything it draws can be drawn by a game engine: offsets are morph targets in the rest pose, colours are sums of
images, multiplied by a low-order light.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nha.avatar.base import HeadAvatar, with_noise
from nha.avatar.drawn_parts import drawn_tables
from nha.avatar.drive import FACING_CAMERA, Drive, raw_drive, seen_by
from nha.avatar.offset_smoothing import OffsetSmoothing, mirrored_rows
from nha.avatar.settings import AvatarSettings
from nha.avatar.still_torso import with_still_torso
from nha.core.derived import Derived
from nha.core.device import uses_cpu_kernels
from nha.core.rotations import rotation_matrix
from nha.core.types import Camera, GBuffer, HeadParams, Rendering, Surface
from nha.head.model import HeadModel, PosedHead
from nha.head.quick_pose import QuickPose
from nha.nets.blend_textures import BlendTexture, BlendWeights
from nha.render.antialias import EdgeTable, antialias
from nha.render.blend_paint import paint_blend
from nha.render.blend_paint_numba import MIN_NORMAL
from nha.render.gbuffer import draw_gbuffer
from nha.render.shading import spherical_harmonics_basis

# parts that the shapes of the face do not move
_UNSHAPED_PARTS = ("neck", "scalp", "left_ear", "right_ear")
_INITIAL_SHAPE_WEIGHT = 0.2


class BlendAvatar(HeadAvatar):
    """A head mesh with linear offsets and blended textures.

    Attributes:
        drive: scales the drive vector z [D] of a pose.
        static_offsets: [O, 3] metres, before smoothing; one row for each vertex that carries an offset. The mirrored
            offsets are added on the other side of the head, so that a side that is seen little follows the other.
        asymmetry: [O, 3] metres, before smoothing; offsets of one side only.
        shapes: [S, O, 3] metres, before smoothing; personal shapes, the last ones for the neck.
        shape_weights: [S, D] linear map of the drive vector to the shapes' weights. Shapes of the face move the face
            and depend on landmark distances, jaw and eyes; shapes of the neck move the neck and depend on its
            angles, and where the torso turns with the head (no `blend_still_torso`) on the head's rotation.
        head_texture, mouth_texture: the textures of the two UV maps.
        texture_weights: network from z to the weights of the basis images of both maps.
        torso_rotation: [3, 3], the rotation of the root joint that is kept. Only with `blend_still_torso`.
        unseen_offsets: [V, 3] metres, added to the static offsets after smoothing; not 0 only on surface that no
            training frame shows (`nha.optimization.unseen`). Only with `blend_continue_unseen`.
        light: [8, 3] coefficients of the spherical harmonics of order 1 and 2.
        log_gain: [F, 3] logarithm of the exposure of each frame.
    """

    PAINT_CHANNELS = ("normals", "uvcoords", "uvmap")

    def __init__(self, head: HeadModel, settings: AvatarSettings, max_frame_id: int) -> None:
        """Build an untrained avatar; arguments and errors as in `HeadAvatar`."""
        super().__init__(head, settings, max_frame_id)
        s, n_offset = settings, len(head.offset_vertices)
        self.still_torso = s.blend_still_torso
        self.drive = Drive(head.n_expr)
        self.static_offsets = nn.Parameter(torch.zeros(n_offset, 3))
        self.asymmetry = nn.Parameter(torch.zeros(n_offset, 3))
        n_shapes = s.blend_shapes + s.blend_neck_shapes
        self.shapes = nn.Parameter(torch.zeros(n_shapes, n_offset, 3))
        self.shape_weights = nn.Parameter(torch.randn(n_shapes, len(self.drive)) * _INITIAL_SHAPE_WEIGHT)
        self.head_texture = BlendTexture(s.blend_texture_size, s.blend_textures)
        self.mouth_texture = BlendTexture(max(16, s.blend_texture_size // 4), s.blend_textures)
        n_colour = self.drive.names["expression"].start  # the coefficients would identify single frames
        self.texture_weights = BlendWeights(n_colour, s.blend_hidden, 2 * s.blend_textures)
        self.light = nn.Parameter(torch.zeros(8, 3))
        self.log_gain = nn.Parameter(torch.zeros(max_frame_id + 1, 3))
        self.smooth = OffsetSmoothing(head.faces, head.offset_vertices, s.blend_smoothing)
        self._add_shape_tables()
        neighbours = EdgeTable.from_faces(head.faces).neighbours
        self.register_buffer("face_neighbours", neighbours, persistent=False)
        if self.still_torso:
            self.register_buffer("torso_rotation", rotation_matrix(torch.tensor(FACING_CAMERA)))
        if s.blend_continue_unseen:
            self.register_buffer("unseen_offsets", torch.zeros(head.n_vertices, 3))
        self._smoothed, self._quick_pose = Derived(), QuickPose()

    def _add_shape_tables(self) -> None:
        """Which vertices each shape moves, which parts of the drive vector it depends on, and mirrored vertices."""
        head, s = self.head, self.settings
        soft = {name: head.soft_labels[head.offset_vertices, head.part(name)] for name in _UNSHAPED_PARTS}
        face = (1 - sum(soft.values())).clamp(0, 1) * self._on_skin()
        neck = soft["neck"].clamp(0, 1)
        moved = [face] * s.blend_shapes + [neck] * s.blend_neck_shapes
        self.register_buffer("moved", torch.stack(moved)[:, :, None], persistent=False)  # [S, O, 1]
        driven = torch.zeros(len(moved), len(self.drive))
        for name in ("distances", "jaw", "eyes"):
            driven[: s.blend_shapes, self.drive.names[name]] = 1
        for name in ("neck",) if s.blend_still_torso else ("neck", "view"):
            driven[s.blend_shapes :, self.drive.names[name]] = 1
        self.register_buffer("driven", driven, persistent=False)  # [S, D]
        coloured = torch.ones(self.drive.names["expression"].start)
        if s.blend_still_torso:
            # In a video the neck turns with the view; an orbiting camera changes the view alone.
            coloured[self.drive.names["neck"]] = 0
        self.register_buffer("coloured", coloured, persistent=False)  # [D'] parts on which colours depend
        row, sign = mirrored_rows(head.template[head.kept_vertices][head.offset_vertices])
        self.register_buffer("mirror_row", row, persistent=False)  # [O]
        self.register_buffer("mirror_sign", sign, persistent=False)  # [O, 3]

    def _on_skin(self) -> Tensor:
        """[O] 1 for vertices of the skin, 0 for teeth and the inside of the mouth."""
        on_skin = torch.zeros(self.head.n_vertices)
        on_skin[self.head.faces[self.head.face_uvmap == 0].flatten()] = 1
        return on_skin[self.head.offset_vertices]

    def corrected(self, tracked: HeadParams, frame_ids: Tensor | None) -> HeadParams:
        """As `HeadAvatar.corrected`, of N frames [N]; the neck's correction turns a still torso below the skull."""
        params = super().corrected(tracked, frame_ids)
        if not self.still_torso:
            return params
        own = self.frame_parameters.for_frames(frame_ids, len(tracked))["neck"]
        return with_still_torso(self.head, params.replace(neck=tracked.neck), self.torso_rotation, own)

    def settled(self, params: HeadParams) -> HeadParams:
        """As `HeadAvatar.settled`."""
        return with_still_torso(self.head, params, self.torso_rotation) if self.still_torso else params

    # --- surface --------------------------------------------------------------------------------------------

    def scaled_drive(self, params: HeadParams, camera: Camera | None = None) -> Tensor:
        """The scaled drive vectors of N poses, [N, D], without gradient; clipped where not in training mode."""
        with torch.no_grad():
            return self.drive(raw_drive(self.head, params, camera), clip=not self.training)

    def shape_coefficients(self, drive: Tensor) -> Tensor:
        """The weights [N, S] of the personal shapes for scaled drive vectors [N, D]."""
        return drive @ (self.shape_weights * self.driven).T

    def rest_offsets(self, coefficients: Tensor) -> Tensor:
        """Offsets [N, V, 3] in metres, in the axes of the template, for weights [N, S] of the personal shapes."""
        tables = (self.static_offsets, self.asymmetry, self.shapes)
        if torch.is_grad_enabled() and any(table.requires_grad for table in tables):
            static, shapes = self._free_offsets()
            moved = self.smooth(static + torch.einsum("ns,soc->noc", coefficients, shapes))
            return self._with_unseen(self._on_all_vertices(moved))
        if self.settings.blend_continue_unseen:
            tables = (*tables, self.unseen_offsets)
        static, shapes = self._smoothed.value(tables, self._smoothed_offsets)
        return static + (coefficients @ shapes.flatten(1)).unflatten(1, static.shape[1:])

    def _free_offsets(self) -> tuple[Tensor, Tensor]:
        """The static offsets [1, O, 3] and the personal shapes [S, O, 3] before smoothing."""
        mirrored = self.static_offsets[self.mirror_row] * self.mirror_sign
        return (self.static_offsets + mirrored + self.asymmetry)[None], self.shapes * self.moved

    def _smoothed_offsets(self) -> tuple[Tensor, Tensor]:
        """The static offsets [1, V, 3] and the personal shapes [S, V, 3]."""
        both = self._on_all_vertices(self.smooth(torch.cat(self._free_offsets())))
        return self._with_unseen(both[:1]), both[1:]

    def _with_unseen(self, offsets: Tensor) -> Tensor:
        """Offsets [N, V, 3] with those of the surface that no training frame shows."""
        return offsets + self.unseen_offsets if self.settings.blend_continue_unseen else offsets

    def _on_all_vertices(self, offsets: Tensor) -> Tensor:
        """Offsets [N, O, 3] as [N, V, 3], 0 on the eyeballs."""
        everywhere = offsets.new_zeros(len(offsets), self.head.n_vertices, 3)
        return everywhere.index_copy(1, self.head.offset_vertices, offsets)

    def surface(self, params: HeadParams, offset_neck: Tensor | None = None) -> Surface:
        """Pose N heads (`params` corrected); `offset_neck` [N, 3] conditions the offsets instead of the neck."""
        conditions = params if offset_neck is None else params.replace(neck=offset_neck)
        with torch.no_grad():
            raw = raw_drive(self.head, conditions)
            drive = self.drive(raw, clip=not self.training)
        offsets = self.rest_offsets(self.shape_coefficients(drive))
        posed = self._pose(params, offsets)
        raw = raw if offset_neck is None else None
        return Surface(params, offsets, posed.vertices, posed.plain_vertices, raw)

    def _pose(self, params: HeadParams, offsets: Tensor) -> PosedHead:
        tensors = (offsets, *(getattr(params, field.name) for field in dataclasses.fields(params)))
        with_gradient = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
        quick = None
        if not with_gradient and uses_cpu_kernels(offsets.device) and offsets.dtype == torch.float32:
            quick = self._quick_pose.pose(self.head, params, offsets)
        return quick or self.head.pose(params, rest_offsets=offsets)

    def posed_with(self, params: HeadParams, offsets: Tensor) -> Tensor:
        """Vertices [N, V, 3] of N heads (`params` corrected) with given offsets, as `Surface.offsets` are."""
        return self.head.pose(params, rest_offsets=offsets).vertices

    def shape_targets(self) -> Tensor:
        """Personal shapes [S, V, 3] in metres that are added in the rest pose, in the axes of the template."""
        weights = torch.eye(len(self.shapes), device=self.device)
        return self.rest_offsets(weights) - self.rest_offsets(torch.zeros_like(weights[:1]))

    def shape_target_weights(self, params: HeadParams) -> Tensor:
        """The weights [N, S] of the personal shapes in N poses (`params` corrected)."""
        return self.shape_coefficients(self.scaled_drive(params))

    # --- image ----------------------------------------------------------------------------------------------

    def _image(
        self,
        rendering: Rendering,
        camera: Camera,
        frame_ids: Tensor | None,
        condition_noise: HeadParams | None,
        paint: bool,
    ) -> Rendering:
        gbuffer = rendering.gbuffer
        values = gbuffer.alpha
        if paint:
            drive = self._texture_drive(rendering.surface, camera, condition_noise)
            values = self._painted(rendering, camera, drive, self._gain(frame_ids))
        edges = EdgeTable(self.face_neighbours)
        mixed = antialias(values, gbuffer.fragments, gbuffer.screen, self.head.faces, edges)
        return rendering.replace(alpha=mixed[:, :1], rgb01=mixed[:, 1:] if paint else None)

    def _texture_drive(self, surface: Surface, camera: Camera, noise: HeadParams | None) -> Tensor:
        """The scaled drive vectors [N, D] of surfaces that a camera sees, with noise on the parameters."""
        if noise is not None:
            return self.scaled_drive(with_noise(surface.params, noise), camera)
        if surface.drive is None:
            return self.scaled_drive(surface.params, camera)
        with torch.no_grad():
            raw = seen_by(surface.drive, self.drive.names["view"], surface.params, camera)
            return self.drive(raw, clip=not self.training)

    def _painted(self, rendering: Rendering, camera: Camera, drive: Tensor, gain: Tensor | None) -> Tensor:
        """Alpha and colours on white, before antialiasing: [N, 4, H, W]."""
        gbuffer, surface = rendering.gbuffer, rendering.surface
        if not self._uses_kernels(surface):
            rgb01 = self.paint(gbuffer, drive, gain)
            return torch.cat([gbuffer.alpha, torch.where(gbuffer.alpha > 0, rgb01, 1.0)], 1)
        head_weights, mouth_weights = self.basis_weights(drive)
        return paint_blend(
            gbuffer.fragments,
            surface.vertices,
            camera.extrinsics[:, :, :3],
            self.head.tables,
            self.head_texture.maps(head_weights),
            self.mouth_texture.maps(mouth_weights),
            self.light,
            self.light.new_ones(len(drive), 3) if gain is None else gain,
            clamp01=not self.training,
        )

    def _uses_kernels(self, surface: Surface) -> bool:
        return uses_cpu_kernels(surface.vertices.device) and surface.vertices.dtype == torch.float32

    def rasterize(self, surface: Surface, camera: Camera, channels: Sequence[str] | None = None) -> GBuffer:
        """As `HeadAvatar.rasterize`; on a CPU the channels that colours need are drawn when they are read."""
        channels = self.PAINT_CHANNELS if channels is None else channels
        lazy = self.PAINT_CHANNELS if self._uses_kernels(surface) else ()
        eager = [name for name in channels if name not in lazy]
        later = [name for name in lazy if name in channels]
        return draw_gbuffer(surface.vertices, drawn_tables(self.head), camera, eager, later)

    def _gain(self, frame_ids: Tensor | None) -> Tensor | None:
        """The exposure factors [N, 3] of frames; 1 for ids that the avatar does not have."""
        if frame_ids is None:
            return None
        known = (frame_ids >= 0) & (frame_ids < len(self.log_gain))
        return (self.log_gain[torch.where(known, frame_ids, 0)] * known[:, None]).exp()

    def paint(self, gbuffer: GBuffer, drive: Tensor, gain: Tensor | None = None) -> Tensor:
        """Colours of a G-buffer with the channels PAINT_CHANNELS, before antialiasing.

        Args:
            gbuffer: N rasterised heads.
            drive: [N, D] scaled drive vectors.
            gain: [N, 3] exposure factors; None for 1.

        Returns:
            rgb01 [N, 3, H, W]; meaningless where nothing is covered.
        """
        uv = gbuffer["uvcoords"][:, :2].permute(0, 2, 3, 1)
        head_weights, mouth_weights = self.basis_weights(drive)
        head, mouth = self.head_texture(uv, head_weights), self.mouth_texture(uv, mouth_weights)
        rgb01 = torch.where(gbuffer["uvmap"] > 0.5, mouth, head) * self.shading(gbuffer["normals"])
        if gain is not None:
            rgb01 = rgb01 * gain[:, :, None, None]
        return rgb01 if self.training else rgb01.clamp(0, 1)

    def basis_weights(self, drive: Tensor) -> tuple[Tensor, Tensor]:
        """The weights [N, K] of the head's and of the mouth's basis images for scaled drive vectors [N, D]."""
        return self.texture_weights(drive[:, : len(self.coloured)] * self.coloured).chunk(2, 1)

    def shading(self, normals: Tensor) -> Tensor:
        """The light [N, 3, H, W] at normals [N, 3, H, W] in the camera's axes, 1 on average."""
        length = torch.linalg.vector_norm(normals, dim=1, keepdim=True).clamp_min(MIN_NORMAL)
        # the position is learned from edges and texture, not from the light
        basis = spherical_harmonics_basis((normals / length).detach().permute(0, 2, 3, 1))[..., 1:]
        return (1 + basis @ self.light).permute(0, 3, 1, 2)
