"""Joints, skinning weights and pose correctives."""

from __future__ import annotations

import numpy as np

from nha.head.procedural.patches import MOUTH_HALF_STEPS
from nha.head.procedural.sculpt import smooth_step
from nha.head.procedural.template import Template, eye_centre

JOINT_PARENTS = (-1, 0, 1, 1, 1)  # root, neck, jaw, left eye, right eye
_JOINTS_MM = {"root": (0.0, -150.0, -58.0), "neck": (0.0, -107.0, -36.0), "jaw": (0.0, -22.0, -14.0)}


def neighbour_mean(values: np.ndarray, faces: np.ndarray, count: int) -> np.ndarray:
    """The mean of the values [V, C] at each vertex's neighbours."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = np.unique(np.sort(edges, axis=1), axis=0)
    total, degree = np.zeros((count, values.shape[1])), np.zeros(count)
    for a, b in ((0, 1), (1, 0)):
        np.add.at(total, edges[:, a], values[edges[:, b]])
        np.add.at(degree, edges[:, a], 1.0)
    return total / np.maximum(degree, 1.0)[:, None]


def lower_lip_share(template: Template) -> np.ndarray:
    """Weights [10, 40] on the mouth's rings: 0 on the upper lip, 1 on the lower, smooth at the corners."""
    angle = np.pi * np.arange(2 * MOUTH_HALF_STEPS) / MOUTH_HALF_STEPS
    cos = np.cos(angle)
    share = 0.5 - 0.5 * np.sign(cos) * np.abs(cos) ** 0.75  # gives the open mouth rounded corners
    return np.tile(share, (len(template.skin.mouth_rings), 1))


def jaw_weights(template: Template) -> np.ndarray:
    """Skinning weights [V] of the jaw: 1 on chin and lower lip, 0 above the lip line and on the neck."""
    x, y, z = template.vertices.T
    line = -14.0 - 25.0 * np.clip((z + 14.0) / 74.0, -0.3, 1.2)
    to_mouth = np.linalg.norm(np.stack([np.abs(x) - 12.0, y + 39.0, z - 62.0], -1), axis=1)
    width = 3.0 + 14.0 * np.clip((to_mouth - 18.0) / 45.0, 0, 1)
    weight = smooth_step(line - y, -width, width) * smooth_step(z, -30.0, 24.0)
    weight *= smooth_step(y, -126.0, -80.0)
    weight[template.n_skin :] = 0.0
    rings = template.skin.mouth_rings
    share = lower_lip_share(template)
    weight[rings[1:]] = share[1:]
    fixed = np.zeros(len(weight), bool)
    fixed[rings[3:]] = True
    for _ in range(6):
        mean = neighbour_mean(weight[:, None], template.faces, len(weight))[:, 0]
        weight = np.where(fixed, weight, 0.5 * (weight + mean))
    weight[template.n_skin :] = 0.0
    return weight


def skinning_weights(template: Template) -> np.ndarray:
    """Weights [V, 5] for root, neck, jaw, left eye, right eye; rows sum to 1."""
    y = template.vertices[:, 1]
    weights = np.zeros((len(y), 5))
    jaw = jaw_weights(template)
    root = smooth_step(-y, 88.0, 165.0) * (1.0 - jaw)
    weights[:, 0], weights[:, 1], weights[:, 2] = root, (1.0 - root - jaw).clip(0.0), jaw
    for joint, side in ((3, "left"), (4, "right")):
        weights[template.eyeball(side)] = np.eye(5)[joint]
    return weights


def joint_regressor(template: Template) -> np.ndarray:
    """The matrix [5, V] from vertices to joints: non-negative, symmetric in x, rows sum to 1."""
    points = template.vertices
    rows = np.zeros((5, len(points)))
    for joint, name in enumerate(("root", "neck", "jaw")):
        target = np.array(_JOINTS_MM[name])
        if name == "jaw":
            distance = np.linalg.norm(
                np.stack(
                    [np.abs(points[:, 0]) - 66.0, points[:, 1] - target[1], points[:, 2] - target[2]], -1
                ),
                axis=1,
            )
            chosen = np.flatnonzero((distance < 26.0) & (np.arange(len(points)) < template.n_skin))
            chosen = np.setdiff1d(
                chosen, np.concatenate([template.ear_rings(s)[1:].ravel() for s in ("left", "right")])
            )
        else:
            height = np.abs(points[:, 1] - target[1])
            chosen = np.flatnonzero(
                (height < 16.0) & (np.arange(len(points)) < template.n_skin) & (points[:, 2] < 60)
            )
        rows[joint, chosen] = _weights_to_reach(points[chosen], target)
    rows[3, template.eyeball("left")] = 1.0 / template.n_eyeball
    rows[4, template.eyeball("right")] = 1.0 / template.n_eyeball
    return rows


def _weights_to_reach(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The positive weights [M] with sum 1 and mean `target` [3] of maximal entropy (exponential tilting)."""
    centred = (points - target) / 50.0
    tilt = np.zeros(3)
    for _ in range(60):
        weights = np.exp(centred @ tilt)
        weights /= weights.sum()
        mean = weights @ centred
        spread = (centred * weights[:, None]).T @ centred - np.outer(mean, mean)
        tilt -= np.linalg.solve(spread + 1e-10 * np.eye(3), mean)
    return weights


def pose_directions(template: Template, blink: dict[str, np.ndarray]) -> np.ndarray:
    """Pose correctives [V, 3, 36] in mm per unit of the pose feature (four rotations minus identity, row-major).

    The upper lid follows the eye when it looks up or down, and the nape bulges when the neck bends back.

    Args:
        template: the neutral head.
        blink: the displacement [V, 3] in mm that closes the lids, for each side.
    """
    directions = np.zeros((len(template.vertices), 3, 36))
    for joint, side in ((3, "left"), (4, "right")):
        # Entry (2, 1) of a rotation about +x by t is sin t; looking down is t > 0.
        directions[:, :, 9 * (joint - 1) + 7] += 0.9 * blink[side]
    nape = template.vertices - np.array([0.0, -70.0, -88.0])
    bump = np.clip(1.0 - (nape / np.array([40.0, 30.0, 30.0])) ** 2 @ np.ones(3), 0.0, None) ** 2
    directions[:, 2, 7] += 6.0 * bump
    return directions


def joints_mm(template: Template) -> np.ndarray:
    """The neutral joints [5, 3] in sculpting coordinates."""
    fixed = [np.array(_JOINTS_MM[name]) for name in ("root", "neck", "jaw")]
    return np.stack([*fixed, eye_centre("left"), eye_centre("right")])
