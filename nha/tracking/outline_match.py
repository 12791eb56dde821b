"""Correspondences between the mesh's outline and ears and those of the label images.

Found anew in each round of the fit, as in iterated closest points; the least-squares steps between two rounds keep
them. `docs/method.md`, section 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import sqrtm
from scipy.spatial import cKDTree
from torch import Tensor

from nha.render.camera import project
from nha.render.rasterize import rasterize
from nha.tracking.outlines import EARS, Contour, Edge, HeadOutline, Moments, outer_contour
from nha.tracking.photometric import TrackerMesh
from nha.tracking.settings import OutlineSettings
from nha.tracking.state import Unknowns
from nha.tracking.surface_points import SurfaceTargets

_PARTS = ("other", "left_ear", "right_ear", "scalp")
OTHER, LEFT_EAR, RIGHT_EAR, SCALP = range(len(_PARTS))
_EAR_PARTS = {"left_ear": LEFT_EAR, "right_ear": RIGHT_EAR}
# Neighbouring pixels of an outline have the same error; points at this distance count as independent.
_SPACING = 0.04  # in face heights
_FARTHEST = 0.3  # a match must not be farther, in face heights
_NORMAL_WEIGHT = 0.15  # a normal turned by one radian counts as this distance, in face heights
_SMALLEST_COSINE = 0.5  # between the normals of a match
_EAR_POINTS, _SMALLEST_EAR_PX = 24, 6
_MM = 1e-3


@dataclass(frozen=True)
class FaceParts:
    """Where the F rendered faces lie on the head.

    Attributes:
        part: [F], one of `OTHER`, `LEFT_EAR`, `RIGHT_EAR` and `SCALP`.
        at_rim: bool [F], faces near the mesh's open lower edge, where its outline is not that of the head.
    """

    part: np.ndarray
    at_rim: np.ndarray


def face_parts(mesh: TrackerMesh) -> FaceParts:
    """The parts of the rendered faces of the tracker's mesh."""
    faces, labels = mesh.faces.cpu().numpy(), mesh.head.hard_labels.cpu().numpy() > 0
    part = np.full(len(faces), OTHER)
    for name, number in (("scalp", SCALP), *_EAR_PARTS.items()):
        if name in mesh.head.part_names:
            part[labels[:, mesh.head.part(name)][faces].sum(1) >= 2] = number
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1)
    unique, count = np.unique(edges, axis=0, return_counts=True)
    rim = np.unique(unique[count == 1])
    for _ in range(2):
        rim = np.unique(faces[np.isin(faces, rim).any(1)])
    return FaceParts(part, np.isin(faces, rim).any(1))


