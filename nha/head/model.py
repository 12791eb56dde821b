"""The head model: from parameters to vertices and landmarks (`docs/method.md`, section 1)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from nha.core.device import float32_products
from nha.core.mesh import corner_values, moved_in_frames, vertex_normals
from nha.core.rotations import rotation_vector
from nha.core.types import HeadParams, SurfaceTables
from nha.head import joint_limits
from nha.head.assets import HeadAssets
from nha.head.joint_rotations import joint_rotations
from nha.head.load import load_head
from nha.head.mouth_features import head_rotation_vector, mouth_distances
from nha.head.skinning import skinning
from nha.head.topology import HeadTopology, build_topology


def _blend(factors: Tensor, directions: Tensor) -> Tensor:
    """Sum of directions [V, 3, K] with factors [N, K]: [N, V, 3]."""
    return torch.einsum("nk,vck->nvc", factors, directions)


@dataclass(frozen=True)
class PosedHead:
    """Vertices of N heads in the world coordinate system, in metres.

    Attributes:
        vertices: [N, V, 3] with offsets.
        plain_vertices: [N, V, 3] without offsets.
        rotations: [N, 5, 3, 3] of the joints, see `joint_rotations`.
    """

    vertices: Tensor
    plain_vertices: Tensor
    rotations: Tensor


class HeadModel(nn.Module):
    """A head with FLAME's parameters: blendshapes, offsets in tangent frames, linear blend skinning.

    It has no learned parameters. `docs/method.md`, section 1.

    Args:
        assets: the head model, or the name or folder of one (see `nha.load_head`).
        subdivisions: how often each face outside the eyeballs is split into four.
        close_mouth: keep the faces that close the mouth.
        drop_lower_neck: remove the faces of the lower neck.
        blur_sigma: standard deviation in metres of the soft labels; None leaves them zero, which saves seconds.

    Attributes:
        tables: the rendered mesh without its vertices.
        offset_vertices: [O] ids of the vertices that have offsets (all except those of the eyeballs).
        template_normed: [V, 3] template positions, scaled per axis to -1..1.
        part_names: names of the P parts, the columns of the label tables.
    """

    def __init__(
        self,
        assets: HeadAssets | str | Path,
        *,
        subdivisions: int = 1,
        close_mouth: bool = True,
        drop_lower_neck: bool = True,
        blur_sigma: float | None = 0.01,
    ) -> None:
        super().__init__()
        if not isinstance(assets, HeadAssets):
            assets = load_head(assets)
        topology = build_topology(
            assets,
            subdivisions=subdivisions,
            close_mouth=close_mouth,
            drop_lower_neck=drop_lower_neck,
            blur_sigma=blur_sigma,
        )
        self.name, self.licence = assets.name, assets.licence
        self.identity = assets.identity  # see `nha.head.identity`
        self.expression_names = assets.expression_names  # of the first coefficients, where known
        self.part_names = topology.part_names
        self.joint_parents = assets.joint_parents
        self.n_shape = assets.shape_directions.shape[2]
        self.n_expr = assets.expression_directions.shape[2]
        self._add_skinning_tables(topology)
        self._add_surface_tables(topology)
        self._add_landmarks(assets, topology)

    def _table(self, name: str, values: np.ndarray, dtype: torch.dtype = torch.float32) -> None:
        # not persistent: the tables are read from the head model's files, not from checkpoints
        self.register_buffer(name, torch.as_tensor(np.ascontiguousarray(values)).to(dtype), persistent=False)

    def _add_skinning_tables(self, t: HeadTopology) -> None:
        directions = np.concatenate([t.shape_directions, t.expression_directions], 2)
        self._table("template", t.template_vertices)
        self._table("directions", directions)
        self._table("pose_directions", t.pose_directions)
        self._table("skinning_weights", t.skinning_weights)
        self._table("kept_weights", t.skinning_weights[t.kept_vertices])
        self._table("joint_regressor", t.joint_regressor)
        self._table("joint_template", t.joint_regressor @ t.template_vertices)
        self._table(
            "joint_directions", np.einsum("jv,vck->kjc", t.joint_regressor, directions, optimize=True)
        )
        self._table("all_faces", t.all_faces, torch.long)
        self._table("kept_vertices", t.kept_vertices, torch.long)

    def _add_surface_tables(self, t: HeadTopology) -> None:
        template = t.template_vertices
        low, high = template.min(0), template.max(0)
        uvs = t.uvs[t.uv_faces]
        self._table("template_normed", ((template - low) / (high - low) * 2 - 1)[t.kept_vertices])
        self._table("offset_vertices", np.flatnonzero(~t.is_eyeball), torch.long)
        self._table("faces", t.faces, torch.long)
        self._table(
            "face_uvcoords",
            np.stack([2 * uvs[..., 0] - 1, 1 - 2 * uvs[..., 1], np.ones_like(uvs[..., 0])], -1),
        )
        self._table("face_uvmap", t.face_uvmap, torch.long)
        self._table("face_coords_normed", t.face_coords_normed)
        self._table("hard_labels", t.hard_labels)
        self._table("soft_labels", t.soft_labels)
        self._table("uvs", t.uvs)
        self._table("uv_faces", t.uv_faces, torch.long)

    def _add_landmarks(self, assets: HeadAssets, t: HeadTopology) -> None:
        new_id = np.full(len(t.template_vertices), -1)
        new_id[t.kept_vertices] = np.arange(len(t.kept_vertices))
        self._table("landmark_corners", new_id[assets.closed.faces[assets.landmark_faces]], torch.long)
        self._table("landmark_barycentric", assets.landmark_barycentric)
        corners = self.kept_vertices[self.landmark_corners]  # [70, 3]
        for name in ("template", "directions", "pose_directions", "skinning_weights"):
            self.register_buffer(f"landmark_{name}", getattr(self, name)[corners], persistent=False)
        features = assets.mouth_features
        self.has_mouth_features = features is not None
        if features is not None:
            self._table("mouth_pairs", new_id[features.pairs], torch.long)
            self._table("mouth_minimum", features.minimum)
            self._table("mouth_maximum", features.maximum)

    @property
    def n_vertices(self) -> int:
        """The number V of vertices of the rendered mesh."""
        return len(self.kept_vertices)

    @property
    def tables(self) -> SurfaceTables:
        """The rendered mesh without its vertices, on the model's device."""
        return SurfaceTables(
            faces=self.faces,
            face_uvcoords=self.face_uvcoords,
            face_uvmap=self.face_uvmap,
            face_coords_normed=self.face_coords_normed,
            hard_labels=self.hard_labels,
            soft_labels=self.soft_labels,
            part_names=self.part_names,
        )

    def part(self, name: str) -> int:
        """The column of a part in the label tables. Raises ValueError for an unknown part."""
        return self.part_names.index(name)

    def neutral_params(self, n: int = 1) -> HeadParams:
        """Parameters of n heads with all coefficients and angles zero."""

        def zeros(size: int) -> Tensor:
            return self.template.new_zeros(n, size)

        def neutral(limits: joint_limits.Limits) -> Tensor:
            return joint_limits.neutral_params(limits).to(self.template).expand(n, -1)

        return HeadParams(
            shape=zeros(self.n_shape),
            expr=zeros(self.n_expr),
            rotation=zeros(3),
            translation=zeros(3),
            neck=neutral(joint_limits.NECK_LIMITS_DEG),
            jaw=neutral(joint_limits.JAW_LIMITS_DEG),
            eyes=neutral(joint_limits.EYES_LIMITS_DEG),
        )

    def forward(self, params: HeadParams, offsets: Tensor | None = None) -> Tensor:
        """Vertices of N heads: [N, V, 3] metres in the world. For `offsets` see `pose`."""
        return self.pose(params, offsets).vertices

    @float32_products()
    def pose(
        self,
        params: HeadParams,
        offsets: Tensor | None = None,
        rest_offsets: Tensor | None = None,
        rotations: Tensor | None = None,
        *,
        plain: bool = True,
    ) -> PosedHead:
        """Pose N heads with and without offsets in one pass.

        Args:
            params: parameters of N heads.
            offsets: [N, V, 3] metres in the vertices' tangent frames (x, y along the surface, z along the normal);
                None for no offsets.
            rest_offsets: [N, V, 3] metres in the axes of the template, added before skinning, instead of `offsets`.
            rotations: [N, 5, 3, 3], the `joint_rotations` of the parameters where they were computed before.
            plain: whether the vertices without offsets are wanted, too; without them they are those with offsets.
        """
        # The order of these sums is the published one because it decides the rounding of float32: in folds where
        # normals nearly cancel another order changes offsets by 1e-5 m, and at edges the face that a pixel shows.
        shaped = self.template + _blend(torch.cat([params.shape, params.expr], 1), self.directions)
        if rotations is None:
            rotations = joint_rotations(params)
        # the rounding of an einsum would depend on the number of threads
        joints = self.joint_regressor @ shaped
        feature, place = skinning(
            rotations, joints, params.translation, self.joint_parents, self.kept_weights
        )
        posed = shaped + _blend(feature, self.pose_directions)
        kept = corner_values(posed, self.kept_vertices[:, None]).squeeze(2)
        without = place(kept) if plain or (offsets is None and rest_offsets is None) else None

        def posed_head(vertices: Tensor) -> PosedHead:
            return PosedHead(vertices, vertices if without is None else without, rotations)

        if rest_offsets is not None:
            return posed_head(place(kept + rest_offsets))
        if offsets is None:
            return posed_head(without)
        # as published, no gradient flows through the direction of an offset
        with torch.no_grad():
            normals = vertex_normals(posed, self.all_faces)
        return posed_head(place(moved_in_frames(kept, normals, self.kept_vertices, offsets)))

    def landmarks(self, vertices: Tensor) -> Tensor:
        """The 68 iBUG landmarks and two irises of posed heads: vertices [N, V, 3] give [N, 70, 3]."""
        corners = corner_values(vertices, self.landmark_corners)
        return (corners * self.landmark_barycentric[..., None]).sum(2)

    @float32_products()
    def plain_landmarks(
        self, params: HeadParams, ids: Tensor | slice, rotations: Tensor | None = None
    ) -> Tensor:
        """Landmarks of heads without offsets. Only the vertices of the requested landmarks are posed.

        Args:
            params: parameters of N heads.
            ids: [L] landmark ids in 0..69, or a slice of them.
            rotations: [N, 5, 3, 3], the `joint_rotations` of the parameters where they were computed before.

        Returns:
            [N, L, 3] metres in the world.
        """
        coefficients = torch.cat([params.shape, params.expr], 1)
        if rotations is None:
            rotations = joint_rotations(params)
        # joints are linear in the coefficients: J (template + S b) = J template + (J S) b
        joints = self.joint_template + torch.tensordot(coefficients, self.joint_directions, 1)

        def corners(name: str) -> Tensor:
            return getattr(self, f"landmark_{name}")[ids].flatten(0, 1)

        feature, place = skinning(
            rotations,
            joints,
            params.translation,
            self.joint_parents,
            corners("skinning_weights"),
            self.landmark_barycentric[ids],
        )
        rest = corners("template") + _blend(coefficients, corners("directions"))
        return place(rest + _blend(feature, corners("pose_directions")))

    def mouth_features(self, vertices: Tensor, params: HeadParams, rotations: Tensor | None = None) -> Tensor:
        """The texture network's condition: scaled mouth distances, then the head's rotation vector.

        Args:
            vertices: [N, V, 3] metres, with offsets.
            params: parameters of N heads.
            rotations: [N, 5, 3, 3], the `joint_rotations` of the parameters where they were computed before.

        Returns:
            [N, M + 3]; M is 10 for FLAME and the procedural head.
        """
        distances = mouth_distances(vertices, self.mouth_pairs, self.mouth_minimum, self.mouth_maximum)
        if rotations is None:
            return torch.cat([distances, head_rotation_vector(params.rotation, params.neck)], 1)
        return torch.cat([distances, rotation_vector(rotations[:, 0] @ rotations[:, 1])], 1)
