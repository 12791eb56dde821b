"""The verdict in words: levels follow the figures, frames that stand out are named, sides are the person's."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from nha.core.types import HeadParams
from nha.evaluation.evidence import Evidence, collect_evidence, head_directions_deg, read_scores
from nha.evaluation.questions import GOOD, QUESTIONS, UNKNOWN, Limits
from nha.evaluation.scores import FrameScores, write_scores
from nha.evaluation.verdict import judge
from nha.render.camera import project
from tests.evaluation.conftest import SIZE, make_tracking

GOOD_SCORES = {
    "covered_psnr": 27.0,
    "mouth_psnr": 25.0,
    "silhouette_iou": 0.97,
    "cpbd": 0.5,
    "true_cpbd": 0.5,
}


def evidence(**changes) -> Evidence:
    """Evidence of a good avatar: 20 training and 5 held-out frames."""
    scores = changes.pop("scores", GOOD_SCORES)
    frames = [FrameScores(i, "train" if i < 20 else "held_out", dict(scores)) for i in range(25)]
    values = {
        "scores": frames,
        "yaw_deg": np.linspace(-40, 40, 20),
        "pitch_deg": np.zeros(20),
        "mouth_opening": np.linspace(0, 0.2, 20),
        "eye_opening": np.linspace(0.05, 0.3, 20),
        "head_height_px": 600.0,
    }
    return Evidence(**values | changes)


def level_of(verdict, name: str) -> str:
    return next(one.level for one in verdict.judgements if one.name == name)


def test_a_good_avatar():
    verdict = judge(evidence())
    assert verdict.level == "good"
    assert {one.level for one in verdict.judgements} == {"good"}
    assert verdict.summary == "The avatar is good."
    assert verdict.advice() == []
    assert verdict.lines()[-1] == "  Which frames hurt? None stands out."


@pytest.mark.parametrize(
    ("changes", "name", "level", "overall"),
    [
        ({"scores": {**GOOD_SCORES, "covered_psnr": 20.0}}, "likeness", "fair", "fair"),
        ({"scores": {**GOOD_SCORES, "mouth_psnr": 12.0}}, "mouth", "poor", "poor"),
        ({"scores": {**GOOD_SCORES, "cpbd": 0.3}}, "sharpness", "poor", "poor"),
        ({"scores": {**GOOD_SCORES, "silhouette_iou": 0.92}}, "outline", "fair", "fair"),
        ({"yaw_deg": np.linspace(-40, 5, 20)}, "right side", "poor", "good"),
        ({"yaw_deg": np.linspace(-20, 40, 20)}, "left side", "fair", "good"),
        ({"mouth_opening": np.full(20, 0.01)}, "open mouth", "poor", "good"),
        ({"eye_opening": np.full(20, 0.3)}, "closed eyes", "poor", "good"),
        ({"head_height_px": 100.0}, "detail", "poor", "good"),
        ({"head_height_px": math.nan}, "detail", "unknown", "good"),
    ],
)  # fmt: skip
def test_levels_follow_the_figures(changes, name, level, overall):
    verdict = judge(evidence(**changes))
    assert level_of(verdict, name) == level
    assert verdict.level == overall
    others = {one.name: one.level for one in verdict.judgements if one.name != name}
    assert set(others.values()) == {"good"}
    question = next(question for question in QUESTIONS if question.name == name)
    if level in ("fair", "poor"):
        assert verdict.advice() == [question.advice]
        assert name in verdict.summary
    json.dumps(verdict.as_dict(), allow_nan=False)


def test_worse_held_out_frames_are_named_as_new_poses():
    found = evidence()
    scores = [
        dataclasses.replace(s, scores={**s.scores, "covered_psnr": 37.0}) if s.part == "train" else s
        for s in found.scores
    ]
    assert level_of(judge(dataclasses.replace(found, scores=scores)), "new poses") == "poor"


@pytest.mark.parametrize("higher", [True, False])
def test_a_level_agrees_with_the_figure_that_is_shown(higher):
    limits = Limits(0.9, 0.8 if higher else 1.0, higher=higher, digits=2)
    sign = 1 if higher else -1
    assert limits.show(0.9 - sign * 0.0004) == "0.90"
    assert limits.level(0.9 - sign * 0.0004) == "good"
    assert limits.level(0.9 - sign * 0.006) == "fair"


def test_limits_say_their_thresholds():
    limits = Limits(4.0, 8.0, "dB", higher=False)
    assert [limits.level(value) for value in (4.0, 6.0, 9.0, math.nan)] == ["good", "fair", "poor", "unknown"]
    assert limits.text == "good up to 4.0 dB, fair up to 8.0 dB"


def test_frames_that_stand_out_are_named_with_the_reason():
    scores = list(evidence().scores)
    scores[7] = FrameScores(7, "train", {**GOOD_SCORES, "covered_psnr": 20.0})
    scores[22] = FrameScores(22, "held_out", {**GOOD_SCORES, "covered_psnr": 25.0})  # within 3 dB
    found = judge(evidence_with(scores, without_face=(30, 31), covered=(40,), untracked=(7, 9)))
    assert found.frames == {
        7: "the landmarks jump, pose taken from the neighbours",
        9: "the landmarks jump, pose taken from the neighbours",
        30: "no face was found, left out",
        31: "no face was found, left out",
        40: "something covers the face, left out",
    }
    assert judge(evidence_with(scores)).frames == {7: "far worse than other training frames"}
    assert "7: far worse than other training frames." in judge(evidence_with(scores)).lines()[-1]


def evidence_with(scores, **changes) -> Evidence:
    return dataclasses.replace(evidence(**changes), scores=scores)


def test_sides_are_those_of_the_person(head):
    """A head whose nose is to the right of the eyes' middle in the image shows its right side."""
    tracking = make_tracking(head, (0, 1, 2))
    turn = np.pi + np.radians([-25, 0, 25])
    nod = np.radians([-20, 20, 0])
    rotation = np.stack([np.zeros(3), turn, np.zeros(3)], 1).astype(np.float32)
    yaw_deg, pitch_deg = head_directions_deg(dataclasses.replace(tracking, rotation=rotation), [0, 1, 2])
    assert np.abs(yaw_deg) == pytest.approx([25, 0, 25], abs=1e-3)
    assert pitch_deg == pytest.approx([0, 0, 0], abs=1e-3)
    for i in (0, 2):
        image_px = landmarks(head, dataclasses.replace(tracking, rotation=rotation), i)
        to_the_right = image_px[30, 0] > image_px[[36, 45], 0].mean()
        assert to_the_right == (yaw_deg[i] > 0)
    nodding = np.stack([nod, np.zeros(3), np.zeros(3)], 1) @ np.diag([1, 1, 1])
    rotation = compose(nodding, np.array([0, np.pi, 0]))
    tracking = dataclasses.replace(tracking, rotation=rotation)
    _, pitch_deg = head_directions_deg(tracking, [0, 1, 2])
    assert np.abs(pitch_deg) == pytest.approx([20, 20, 0], abs=1e-3)
    heights = [landmarks(head, tracking, i) for i in range(3)]
    nose_below_eyes = [points[30, 1] - points[[36, 45], 1].mean() for points in heights]
    assert (nose_below_eyes[0] > nose_below_eyes[2]) == (pitch_deg[0] > 0)
    assert (nose_below_eyes[1] > nose_below_eyes[2]) == (pitch_deg[1] > 0)


