"""The mesh of all surfaces of the subject, and its vertices in each frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch

from nha.core.alignment import align
from nha.core.mesh import vertex_normals
from nha.core.rotations import rotation_matrix
from nha.core.types import HeadParams
from nha.head import joint_limits
from nha.head.assets import HeadAssets
from nha.head.model import HeadModel
from nha.synthetic.anatomy import Anatomy, landmarks_of, measure_face
from nha.synthetic.body import build_teeth, build_tongue, build_torso, is_under_clothes
from nha.synthetic.hair import build_hair
from nha.synthetic.subject import Subject

# Parts of the head model whose labels are interpolated, in this order.
LABELLED_PARTS = ("nose", "left_ear", "right_ear", "neck", "left_eye_region", "right_eye_region")
_NOT_UNDER_HAIR = ("left_ear", "right_ear", "left_eyeball", "right_eyeball", "mouth")
_TORSO_FOLLOWS_BODY = 0.35  # the shoulders' share of the body's turn


class Surface(IntEnum):
    """The surface that a face belongs to."""

    SKIN = 0
    LEFT_EYE = 1
    RIGHT_EYE = 2
    TEETH = 3
    TONGUE = 4
    HAIR = 5
    CLOTH = 6


@dataclass(frozen=True)
class PosedScene:
    """Vertices of one frame in world coordinates.

    Attributes:
        vertices: float32 [V, 3] metres.
        normals: float32 [V, 3] unit vectors.
        tangents: float32 [V, 3] along hair strands, 0 elsewhere.
    """

    vertices: np.ndarray
    normals: np.ndarray
    tangents: np.ndarray


class Scene:
    """The mesh of a subject: the head model's surface, then teeth, tongue, torso and hair.

    Args:
        assets: the head model.
        subject: colours and features.
        shape: [S] identity coefficients.

    Attributes:
        faces: [F, 3].
        surface: [F] `Surface`.
        coords: [V, 3] coordinates for materials: template positions in face frame mm for skin and eyes, strands for
            hair; for the others see `body`.
        parts: [V, 6] membership in `LABELLED_PARTS`.
        tip: [V], 0 at the root and 1 at the end of hair.
        joints: [5, 3] rest positions of the joints, metres.
    """

    def __init__(self, assets: HeadAssets, subject: Subject, shape: np.ndarray):
        self.assets, self.subject = assets, subject
        self.head = HeadModel(
            assets, subdivisions=0, close_mouth=True, drop_lower_neck=False, blur_sigma=None
        )
        self.anatomy: Anatomy = measure_face(assets)
        frame = self.anatomy.frame
        self.rest = assets.template_vertices + np.einsum(
            "vck,k->vc", assets.shape_directions.astype(np.float64), shape.astype(np.float64)
        )
        rest_mm = frame.to_mm(self.rest)
        marks = landmarks_of(assets, rest_mm)
        self.joints = assets.joint_regressor.astype(np.float64) @ self.rest  # [5, 3] metres
        middle = 0.5 * (marks[62] + marks[66])

        hair = build_hair(subject.hair, rest_mm[self._outer_skin(assets)], subject.seed)
        teeth = [build_teeth(middle, upper=True), build_teeth(middle, upper=False)]
        tongue, torso = build_tongue(middle), build_torso()
        head_faces, head_surface = self._head_faces(
            assets, subject, is_under_clothes(rest_mm - frame.to_mm(self.joints[0]))
        )
        added = [
            (teeth[0], Surface.TEETH),
            (teeth[1], Surface.TEETH),
            (tongue, Surface.TONGUE),
            (torso, Surface.CLOTH),
        ]
        counts = [len(self.rest), *(len(piece.vertices) for piece, _ in added), len(hair.vertices)]
        starts = np.cumsum([0, *counts])
        all_faces = [*(piece.faces for piece, _ in added), hair.faces]
        self.faces = np.concatenate(
            [head_faces, *(f + s for f, s in zip(all_faces, starts[1:], strict=False))]
        )
        surfaces = [*(surface for _, surface in added), Surface.HAIR]
        self.surface = np.concatenate(
            [head_surface, *(np.full(len(f), s, np.int8) for f, s in zip(all_faces, surfaces, strict=True))]
        )
        self.coords = np.concatenate(
            [
                frame.to_mm(assets.template_vertices.astype(np.float64)),
                *(p.coords for p, _ in added),
                hair.strand,
            ]
        ).astype(np.float32)
        n_other = sum(counts[1:])
        labels = [np.isin(np.arange(len(self.rest)), assets.parts[name]) for name in LABELLED_PARTS]
        self.parts = np.pad(np.stack(labels, -1).astype(np.float32), ((0, n_other), (0, 0)))
        self.tip = np.concatenate([np.zeros(sum(counts[:-1])), hair.tip]).astype(np.float32)
        self._upper_teeth, self._lower_teeth, self._tongue = (
            frame.to_metres(piece.vertices) for piece in (*teeth, tongue)
        )
        self._torso = torso.vertices / frame.mm_per_metre
        self._hair = frame.to_metres(hair.vertices)
        self._hair_tangents = hair.tangents
        self.scalp = assets.parts["scalp"]

    @staticmethod
    def _outer_skin(assets: HeadAssets) -> np.ndarray:
        used = np.zeros(len(assets.template_vertices), bool)
        for name in ("scalp", "face", "forehead", "neck"):
            used[assets.parts[name]] = True
        for name in _NOT_UNDER_HAIR:
            used[assets.parts[name]] = False
        return used

    @staticmethod
    def _head_faces(
        assets: HeadAssets, subject: Subject, under_clothes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The head's faces with an open mouth, and their surfaces, without those hidden by hair or clothes."""
        labels = {
            name: np.isin(np.arange(len(assets.template_vertices)), ids) for name, ids in assets.parts.items()
        }
        faces = assets.open.faces
        surface = np.full(len(faces), Surface.SKIN, np.int8)
        surface[labels["left_eyeball"][faces].all(1)] = Surface.LEFT_EYE
        surface[labels["right_eyeball"][faces].all(1)] = Surface.RIGHT_EYE
        hidden = under_clothes[faces].all(1)
        if subject.hair.covers_ears:
            ears = labels["left_ear"] | labels["right_ear"]
            hidden |= ears[faces].all(1)
        return faces[~hidden], surface[~hidden]

    def head_vertices(self, params: HeadParams) -> np.ndarray:
        """The head model's vertices, float32 [N, V, 3] in the order of its files, world metres."""
        with torch.no_grad():
            return self.head(params).numpy()

    def pose(self, params: HeadParams, head_vertices: np.ndarray) -> PosedScene:
        """Pose all surfaces for one frame.

        Args:
            params: the parameters of this frame (N = 1).
            head_vertices: [V, 3], the result of `head_vertices` for them.
        """
        motion = align(self.rest[self.scalp], head_vertices[self.scalp].astype(np.float64))
        rotation, shift = motion.rotation.T, motion.translation
        with torch.no_grad():
            jaw = rotation_matrix(joint_limits.jaw_angles(params.jaw))[0].double().numpy()

        def with_head(points: np.ndarray) -> np.ndarray:
            return points @ rotation.T + shift

        def with_jaw(points: np.ndarray) -> np.ndarray:
            return with_head((points - self.joints[2]) @ jaw.T + self.joints[2])

        torso = self._torso @ self._torso_rotation(params).T + params.translation[0].double().numpy()
        vertices = np.concatenate(
            [
                head_vertices,
                with_head(self._upper_teeth),
                with_jaw(self._lower_teeth),
                with_jaw(self._tongue),
                torso,
                with_head(self._hair),
            ]
        )
        tangents = np.zeros(vertices.shape, np.float32)
        tangents[len(vertices) - len(self._hair) :] = self._hair_tangents @ rotation.T
        vertices = vertices.astype(np.float32)
        normals = vertex_normals(torch.from_numpy(vertices)[None], torch.from_numpy(self.faces), eps=1e-12)
        return PosedScene(vertices, normals[0].numpy(), tangents)

    @staticmethod
    def _torso_rotation(params: HeadParams) -> np.ndarray:
        facing = rotation_matrix(torch.tensor([0.0, math.pi, 0.0])).double().numpy()
        turned = facing.T @ rotation_matrix(params.rotation)[0].double().numpy()
        yaw = math.atan2(turned[0, 2], turned[2, 2]) * _TORSO_FOLLOWS_BODY
        return facing @ rotation_matrix(torch.tensor([0.0, yaw, 0.0])).double().numpy()
