"""The blend model: linear vertex offsets and blended textures. `docs/method.md`, section 3; `docs/quality.md`.

Everything it draws can be drawn by a game engine: offsets are morph targets in the rest pose, colours are sums of
images, multiplied by a low-order light.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor, nn

from nha.avatar.base import HeadAvatar, with_noise
from nha.avatar.drive import Drive, raw_drive
from nha.avatar.settings import AvatarSettings
from nha.core.mesh import unique_edges
from nha.core.types import Camera, GBuffer, HeadParams, Rendering, Surface
from nha.head.model import HeadModel
from nha.nets.blend_textures import BlendTexture, BlendWeights
from nha.render.antialias import EdgeTable, antialias
from nha.render.camera import project
from nha.render.shading import spherical_harmonics_basis

# parts that the shapes of the face do not move
_UNSHAPED_PARTS = ("neck", "scalp", "left_ear", "right_ear")
_INITIAL_SHAPE_WEIGHT = 0.2
_MIRROR = (-1.0, 1.0, 1.0)  # heads are symmetric in x
_LARGEST_ASYMMETRY_METRES = 0.004  # vertices without a mirrored vertex within this distance have no partner
_MIN_NORMAL = 1e-6  # shorter interpolated normals are not normalised


class BlendAvatar(HeadAvatar):
    """A head mesh with linear offsets and blended textures.

    Attributes:
        drive: scales the drive vector z [D] of a pose.
        static_offsets: [O, 3] metres, before smoothing; one row for each vertex that carries an offset. The mirrored
            offsets are added on the other side of the head, so that a side that is seen little follows the other.
        asymmetry: [O, 3] metres, before smoothing; offsets of one side only.
        shapes: [S, O, 3] metres, before smoothing; personal shapes, the last ones for the neck.
        shape_weights: [S, D] linear map of the drive vector to the shapes' weights. Shapes of the face move the face
            and depend on landmark distances, jaw and eyes; shapes of the neck move the neck and depend on its angles
            and on the head's rotation, which differs from that of the clothes at its lower rim.
        head_texture, mouth_texture: the textures of the two UV maps.
        texture_weights: network from z to the weights of the basis images of both maps.
        light: [8, 3] coefficients of the spherical harmonics of order 1 and 2.
        log_gain: [F, 3] logarithm of the exposure of each frame.
    """

    PAINT_CHANNELS = ("normals", "uvcoords", "uvmap")

    def __init__(self, head: HeadModel, settings: AvatarSettings, max_frame_id: int) -> None:
        """Build an untrained avatar; arguments and errors as in `HeadAvatar`."""
        super().__init__(head, settings, max_frame_id)
        s, n_offset = settings, len(head.offset_vertices)
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
        self._add_smoothing_tables()
        self._add_shape_tables()

    def _add_smoothing_tables(self) -> None:
        """Tables of the graph that `smooth` works on: edges between vertices that carry offsets."""
        head, n_offset = self.head, len(self.head.offset_vertices)
        row = torch.full((head.n_vertices,), -1)
        row[head.offset_vertices] = torch.arange(n_offset)
        edges = row[unique_edges(head.faces)]
        edges = edges[(edges >= 0).all(1)]
        both = torch.cat([edges, edges.flip(1)])
        degree = torch.bincount(both[:, 0], minlength=n_offset).float()
        step = 1 / degree.max().clamp_min(1)
        diagonal = torch.arange(n_offset)
        index = torch.cat([both, torch.stack([diagonal, diagonal], 1)]).T
        values = torch.cat([step.expand(len(both)), 1 - step * degree])
        matrix = torch.sparse_coo_tensor(
            index, values, (n_offset, n_offset), check_invariants=True
        ).coalesce()
        self.register_buffer("smoothing_index", matrix.indices(), persistent=False)
        self.register_buffer("smoothing_values", matrix.values(), persistent=False)
        neighbours = EdgeTable.from_faces(head.faces).neighbours
        self.register_buffer("face_neighbours", neighbours, persistent=False)

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
        for name in ("neck", "view"):
            driven[s.blend_shapes :, self.drive.names[name]] = 1
        self.register_buffer("driven", driven, persistent=False)  # [S, D]
        rest = head.template[head.kept_vertices][head.offset_vertices].numpy()
        mirrored = rest * np.array(_MIRROR, dtype=rest.dtype)
        distance, partner = cKDTree(rest).query(mirrored)
        has_partner = torch.from_numpy(distance < _LARGEST_ASYMMETRY_METRES).float()
        self.register_buffer("mirror_row", torch.from_numpy(partner), persistent=False)  # [O]
        sign = torch.tensor(_MIRROR) * has_partner[:, None]
        self.register_buffer("mirror_sign", sign, persistent=False)  # [O, 3]

    def _on_skin(self) -> Tensor:
        """[O] 1 for vertices of the skin, 0 for teeth and the inside of the mouth."""
        on_skin = torch.zeros(self.head.n_vertices)
        on_skin[self.head.faces[self.head.face_uvmap == 0].flatten()] = 1
        return on_skin[self.head.offset_vertices]

    # --- surface --------------------------------------------------------------------------------------------

    def scaled_drive(self, params: HeadParams, camera: Camera | None = None) -> Tensor:
        """The scaled drive vectors of N poses, [N, D], without gradient; clipped where not in training mode."""
        with torch.no_grad():
            return self.drive(raw_drive(self.head, params, camera), clip=not self.training)

    def shape_coefficients(self, drive: Tensor) -> Tensor:
        """The weights [N, S] of the personal shapes for scaled drive vectors [N, D]."""
        return drive @ (self.shape_weights * self.driven).T

    def smooth(self, offsets: Tensor) -> Tensor:
        """Offsets [K, O, 3] averaged with their neighbours, `blend_smoothing` times.

        The averaging is the change of variables of *Large Steps in Inverse Rendering* (Nicolet et al. 2021): a step of
        the optimiser moves a region of the surface instead of single vertices.
        """
        matrix = torch.sparse_coo_tensor(
            self.smoothing_index,
            self.smoothing_values,
            (offsets.shape[1],) * 2,
            is_coalesced=True,
            check_invariants=False,
        )
        columns = offsets.permute(1, 0, 2).reshape(offsets.shape[1], -1)
        return (
            _Smooth.apply(columns, matrix, self.settings.blend_smoothing)
            .unflatten(1, (-1, 3))
            .transpose(0, 1)
        )

    def rest_offsets(self, coefficients: Tensor) -> Tensor:
        """Offsets [N, V, 3] in metres, in the axes of the template, for weights [N, S] of the personal shapes."""
        static = self.static_offsets
        static = static + static[self.mirror_row] * self.mirror_sign + self.asymmetry
        free = static + torch.einsum("ns,soc->noc", coefficients, self.shapes * self.moved)
        offsets = free.new_zeros(len(free), self.head.n_vertices, 3)
        return offsets.index_copy(1, self.head.offset_vertices, self.smooth(free))

    def surface(self, params: HeadParams, offset_neck: Tensor | None = None) -> Surface:
        """Pose N heads (`params` corrected); `offset_neck` [N, 3] conditions the offsets instead of the neck."""
        conditions = params if offset_neck is None else params.replace(neck=offset_neck)
        offsets = self.rest_offsets(self.shape_target_weights(conditions))
        posed = self.head.pose(params, rest_offsets=offsets)
        return Surface(params, offsets, posed.vertices, posed.plain_vertices)

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
        gbuffer, surface = rendering.gbuffer, rendering.surface
        layers = [gbuffer.alpha]
        if paint:
            params = surface.params
            noisy = params if condition_noise is None else with_noise(params, condition_noise)
            rgb01 = self.paint(gbuffer, self.scaled_drive(noisy, camera), self._gain(frame_ids))
            layers.append(torch.where(gbuffer.alpha > 0, rgb01, 1.0))
        screen = project(surface.vertices, camera)
        edges = EdgeTable(self.face_neighbours)
        mixed = antialias(torch.cat(layers, 1), gbuffer.fragments, screen, self.head.faces, edges)
        return rendering.replace(alpha=mixed[:, :1], rgb01=mixed[:, 1:] if paint else None)

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
        return self.texture_weights(drive[:, : self.drive.names["expression"].start]).chunk(2, 1)

    def shading(self, normals: Tensor) -> Tensor:
        """The light [N, 3, H, W] at normals [N, 3, H, W] in the camera's axes, 1 on average."""
        length = torch.linalg.vector_norm(normals, dim=1, keepdim=True).clamp_min(_MIN_NORMAL)
        # the position is learned from edges and texture, not from the light
        basis = spherical_harmonics_basis((normals / length).detach().permute(0, 2, 3, 1))[..., 1:]
        return (1 + basis @ self.light).permute(0, 3, 1, 2)


class _Smooth(torch.autograd.Function):
    """Repeated products with a symmetric sparse matrix; the backward pass repeats them with the gradient."""

    @staticmethod
    def forward(ctx, columns: Tensor, matrix: Tensor, times: int) -> Tensor:
        ctx.matrix, ctx.times = matrix, times
        return _powers(columns, matrix, times)

    @staticmethod
    def backward(ctx, upstream: Tensor):
        return _powers(upstream, ctx.matrix, ctx.times), None, None


def _powers(columns: Tensor, matrix: Tensor, times: int) -> Tensor:
    for _ in range(times):
        columns = torch.sparse.mm(matrix, columns)
    return columns
