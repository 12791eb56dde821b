"""A linear map between ARKit's 52 coefficients and a head model's parameters. `docs/method.md`, section 9.

jawOpen and the eyeLook shapes are angles of the jaw and of the eyes. Every other shape is a direction of expression
coefficients: the one that moves points of the face as `nha.head.arkit_shapes` says and the others as little as possible
(a regularised least-squares fit), scaled so that the points reach their places at 1. It is fitted to the head model's
own directions, so there is one for the procedural head and for any FLAME.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import lsq_linear
from torch import Tensor

from nha.core.conventions import EYE_CLOSURE_PAIRS, N_FACE_LANDMARKS, OUTER_EYE_CORNERS
from nha.core.types import HeadParams
from nha.head.arkit_shapes import (
    ARKIT_NAMES,
    EXPRESSION_SHAPES,
    EXTRA_POINTS,
    JAW_OPEN_DEG,
    LOOK_DEG,
    Point,
    Shape,
    mirrored_point,
)
from nha.head.joint_limits import (
    EYES_LIMITS_DEG,
    JAW_LIMITS_DEG,
    eyes_angles,
    jaw_angles,
    params_from_angles,
)
from nha.head.model import HeadModel

_HOLD_WEIGHT = 0.1  # of points that a shape does not name, against 1 of those that it moves
_SURFACE_WEIGHT = 1.0  # of the whole surface's root mean square movement
_COEFFICIENT_WEIGHT = (
    0.01  # of a coefficient of 1, against a movement by the distance of the eyes' outer corners
)
_LARGEST_SCALE = 3.0  # a direction that must be enlarged more does not express its shape
_SMALLEST_SHARE = 0.1  # of the wanted movement; directions that reach less than this are left out
_PREFERENCE = 1e-3  # penalty of ARKit coefficients, which decides between shapes that move the points alike
_SIDE_COLUMN_PITCH_YAW = {"Left": (0, 1), "Right": (3, 4)}
_LIDS = {"right": EYE_CLOSURE_PAIRS[:2], "left": EYE_CLOSURE_PAIRS[2:]}


class ArkitMap:
    """The map of a head model.

    Attributes:
        expression: [E, 52], expression coefficients of each shape at 1; zero for shapes that they do not express.
    """

    def __init__(self, head: HeadModel, shape: Tensor | None = None) -> None:
        """Fit the map.

        Args:
            head: the head model.
            shape: [S] identity coefficients of the person whose lids shall close at eyeBlink = 1; None: the template's.
        """
        self._points: dict[Point, int] = {}
        self._rest, self._directions = self._point_tables(head, shape)
        first, second = OUTER_EYE_CORNERS
        self._unit_m = float(np.linalg.norm(self._rest[first] - self._rest[second]))
        self._directions = self._directions / self._unit_m
        self._surface_penalty = _root_mean_square(head) / self._unit_m
        columns = np.zeros((head.n_expr, len(ARKIT_NAMES)))
        for name, movement in EXPRESSION_SHAPES.items():
            columns[:, ARKIT_NAMES.index(name)] = self._fit(movement)
        self.expression = torch.from_numpy(columns).to(head.template)
        self._expressed = np.abs(columns).max(0) > 0
        basis = self._directions.reshape(-1, head.n_expr)
        orthogonal, triangular = np.linalg.qr(basis @ columns[:, self._expressed])
        self._reduced, self._triangular = orthogonal.T @ basis, triangular

    # --- fitting --------------------------------------------------------------------------------------------

    def _point_tables(self, head: HeadModel, shape: Tensor | None) -> tuple[np.ndarray, np.ndarray]:
        """Positions [P, 3] in metres and expression directions [P, 3, E] of the points; fills their positions."""
        template = head.template[head.kept_vertices]
        directions = head.directions[head.kept_vertices]
        if shape is not None:
            template = template + torch.tensordot(directions[..., : head.n_shape], shape.to(template), 1)
        rest = head.landmarks(template[None])[0, :N_FACE_LANDMARKS].double().cpu().numpy()
        corners, shares = head.landmark_corners[:N_FACE_LANDMARKS], head.landmark_barycentric
        moved = directions[..., head.n_shape :][corners]  # [68, 3 corners, 3, E]
        moves = torch.einsum("lkce,lk->lce", moved, shares[:N_FACE_LANDMARKS]).double().cpu().numpy()
        self._points = {i: i for i in range(N_FACE_LANDMARKS)}
        names, vertices = [], []
        for stem, landmarks in EXTRA_POINTS.items():
            mirrored = tuple(mirrored_point(i) for i in landmarks)
            for side, ids in (("left", landmarks), ("right", mirrored)):
                names.append(f"{stem}_{side}")
                vertices.append(_in_front(template, rest[list(ids)].mean(0)))
        for name in names:
            self._points[name] = len(self._points)
        extra = directions[vertices][..., head.n_shape :].double().cpu().numpy()
        return (
            np.concatenate([rest, template[vertices].double().cpu().numpy()]),
            np.concatenate([moves, extra]),
        )

    def _fit(self, movement: Shape) -> np.ndarray:
        """The expression coefficients [E] of a shape at 1."""
        wanted, named = self._wanted(movement)
        weights = np.where(named, 1.0, _HOLD_WEIGHT)[:, None]
        n_expr = self._directions.shape[2]
        matrix = (weights[..., None] * self._directions).reshape(-1, n_expr)
        penalty = np.concatenate(
            [_SURFACE_WEIGHT * self._surface_penalty, _COEFFICIENT_WEIGHT * np.eye(n_expr)]
        )
        target = np.concatenate([(weights * wanted).reshape(-1), np.zeros(2 * n_expr)])
        direction = np.linalg.lstsq(np.concatenate([matrix, penalty]), target, rcond=None)[0]
        reached = _share(self._directions @ direction, wanted, movement)
        if reached < _SMALLEST_SHARE:
            return np.zeros(n_expr)
        return direction * min(1 / reached, _LARGEST_SCALE)

    def _wanted(self, movement: Shape) -> tuple[np.ndarray, np.ndarray]:
        """The points' movements [P, 3] in units of the eyes' distance, and which points the shape names [P]."""
        wanted, named = np.zeros_like(self._rest), np.zeros(len(self._rest), bool)
        for points, vector in movement.moves:
            rows = [self._points[point] for point in points]
            wanted[rows], named[rows] = vector, True
        for side, (upper_share, lower_share) in (movement.lids or {}).items():
            for upper, lower in _LIDS[side]:
                opening = (self._rest[upper] - self._rest[lower]) / self._unit_m
                wanted[upper], wanted[lower] = -upper_share * opening, lower_share * opening
                named[[upper, lower]] = True
        return wanted, named

    # --- the map --------------------------------------------------------------------------------------------

    def params(self, coefficients: Tensor, neutral: HeadParams) -> HeadParams:
        """Head parameters of ARKit coefficients.

        Args:
            coefficients: [N, 52] in 0..1, in the order of ARKIT_NAMES.
            neutral: [1] or [N], whose shape, rotation, translation and neck are taken, and to whose expression the
                coefficients add.

        Returns:
            [N] parameters; jaw and eyes have the angles of the coefficients alone.
        """
        n = len(coefficients)
        values = dict(zip(ARKIT_NAMES, coefficients.unbind(1), strict=True))
        jaw_deg, eyes_deg = coefficients.new_zeros(n, 3), coefficients.new_zeros(n, 6)
        jaw_deg[:, 0] = JAW_OPEN_DEG * values["jawOpen"]
        for side, (pitch, yaw) in _SIDE_COLUMN_PITCH_YAW.items():
            outwards = 1 if side == "Left" else -1
            down = values[f"eyeLookDown{side}"] - values[f"eyeLookUp{side}"]
            out = values[f"eyeLookOut{side}"] - values[f"eyeLookIn{side}"]
            eyes_deg[:, pitch], eyes_deg[:, yaw] = LOOK_DEG * down, LOOK_DEG * outwards * out
        kept = {name: value.expand(n, -1) for name, value in vars(neutral).items()}
        return HeadParams(**kept).replace(
            expr=neutral.expr + coefficients @ self.expression.T.to(coefficients),
            jaw=params_from_angles(torch.deg2rad(jaw_deg), JAW_LIMITS_DEG),
            eyes=params_from_angles(torch.deg2rad(eyes_deg), EYES_LIMITS_DEG),
        )

    def coefficients(self, params: HeadParams) -> Tensor:
        """ARKit coefficients [N, 52] in 0..1 of N heads, the inverse of `params`.

        Angles are exact. The others are those in 0..1 whose expression moves the points of the face most nearly as the
        head's expression does (bounded least squares).
        """
        values = dict.fromkeys(ARKIT_NAMES, np.zeros(len(params)))
        values["jawOpen"] = np.degrees(jaw_angles(params.jaw)[:, 0].double().cpu().numpy()) / JAW_OPEN_DEG
        eyes = np.degrees(eyes_angles(params.eyes).double().cpu().numpy()) / LOOK_DEG
        for side, (pitch, yaw) in _SIDE_COLUMN_PITCH_YAW.items():
            outwards = eyes[:, yaw] * (1 if side == "Left" else -1)
            values[f"eyeLookDown{side}"], values[f"eyeLookUp{side}"] = eyes[:, pitch], -eyes[:, pitch]
            values[f"eyeLookOut{side}"], values[f"eyeLookIn{side}"] = outwards, -outwards
        table = np.stack([values[name] for name in ARKIT_NAMES], 1)
        table[:, self._expressed] = self._expression_coefficients(params.expr.double().cpu().numpy())
        return torch.from_numpy(table.clip(0, 1)).to(params.expr)

    def _expression_coefficients(self, expr: np.ndarray) -> np.ndarray:
        size = self._triangular.shape[1]
        matrix = np.concatenate([self._triangular, _PREFERENCE * np.eye(size)])
        rows = [np.concatenate([moved, np.zeros(size)]) for moved in expr @ self._reduced.T]
        solved = [lsq_linear(matrix, row, bounds=(0, 1), method="bvls").x for row in rows]
        return np.array(solved).reshape(len(expr), size)


def _share(moved: np.ndarray, wanted: np.ndarray, movement: Shape) -> float:
    """Which share of the wanted movements [P, 3] is made; of shapes of the lids, of the change of their distance."""
    if movement.lids:
        upper, lower = (
            list(ids) for ids in zip(*(p for side in movement.lids for p in _LIDS[side]), strict=True)
        )
        moved, wanted = moved[upper] - moved[lower], wanted[upper] - wanted[lower]
    return float((moved * wanted).sum() / (wanted * wanted).sum())


def _root_mean_square(head: HeadModel) -> np.ndarray:
    """A matrix [E, E] whose product with coefficients has the surface's root mean square movement as its length."""
    rows = head.directions[head.kept_vertices][..., head.n_shape :].reshape(-1, head.n_expr).double()
    values, vectors = torch.linalg.eigh(rows.T @ rows / head.n_vertices)
    return (vectors * values.clamp_min(0).sqrt()).T.cpu().numpy()


def _in_front(vertices: Tensor, place: np.ndarray) -> int:
    """The foremost vertex near a place, seen from the front."""
    distance = (vertices[:, :2] - torch.from_numpy(place[:2]).to(vertices)).norm(dim=1)
    near = distance <= 1.5 * distance[vertices[:, 2] > float(place[2]) - 0.02].min()
    return int(torch.where(near, vertices[:, 2], -torch.inf).argmax())
