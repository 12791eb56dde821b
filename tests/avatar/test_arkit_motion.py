"""Motion in ARKit's coefficients: tables of Live Link Face, and poses of an avatar."""

from __future__ import annotations

import csv
import dataclasses
import math

import numpy as np
import pytest
import torch

from nha.avatar.arkit_motion import arkit_pose, arkit_tracking, read_arkit_csv
from nha.core.errors import UserError
from nha.core.rotations import rotation_matrix
from nha.head.arkit_map import ArkitMap
from nha.head.arkit_shapes import ARKIT_NAMES, JAW_OPEN_DEG
from nha.head.joint_limits import jaw_angles
from nha.tracking.exchange.arkit import BLENDSHAPES, write_arkit_csv
from tests.evaluation.conftest import make_tracking


def write_table(path, rows: list[dict[str, float]], frames_per_second: int = 60, names=BLENDSHAPES) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["Timecode", "BlendShapeCount", *names, "HeadYaw", "HeadPitch", "HeadRoll"])
        for i, row in enumerate(rows):
            code = f"10:00:{i // frames_per_second:02d}:{i % frames_per_second:02d}.500"
            values = [row.get(name, 0) for name in (*names, "HeadYaw", "HeadPitch", "HeadRoll")]
            writer.writerow([code, 61, *values])


def test_a_recording_of_a_telephone_drives_a_head(head, tmp_path) -> None:
    rows = [{"JawOpen": i / 200, "HeadYaw": 0.3, "EyeBlinkLeft": 1.0} for i in range(200)]
    write_table(tmp_path / "take.csv", rows)
    recording = read_arkit_csv(tmp_path / "take.csv")
    assert recording.frame_rate == 60
    assert recording.head_rad[:, 0] == pytest.approx(0.3)
    tracking = arkit_tracking(tmp_path / "take.csv", head)
    params = tracking.params_for(tracking.frame)
    opened = np.degrees(jaw_angles(params.jaw)[:, 0].numpy())
    assert opened == pytest.approx(JAW_OPEN_DEG * np.arange(200) / 200, abs=1e-3)
    nose = rotation_matrix(params.rotation)[0] @ torch.tensor([0.0, 0.0, 1.0])
    assert nose.tolist() == pytest.approx(
        [-math.sin(0.3), 0, -math.cos(0.3)], abs=1e-5
    )  # the camera sees +x left
    restored = ArkitMap(head).coefficients(params)
    assert restored[:, ARKIT_NAMES.index("eyeBlinkLeft")].numpy() == pytest.approx(1, abs=0.02)
    assert dict(tracking.origin.head) == dict(head.identity)


def test_a_written_table_is_read_as_the_same_motion(head, tmp_path) -> None:
    table = torch.zeros(3, len(ARKIT_NAMES))
    table[1, ARKIT_NAMES.index("mouthSmileLeft")] = 0.8
    table[2, ARKIT_NAMES.index("jawOpen")] = 0.6
    angles = torch.tensor([[0.0, math.pi, 0.0], [0.1, math.pi - 0.2, 0.1], [-0.1, math.pi, 0.2]])
    params = ArkitMap(head).params(table, head.neutral_params(3)).replace(rotation=angles)
    tracking = dataclasses.replace(
        make_tracking(head, (0, 1, 2)),
        shape=np.zeros(head.n_shape, np.float32),
        expr=params.expr.numpy(),
        rotation=params.rotation.numpy(),
        neck_pose=params.neck.numpy(),
        jaw_pose=params.jaw.numpy(),
        eyes_pose=params.eyes.numpy(),
    )
    write_arkit_csv(tmp_path / "arkit.csv", tracking, head, 25.0)
    again = arkit_tracking(tmp_path / "arkit.csv", head)
    assert np.abs(again.expr - tracking.expr).max() < 0.05
    assert np.abs(again.jaw_pose - tracking.jaw_pose).max() < 1e-3
    turned = [rotation_matrix(torch.from_numpy(t.rotation)) for t in (again, tracking)]
    assert (turned[0] - turned[1]).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lacks the columns eyeBlinkLeft"),
        ("a,b\n1,2\n", "as Live Link Face writes them"),
        (",".join(BLENDSHAPES) + "\n", "holds no frame"),
        (",".join(BLENDSHAPES) + "\n" + ",".join(["x"] * 52) + "\n", "not made of numbers"),
        (",".join(BLENDSHAPES) + "\n" + ",".join(["nan"] * 52) + "\n", "not finite"),
    ],
)
def test_other_tables_are_refused(text, message, tmp_path) -> None:
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_arkit_csv(tmp_path / "table.csv")


def test_a_pose_by_names(head) -> None:
    params = arkit_pose(head, None, {"jawOpen": 1.0, "mouthSmileLeft": 0.5})
    assert math.degrees(jaw_angles(params.jaw)[0, 0]) == pytest.approx(JAW_OPEN_DEG, abs=1e-3)
    assert params.expr.abs().max() > 0.1
    both = arkit_pose(head, torch.ones(head.n_shape), torch.zeros(2, 52))
    assert len(both) == 2
    assert (both.shape == 1).all()
    with pytest.raises(UserError, match="did you mean 'jawOpen'"):
        arkit_pose(head, None, {"jawopen": 1.0})
