"""The published model: vertex offsets and colours from FiLM-SIREN networks. `docs/method.md`, section 3.

`HeadAvatar.render` (`nha/avatar/base.py`) is the whole sequence; `surface`, `rasterize` and `paint` are its parts.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nha.avatar.base import HeadAvatar, with_noise
from nha.avatar.conditioning import ConditionRanges
from nha.avatar.settings import AvatarSettings
from nha.core.derived import Derived
from nha.core.errors import UserError
from nha.core.rotations import rotation_matrix
from nha.core.types import Camera, GBuffer, HeadParams, Rendering, Surface
from nha.head.joint_limits import neck_angles
from nha.head.joint_rotations import joint_rotations
from nha.head.model import HeadModel
from nha.head.mouth_features import N_ROTATION_FEATURES, soft_clip_rotation
from nha.nets.neural_texture import NeuralTexture
from nha.nets.normal_encoder import NormalEncoder
from nha.nets.offset_net import OffsetNet
from nha.nets.texture_net import TextureNet
from nha.render.interpolate import CoveredPixels, covered_pixels

# A smaller neck weight changes no float32 sum, so these vertices need no pose-dependent offset.
SMALLEST_NECK_WEIGHT = 2.0**-24


class NeuralHeadAvatar(HeadAvatar):
    """A head mesh with learned vertex offsets and a learned texture. Paper sec. 3; `docs/method.md`, section 3.

    Attributes:
        frame_parameters: learned corrections of the tracked parameters, by frame id.
        vertex_features: [1, O, 32] learned, one row for each vertex that carries an offset.
        offset_net: vertex features and neck rotation to offsets.
        texture_net, normal_encoder, neural_texture: surface point, normals and mouth features to a colour.
        condition_ranges: ranges of the conditions in the training frames.
    """

    def __init__(
        self,
        head: HeadModel,
        settings: AvatarSettings,
        max_frame_id: int,
        *,
        texture_net: nn.Module | None = None,
        offset_net: nn.Module | None = None,
    ) -> None:
        """Build an untrained avatar.

        Args:
            head: the head model, built with `settings.subdivide_mesh` (see `nha.avatar.open.build_head`).
            settings: sizes of the networks.
            max_frame_id: the largest frame id of the dataset.
            texture_net: a network with the interface of `TextureNet.forward` in place of the published one.
            offset_net: a network with the interface of `OffsetNet.forward` in place of the published one.

        Raises:
            UserError: the head model lacks the mouth features or a part that rendering needs.
        """
        super().__init__(head, settings, max_frame_id)
        if not head.has_mouth_features:
            raise UserError(
                f"head model '{head.name}' has no mouth features; add a head.json with mouth_features to its folder"
            )
        s = settings
        n_mouth = len(head.mouth_pairs) + N_ROTATION_FEATURES
        self.vertex_features = nn.Parameter(0.02 * torch.randn(1, len(head.offset_vertices), s.vertex_feats))
        self.offset_net = offset_net or OffsetNet(
            s.vertex_feats, 9, s.offset_hidden_layers, s.offset_hidden_feats
        )
        self.texture_net = texture_net or TextureNet(
            s.texture_map_feats,
            n_mouth,
            s.d_normal_encoding,
            s.texture_hidden_layers,
            s.texture_hidden_feats,
            s.texture_d_hidden_dynamic,
        )
        self.normal_encoder = NormalEncoder(
            s.d_normal_encoding, s.n_normal_encoding_hidden, s.d_normal_encoding_hidden
        )
        self.neural_texture = NeuralTexture(s.texture_map_feats, s.texture_map_head, s.texture_map_mouth)
        self.condition_ranges = ConditionRanges(head.n_expr, n_mouth)
        self._at_rest = Derived()  # offsets that depend on no frame
        neck = head.soft_labels[:, head.part("neck")].clamp(0, 1)[head.offset_vertices]
        rows = (neck > SMALLEST_NECK_WEIGHT).nonzero().squeeze(1)
        weight = neck[rows, None]
        self._add_table("offset_points", head.template_normed[head.offset_vertices])  # [O, 3]
        self._add_table("neck_rows", rows)  # of the vertices with offsets, those that depend on the neck
        self._add_table(
            "neck_weights", torch.stack([weight, 1 - weight])
        )  # [2, neck rows, 1], posed and at rest
        # where the offset of each vertex stands in a list of zero, offsets at rest, and posed ones
        offset_rows = torch.zeros(head.n_vertices, dtype=torch.long)
        offset_rows[head.offset_vertices] = torch.arange(1, len(head.offset_vertices) + 1)
        offset_rows[head.offset_vertices[rows]] = 1 + len(head.offset_vertices) + torch.arange(len(rows))
        self._add_table("offset_rows", offset_rows)

        # what the texture depends on at the faces' corners: texture coordinates, position, label of the mouth
        in_mouth = head.hard_labels[:, head.part("mouth")][head.faces]
        corners = [head.face_uvcoords[..., :2], head.face_coords_normed, in_mouth[..., None]]
        self._add_table("painted_corners", torch.cat(corners, -1))  # [F, 3, 6]

    def _add_table(self, name: str, values: Tensor) -> None:
        self.register_buffer(name, values, persistent=False)  # derived from the head model

    # --- surface --------------------------------------------------------------------------------------------

    def offsets(self, neck: Tensor, rotation: Tensor | None = None) -> Tensor:
        """Vertex offsets, zero on the eyeballs. Paper sec. 3.2; `docs/method.md`, section 3.

        The network is evaluated with the neck's rotation and with a zero condition. The soft label `neck` blends the
        two near the neck; elsewhere only the second is used.

        Args:
            neck: [N, 3] unbounded neck parameters.
            rotation: [N, 3, 3], the neck's rotation matrix where it was computed before.

        Returns:
            [N, V, 3] metres, in the vertices' tangent frames.
        """
        # detached: the offsets depend on the pose, but the pose is not optimised through them
        rotation = rotation_matrix(neck_angles(neck)) if rotation is None else rotation
        static, dynamic = self._at_rest_and_posed(rotation.flatten(1).detach())
        weight, rest_weight = self.neck_weights
        of_rows = static.index_select(1, self.neck_rows)
        mixed = weight * dynamic + rest_weight * of_rows  # [N, neck rows, 3]
        zero = static.new_zeros(1, 1, 3)
        sources = [zero.expand(len(neck), -1, -1), static.expand(len(neck), -1, -1), mixed]
        return torch.cat(sources, 1).index_select(1, self.offset_rows)

    def _at_rest_and_posed(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Offsets under a zero condition [1, O, 3], and of the neck's vertices under conditions [N, 9]."""
        learned = (self.vertex_features, *self.offset_net.parameters())
        published = isinstance(self.offset_net, OffsetNet)
        if torch.is_grad_enabled() and any(parameter.requires_grad for parameter in learned):
            points = self._offset_inputs()
            if published:
                return self.offset_net.at_rest_and_posed(points, self.neck_rows, condition)
        elif published:
            at_rest, neck_points = self._at_rest.value(learned, self._offsets_at_rest)
            return at_rest, self.offset_net(neck_points, condition)
        points = self._offset_inputs()
        at_rest = self.offset_net(points, torch.zeros_like(condition[:1]))
        return at_rest, self.offset_net(points.index_select(0, self.neck_rows), condition)

    def _offsets_at_rest(self) -> tuple[Tensor, Tensor]:
        """Offsets under a zero condition [1, O, 3], and the network's inputs at the neck's vertices."""
        points = self._offset_inputs()
        zero = points.new_zeros(1, self.offset_net.mapping.condition_size)
        return self.offset_net(points, zero), points.index_select(0, self.neck_rows)

    def _offset_inputs(self) -> Tensor:
        """[O, 3 + F], template position and feature of the vertices that have offsets."""
        return torch.cat([self.offset_points, self.vertex_features[0]], 1)

    def surface(self, params: HeadParams, offset_neck: Tensor | None = None) -> Surface:
        """Pose N heads (`params` corrected); `offset_neck` [N, 3] conditions the offsets instead of the neck."""
        rotations = joint_rotations(params)
        if offset_neck is None:
            offsets = self.offsets(params.neck, rotations[:, 1])
        else:
            offsets = self.offsets(offset_neck)
        posed = self.head.pose(params, offsets, rotations=rotations)
        return Surface(params, offsets, posed.vertices, posed.plain_vertices, rotations=rotations)

    # --- image ----------------------------------------------------------------------------------------------

    def _image(
        self,
        rendering: Rendering,
        camera: Camera,
        frame_ids: Tensor | None,
        condition_noise: HeadParams | None,
        paint: bool,
    ) -> Rendering:
        if not paint:
            return rendering
        features = self.mouth_features(rendering.surface, condition_noise)
        return rendering.replace(rgb01=self.paint(rendering.gbuffer, features, rendering.painted))

    @torch.no_grad()
    def mouth_features(self, surface: Surface, noise: HeadParams | None = None) -> Tensor:
        """The texture's condition before any clipping, without gradient: [N, M + 3].

        noise: added to the parameters of a copy of the heads, which keeps the heads' own offsets.
        """
        if noise is None:
            return self.head.mouth_features(surface.vertices, surface.params, surface.rotations)
        noisy = with_noise(surface.params, noise)
        posed = self.head.pose(noisy, surface.offsets, plain=False)
        return self.head.mouth_features(posed.vertices, noisy, posed.rotations)

    def texture_condition(self, mouth_features: Tensor) -> Tensor:
        """The condition of the texture network from the mouth features [N, M + 3]: clipped (not in training mode)."""
        if not self.training:
            mouth_features = self.condition_ranges.clip_mouth(mouth_features)
        return soft_clip_rotation(mouth_features, self.settings.soft_clip_sigma)

    def paint(self, gbuffer: GBuffer, mouth_features: Tensor, only: Tensor | None = None) -> Tensor:
        """The image of a G-buffer that has the channel "normals". Paper sec. 3.3; `docs/method.md`, section 3.

        Args:
            gbuffer: N rasterised heads.
            mouth_features: [N, M + 3], see `mouth_features`.
            only: bool [N, 1, H, W]; the other pixels are not painted and stay white.

        Returns:
            rgb01 [N, 3, H, W] on a white background.
        """
        covered = gbuffer.covered or covered_pixels(gbuffer.fragments)
        if only is not None:
            covered = covered.only(only)
        row, column = covered.row_and_column()
        encoding = self.normal_encoder.at_pixels(gbuffer["normals"], covered.image, row, column)
        rgb01 = self.paint_points(covered, encoding, mouth_features)
        return covered.to_image(rgb01, background=1.0).permute(0, 3, 1, 2)

    def paint_points(self, covered: CoveredPixels, encoding: Tensor, mouth_features: Tensor) -> Tensor:
        """Colours of P points on the rendered mesh.

        Args:
            covered: the points: pixels of N images or texels of a map.
            encoding: [P, E] encoded normals.
            mouth_features: [N, M + 3].

        Returns:
            rgb01 [P, 3].
        """
        uvs, positions, mouth_weight = covered.from_faces(self.painted_corners[None]).split([2, 3, 1], 1)
        features = self.neural_texture(uvs, self.head.face_uvmap[covered.face])
        points, mouth_weight = torch.cat([positions, features], 1), mouth_weight[:, 0]
        rgb_pm1 = self.texture_net(
            points,
            encoding,
            self.texture_condition(mouth_features),
            covered.image,
            mouth_weight,
            (1 - mouth_weight).clamp_min(0),
        )
        return (rgb_pm1 + 1) / 2
