"""The questions of a verdict: which figure answers each, and its thresholds.

The thresholds are for images of 160 to 512 pixels; where they come from is in `docs/decisions.md`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nha.evaluation.evidence import Evidence
from nha.evaluation.scores import FrameScores, means

GOOD, FAIR, POOR, UNKNOWN = "good", "fair", "poor", "unknown"


@dataclass(frozen=True)
class Limits:
    """From which values on a figure is good or fair.

    Attributes:
        good, fair: thresholds.
        unit: of the figure.
        higher: whether higher figures are better.
        digits: decimals that are shown.
    """

    good: float
    fair: float
    unit: str = ""
    higher: bool = True
    digits: int = 1

    def level(self, value: float) -> str:
        """Good, fair, poor, or unknown for NaN; of the value as it is shown, so that both agree."""
        if math.isnan(value):
            return UNKNOWN
        value = round(value, self.digits)
        sign = 1 if self.higher else -1
        if sign * value >= sign * self.good:
            return GOOD
        return FAIR if sign * value >= sign * self.fair else POOR

    def show(self, value: float) -> str:
        """The value with its unit."""
        return "-" if math.isnan(value) else f"{value:.{self.digits}f} {self.unit}".strip()

    @property
    def text(self) -> str:
        """The thresholds in words."""
        word = "from" if self.higher else "up to"
        return f"good {word} {self.show(self.good)}, fair {word} {self.show(self.fair)}"


@dataclass(frozen=True)
class Question:
    """A question about the avatar.

    Attributes:
        name: short, for JSON.
        text: the question.
        answers: sentences for good, fair and poor.
        advice: what to do where it is not good.
        limits: thresholds of the figure.
        figure: takes it from the evidence.
        about: what the figure is.
    """

    name: str
    text: str
    answers: tuple[str, str, str]
    advice: str
    limits: Limits
    figure: Callable[[Evidence], float]
    about: str


def _score(metric: str) -> Callable[[Evidence], float]:
    """The mean of a score over held-out frames; over training frames where none are held out."""
    return lambda evidence: _mean(evidence.scores, metric)


def _mean(scores: Sequence[FrameScores], metric: str, part: str | None = None) -> float:
    by_part = means(scores)
    chosen = by_part.get(part or "held_out") if part or "held_out" in by_part else by_part.get("train")
    return float((chosen or {}).get(metric, math.nan))


def _sharpness(evidence: Evidence) -> float:
    """Of all frames: held-out ones alone may have sharp errors."""
    frames = [frame.scores for frame in evidence.scores if frame.scores.get("true_cpbd", math.nan) > 0]
    if not frames:
        return math.nan
    return float(np.nanmean([s["cpbd"] for s in frames]) / np.mean([s["true_cpbd"] for s in frames]))


def _loss_when_unseen(evidence: Evidence) -> float:
    return _mean(evidence.scores, "covered_psnr", "train") - _mean(
        evidence.scores, "covered_psnr", "held_out"
    )


def _turned(sign: int) -> Callable[[Evidence], float]:
    """The largest angle to one side; the second largest where there are many frames, because one may be wrong."""
    return lambda evidence: _large(sign * evidence.yaw_deg)


def _large(values: np.ndarray) -> float:
    return float(np.quantile(values, 0.98)) if len(values) else math.nan


def _closed_eyes(evidence: Evidence) -> float:
    """The smallest opening of the eyes as a share of the usual one."""
    opening = evidence.eye_opening
    return float(opening.min() / max(np.median(opening), 1e-6)) if len(opening) else math.nan


_RECORD_SIDES = "Record a video in which the head turns slowly to both sides, by 30 degrees or more."
_RECORD_MOUTH = "Record some seconds of speech with a wide open mouth."

QUESTIONS: tuple[Question, ...] = (
    Question(
        "likeness",
        "Does it look like the person?",
        (
            "Yes, also in poses that training did not show.",
            "The person is recognisable, with errors.",
            "No: look at tracking.mp4.",
        ),
        "Check dataset.mp4 and tracking.mp4; use more frames, or --quality best.",
        Limits(23.0, 19.0, "dB"),
        _score("covered_psnr"),
        "PSNR of held-out frames where the avatar covers the head",
    ),
    Question(
        "sharpness",
        "Sharp enough?",
        ("As sharp as its video.", "Softer than its video.", "Blurred."),
        "Use --quality best; look in tracking.mp4 whether the mesh stays on the face.",
        Limits(0.9, 0.7, digits=2),
        _sharpness,
        "sharpness (CPBD) of the renderings over that of the video",
    ),
    Question(
        "detail",
        "Does the video show enough detail?",
        ("The head is large.", "The head is of medium size.", "The head is small."),
        "Record closer, or at a higher resolution: the head should be 512 pixels high.",
        Limits(400, 200, "pixels", digits=0),
        lambda evidence: evidence.head_height_px,
        "height of the head in the video",
    ),
    Question(
        "outline",
        "Is the outline right?",
        ("Yes.", "Nearly: parts of hair, ears or neck are missing.", "No: look at tracking.mp4."),
        "Prefer a plain background, and hair that lies close to the head.",
        Limits(0.95, 0.9, digits=3),
        _score("silhouette_iou"),
        "overlap of rendered and true silhouettes in held-out frames",
    ),
    Question(
        "mouth",
        "The mouth?",
        ("It follows the video.", "It moves, but teeth and lips are soft.", "It is wrong in many frames."),
        _RECORD_MOUTH,
        Limits(22.0, 18.0, "dB"),
        _score("mouth_psnr"),
        "PSNR of the mouth in held-out frames",
    ),
    Question(
        "open mouth",
        "Was the inside of the mouth seen?",
        ("Yes.", "Only in part.", "No: a wide open mouth is invented."),
        _RECORD_MOUTH,
        Limits(0.12, 0.05, "face heights", digits=2),
        lambda evidence: _large(evidence.mouth_opening),
        "largest gap between the lips in training frames",
    ),
    Question(
        "closed eyes",
        "Were closed eyes seen?",
        ("Yes.", "Half closed.", "No: closed lids are invented."),
        "Let training frames show closed eyes (more frames, a smaller --every).",
        Limits(0.45, 0.65, "of the usual opening", higher=False, digits=2),
        _closed_eyes,
        "smallest opening of the eyes in training frames",
    ),
    Question(
        "right side",
        "Was the person's right side seen?",
        ("Yes.", "Only in part.", "Hardly: it is invented."),
        _RECORD_SIDES,
        Limits(30.0, 15.0, "degrees", digits=0),
        _turned(1),
        "largest turn that shows it in training frames",
    ),
    Question(
        "left side",
        "Was the person's left side seen?",
        ("Yes.", "Only in part.", "Hardly: it is invented."),
        _RECORD_SIDES,
        Limits(30.0, 15.0, "degrees", digits=0),
        _turned(-1),
        "largest turn that shows it in training frames",
    ),
    Question(
        "new poses",
        "Does it hold in poses that training did not show?",
        ("Yes.", "With some loss.", "No: they look worse by far."),
        "Let training show more poses: turn, nod and tilt the head in the first four fifths of the video.",
        Limits(4.0, 8.0, "dB", higher=False),
        _loss_when_unseen,
        "loss of PSNR from training to held-out frames",
    ),
)
DECIDE = ("likeness", "sharpness", "outline", "mouth")
"""The questions that decide the verdict as a whole; the others are about the video and its frames."""
