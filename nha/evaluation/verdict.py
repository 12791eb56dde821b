"""A verdict on an avatar in words, each with the figure and the thresholds behind it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nha.data.messages import some_of
from nha.evaluation.evidence import Evidence
from nha.evaluation.questions import DECIDE, FAIR, GOOD, POOR, QUESTIONS, UNKNOWN, Question
from nha.evaluation.scores import FrameScores

_WORST_FIRST = (POOR, FAIR, GOOD)

# A frame hurts if its score is this far below the median of its part: in dB, and in robust standard deviations.
HURTS_DB, HURTS_DEVIATIONS = 3.0, 3.0
_PER_DEVIATION = 1.4826  # of a normal distribution, over the median absolute deviation


@dataclass(frozen=True)
class Judgement:
    """The answer to a question: level, sentence, figure and thresholds as text, and advice where it is not good."""

    name: str
    question: str
    level: str
    answer: str
    value: float | None
    figure: str
    thresholds: str
    advice: str


@dataclass(frozen=True)
class Verdict:
    """The verdict on an avatar.

    Attributes:
        level: good, fair or poor: the worst of the questions that decide.
        summary: one or two sentences.
        judgements: one for each question.
        frames: ids of frames that hurt, and why.
    """

    level: str
    summary: str
    judgements: Sequence[Judgement]
    frames: dict[int, str]

    def as_dict(self) -> dict[str, Any]:
        """The content for JSON."""
        return asdict(self)

    def advice(self) -> list[str]:
        """What to do, each sentence once."""
        return list(dict.fromkeys(one.advice for one in self.judgements if one.advice))

    def lines(self) -> list[str]:
        """The verdict as text for a terminal."""
        lines = [self.summary]
        for one in self.judgements:
            lines.append(f"  {one.question} {one.answer} ({one.figure}; {one.thresholds})")
        return [*lines, f"  Which frames hurt? {self.about_frames()}"]

    def about_frames(self) -> str:
        """The frames that hurt, by reason."""
        if not self.frames:
            return "None stands out."
        reasons: dict[str, list[int]] = {}
        for frame_id, reason in self.frames.items():
            reasons.setdefault(reason, []).append(frame_id)
        return "; ".join(f"{some_of(ids)}: {reason}" for reason, ids in reasons.items()) + "."


def judge(evidence: Evidence) -> Verdict:
    """The verdict on an avatar."""
    judgements = [_answer(question, evidence) for question in QUESTIONS]
    decisive = {one.level for one in judgements if one.name in DECIDE}
    level = next((level for level in _WORST_FIRST if level in decisive), UNKNOWN)
    return Verdict(level, _summary(level, judgements), judgements, frames_that_hurt(evidence))


def _answer(question: Question, evidence: Evidence) -> Judgement:
    value, limits = question.figure(evidence), question.limits
    level = limits.level(value)
    known = level != UNKNOWN
    return Judgement(
        name=question.name,
        question=question.text,
        level=level,
        answer=question.answers[(GOOD, FAIR, POOR).index(level)] if known else "Not measured.",
        value=round(value, 4) if known else None,
        figure=f"{question.about}: {limits.show(value)}",
        thresholds=limits.text,
        advice=question.advice if level in (FAIR, POOR) else "",
    )


def _summary(level: str, judgements: Sequence[Judgement]) -> str:
    first = {
        GOOD: "The avatar is good.",
        FAIR: "The avatar is usable, with visible errors.",
        POOR: "The avatar is poor.",
        UNKNOWN: "The avatar could not be judged.",
    }[level]
    weak = [one.name for one in judgements if one.level == POOR] or [
        one.name for one in judgements if one.level == FAIR
    ]
    return f"{first} Weakest: {', '.join(weak)}." if weak else first


def frames_that_hurt(evidence: Evidence) -> dict[int, str]:
    """Frames that stand out, by id, each with its reason."""
    found: dict[int, str] = {}
    for ids, reason in (
        (evidence.without_face, "no face was found, left out"),
        (evidence.covered, "something covers the face, left out"),
        (evidence.untracked, "the landmarks jump, pose taken from the neighbours"),
    ):
        for frame_id in ids:
            found.setdefault(int(frame_id), reason)
    for part, name in (("train", "training"), ("held_out", "held-out")):
        for frame_id in _outliers([frame for frame in evidence.scores if frame.part == part]):
            found.setdefault(frame_id, f"far worse than other {name} frames")
    return dict(sorted(found.items()))


def _outliers(scores: Sequence[FrameScores]) -> list[int]:
    """Frames whose PSNR of the covered head is far below the median."""
    if len(scores) < 5:
        return []
    values = np.array([frame.scores.get("covered_psnr", math.nan) for frame in scores])
    if not np.isfinite(values).any():
        return []
    median = np.nanmedian(values)
    spread = _PER_DEVIATION * np.nanmedian(np.abs(values - median))
    limit = median - max(HURTS_DB, HURTS_DEVIATIONS * spread)
    return [frame.frame_id for frame, value in zip(scores, values, strict=True) if value < limit]