class OutlineMatcher:
    """Finds which points of the mesh belong to which points of the outlines.

    Args:
        mesh: the tracker's mesh.
        settings: weights of the matches.
        face_height_px: of the person, in pixels of the tracked images.
    """

    def __init__(self, mesh: TrackerMesh, settings: OutlineSettings, face_height_px: float) -> None:
        self.mesh, self.settings, self.face_height_px = mesh, settings, face_height_px
        self.parts = face_parts(mesh)

    @torch.no_grad()
    def match(
        self,
        unknowns: Unknowns,
        outlines: Sequence[HeadOutline | None],
        ear_trust: Sequence[float],
        image_size: tuple[int, int],
    ) -> SurfaceTargets:
        """Matches of N frames.

        Args:
            unknowns: of the N frames.
            outlines: what their label images show, at one size; None: nothing.
            ear_trust: weight of the parsed ears in each frame, 0..1.
            image_size: (height, width) of the tracked images.
        """
        size = next(outline.size for outline in outlines if outline is not None)
        device = self.mesh.faces.device
        moved = unknowns.to(device)
        screen = project(self.mesh.head(moved.head_params()), moved.camera(size))
        fragments = rasterize(screen, self.mesh.faces, size, layers=1, cull_back_faces=True)
        face = fragments.face_index[..., 0].cpu().numpy()
        barycentric = fragments.barycentric[..., 0, :].cpu()
        depth = fragments.depth[..., 0].cpu().numpy()
        focal_px = float(unknowns.focal_and_centre[0]) * max(size)
        pixel = max(image_size) / max(size)  # of the tracked images, per pixel of the outlines
        frames = []
        for row, outline in enumerate(outlines):
            found = _Matches.empty()
            if outline is not None:
                frame = _FrameMatcher(self, face[row], depth[row], focal_px, self.face_height_px / pixel)
                found = _Matches.join(
                    [frame.match_outline(outline), frame.match_ears(outline, ear_trust[row])]
                )
            frames.append(self._targets(found, face[row], barycentric[row], size, pixel))
        return SurfaceTargets.stack(frames)

    def _targets(
        self, found: _Matches, face: np.ndarray, barycentric: Tensor, size: tuple[int, int], pixel: float
    ) -> SurfaceTargets:
        rows, columns = torch.from_numpy(found.pixels).unbind(1)
        faces = torch.from_numpy(face.astype(np.int64))[rows, columns]
        centre = np.array([size[1] / 2, size[0] / 2])
        return SurfaceTargets(
            corners=self.mesh.faces.cpu()[faces][None],
            barycentric=barycentric[rows, columns][None],
            target_px=torch.from_numpy((found.targets - centre) * pixel)[None],
            direction=torch.from_numpy(found.directions).float()[None],
            inverse_sigma=torch.from_numpy(found.inverse_sigma / pixel)[None],
        )


@dataclass(frozen=True)
class _Matches:
    """M matches of a frame: pixel (row, column) of the mesh, target [M, 2], direction [M, 2], 1 / sigma [M]."""

    pixels: np.ndarray
    targets: np.ndarray
    directions: np.ndarray
    inverse_sigma: np.ndarray

    @classmethod
    def empty(cls) -> _Matches:
        return cls(np.zeros((0, 2), np.int64), np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0))

    @classmethod
    def join(cls, parts: Sequence[_Matches]) -> _Matches:
        return cls(
            *(np.concatenate(values) for values in zip(*(vars(p).values() for p in parts), strict=True))
        )


