import dataclasses

import numpy as np
import torch

from nha.avatar.neutral_frame import neutral_frame
from nha.core.rotations import rotation_matrix
from nha.head.landmark_openings import relative_openings
from tests.evaluation.conftest import make_tracking


def test_weak_expression_closed_mouth_and_gaze_to_the_camera_are_neutral(head):
    tracking = make_tracking(head, (3, 5, 8, 9, 12))
    expr = np.zeros_like(tracking.expr)
    expr[:, 0] = (2.0, 1.0, 0.5, 0.5, 0.5)
    rotation = np.tile(np.float32([0, np.pi, 0]), (5, 1))
    rotation[2, 1] += np.radians(40)  # weak, but the head is turned away
    jaw = np.tile(tracking.jaw_pose[:1], (5, 1))
    jaw[3, 0] += 0.5  # weak, but the mouth is open
    changed = dataclasses.replace(tracking, expr=expr, rotation=rotation, jaw_pose=jaw)
    assert neutral_frame(changed) == 12
    eyes = tracking.eyes_pose.copy()
    eyes[4, 1] += 1.0  # weak, but the gaze is averted
    assert neutral_frame(dataclasses.replace(changed, eyes_pose=eyes)) == 5


def test_lips_that_an_expression_opens_are_not_neutral(head):
    """Two weak expressions with a closed jaw, of which the weaker one opens the lips."""
    rest = head.neutral_params(head.n_expr).replace(expr=torch.eye(head.n_expr))
    opening = relative_openings(head.plain_landmarks(rest, torch.arange(68)))["lip"]
    expr = np.zeros((2, head.n_expr), np.float32)
    expr[0, opening.argmax()], expr[1, opening.argmin()] = 0.9, 1.0
    tracking = make_tracking(head, (3, 5))
    tracking = dataclasses.replace(
        tracking,
        expr=expr,
        rotation=np.tile(np.float32([0, np.pi, 0]), (2, 1)),
        jaw_pose=np.tile(tracking.jaw_pose[:1], (2, 1)),
    )
    assert neutral_frame(tracking) == 3
    assert neutral_frame(tracking, head) == 5


def test_first_of_equal_frames_and_a_rotated_camera(head):
    tracking = make_tracking(head, (2, 4, 6))
    same = dataclasses.replace(
        tracking,
        expr=np.zeros_like(tracking.expr),
        rotation=np.float32([[0, np.pi, 0], [0, np.pi / 2, 0], [0, np.pi, 0]]),
        jaw_pose=np.tile(tracking.jaw_pose[:1], (3, 1)),
    )
    assert neutral_frame(same) == 2
    quarter = rotation_matrix(torch.tensor([0.0, -np.pi / 2, 0.0])).numpy()
    turned = np.concatenate([quarter, np.zeros((3, 1))], 1).astype(np.float32)
    assert neutral_frame(dataclasses.replace(same, RT=turned)) == 4