def compose(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    return (Rotation.from_rotvec(first) * Rotation.from_rotvec(second)).as_rotvec().astype(np.float32)


def landmarks(head, tracking, row: int) -> np.ndarray:
    """Landmarks [68, 2] in pixels, x right and y down."""
    params: HeadParams = tracking.params_for([row])
    with torch.no_grad():
        points = head.landmarks(head(params))[:, :68]
    return project(points, tracking.camera_for([row], SIZE))[0, :, :2].numpy()


def test_scores_are_read_back(tmp_path):
    scores = [FrameScores(3, "train", {"psnr": 20.5, "eyes_psnr": math.nan})]
    write_scores(tmp_path / "scores.json", scores, {"checkpoint": "a.ckpt"})
    (found,) = read_scores(tmp_path / "scores.json")
    assert (found.frame_id, found.part, found.scores["psnr"]) == (3, "train", 20.5)
    assert math.isnan(found.scores["eyes_psnr"])


def test_an_evaluation_of_held_out_frames_alone_says_nothing_about_training_frames(tiny_dataset, tmp_path):
    tiny, path = tiny_dataset(), tmp_path / "scores.json"
    write_scores(path, [FrameScores(3, "held_out", {"covered_psnr": 24.0})], {})
    found = collect_evidence(tiny.data_path, tiny.tracking_path, path)
    assert [len(found.yaw_deg), len(found.mouth_opening)] == [0, 0]
    assert math.isnan(found.head_height_px)
    levels = {one.name: one.level for one in judge(found).judgements}
    assert levels["likeness"] == GOOD
    assert levels["detail"] == levels["closed eyes"] == levels["right side"] == UNKNOWN