class _FrameMatcher:
    """Matches of one frame."""

    def __init__(
        self,
        matcher: OutlineMatcher,
        face: np.ndarray,
        depth: np.ndarray,
        focal_px: float,
        face_height_px: float,
    ) -> None:
        self.settings, self.parts = matcher.settings, matcher.parts
        self.face, self.depth, self.focal_px, self.face_height = face, depth, focal_px, face_height_px
        self.part = np.where(face >= 0, self.parts.part[face.clip(0)], -1)

    def match_outline(self, outline: HeadOutline) -> _Matches:
        """Outline points of the mesh with the nearest of the labels, and bare points of the labels with the mesh's."""
        contour = outer_contour(self.face >= 0)
        if contour is None or not len(outline.contour):
            return _Matches.empty()
        rows, columns = contour.pixels
        faces = self.face[rows, columns]
        part, at_rim = self.parts.part[faces], self.parts.at_rim[faces]
        found = []
        for mesh_part in (OTHER, LEFT_EAR, RIGHT_EAR, SCALP):
            of_mesh = np.flatnonzero(part == mesh_part)
            ear = {LEFT_EAR: Edge.LEFT_EAR, RIGHT_EAR: Edge.RIGHT_EAR}.get(mesh_part)
            bare = (Edge.BARE,) if ear is None else (ear,)
            visible = np.flatnonzero(np.isin(outline.edges, (*bare, Edge.HAIR)))
            forwards = self._nearest(contour, of_mesh[~at_rim[of_mesh]], outline.contour, visible)
            found.append(self._pulled(contour, outline, *forwards, mesh_part == SCALP))
        for edges, mesh_parts in (
            ((Edge.BARE,), (OTHER, SCALP)),
            ((Edge.LEFT_EAR,), (LEFT_EAR,)),
            ((Edge.RIGHT_EAR,), (RIGHT_EAR,)),
        ):
            visible = np.flatnonzero(np.isin(outline.edges, edges))
            of_mesh = np.flatnonzero(np.isin(part, mesh_parts))
            of_labels, nearest = self._nearest(outline.contour, visible, contour, of_mesh)
            usable = ~at_rim[nearest]
            found.append(self._pulled(contour, outline, nearest[usable], of_labels[usable], False))
        return _Matches.join(found)

    def _nearest(
        self, of: Contour, chosen: np.ndarray, among: Contour, candidates: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """For chosen points of a contour, thinned, the nearest candidates of another one: two index arrays [M]."""
        chosen = chosen[:: max(1, round(_SPACING * self.face_height))]
        if not len(chosen) or not len(candidates):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        scale = _NORMAL_WEIGHT * self.face_height
        tree = cKDTree(np.hstack([among.points_px[candidates], scale * among.normals[candidates]]))
        _, index = tree.query(np.hstack([of.points_px[chosen], scale * of.normals[chosen]]))
        nearest = candidates[index]
        distance = np.linalg.norm(of.points_px[chosen] - among.points_px[nearest], axis=1)
        cosine = (of.normals[chosen] * among.normals[nearest]).sum(1)
        kept = (distance < _FARTHEST * self.face_height) & (cosine > _SMALLEST_COSINE)
        return chosen[kept], nearest[kept]

    def _pulled(
        self,
        contour: Contour,
        outline: HeadOutline,
        of_mesh: np.ndarray,
        of_labels: np.ndarray,
        is_scalp: bool,
    ) -> _Matches:
        """Matches whose distances count along the labels' normals; under hair the target lies its thickness inside."""
        targets, normals = outline.contour.points_px[of_labels], outline.contour.normals[of_labels]
        pixels = np.stack([axis[of_mesh] for axis in contour.pixels], 1)
        hair = outline.edges[of_labels] == Edge.HAIR
        inside_px = ((targets - contour.points_px[of_mesh]) * normals).sum(1)
        px_per_metre = self.focal_px / self.depth[pixels[:, 0], pixels[:, 1]]
        sigma = np.full(len(targets), self.settings.outline_sigma * self.face_height)
        thickness = self.settings.hair_thickness_mm * _MM * px_per_metre
        covered = hair & (inside_px >= 0)
        if is_scalp:
            sigma[covered] = (self.settings.hair_sigma_mm * _MM * px_per_metre)[covered]
            targets = targets - np.where(covered, thickness, 0)[:, None] * normals
        kept = ~covered if not is_scalp else np.ones(len(targets), bool)
        return _Matches(pixels[kept], targets[kept], normals[kept], 1 / sigma[kept])

    def match_ears(self, outline: HeadOutline, trust: float) -> _Matches:
        """Visible points of the mesh's ears with the places to which the parsed ears' mean and covariance move them."""
        found = [_Matches.empty()]
        for name in EARS:
            pixels = np.argwhere(self.part == _EAR_PARTS[name])
            if name not in outline.ears or len(pixels) < _SMALLEST_EAR_PX or trust <= 0:
                continue
            points = pixels[:, ::-1] + 0.5
            target = outline.ears[name]
            own = Moments.of(points)
            chosen = np.unique(np.linspace(0, len(pixels) - 1, _EAR_POINTS).round().astype(int))
            moved = target.mean + (points[chosen] - own.mean) @ transport(own.covariance, target.covariance).T
            # the whole ear counts as one measurement of each moment, however many points stand for it
            sigma = self.settings.ear_sigma * self.face_height * np.sqrt(len(chosen) / trust)
            for axis in np.eye(2):
                found.append(
                    _Matches(
                        pixels[chosen],
                        moved,
                        np.tile(axis, (len(chosen), 1)),
                        np.full(len(chosen), 1 / sigma),
                    )
                )
        return _Matches.join(found)


def transport(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The symmetric matrix A [2, 2] with A source A = target, for covariances: the shortest way between Gaussians."""
    root = sqrtm(target).real
    return root @ np.linalg.inv(sqrtm(root @ source @ root).real) @ root
