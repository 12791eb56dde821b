"""Opens the target and the driving person of a reenactment, and checks that they fit each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from nha.avatar.arkit_motion import arkit_tracking, is_arkit_table
from nha.avatar.matching import tracking_for_avatar, tracking_for_head
from nha.avatar.neutral_frame import neutral_frame
from nha.avatar.open import load_avatar
from nha.avatar.training_record import record_of
from nha.core.errors import UserError
from nha.core.system import get_logger
from nha.core.types import Camera
from nha.data.messages import some_of
from nha.data.tracking_file import TrackingResult, read_tracking
from nha.data.video_io import video_info
from nha.head.identity import describe_head, same_head
from nha.head.model import HeadModel
from nha.reenactment.files import DrivingPerson
from nha.reenactment.transfer import Actor

_logger = get_logger(__name__)


@dataclass(frozen=True)
class TrackedPerson:
    """A person with the tracking of the person's video."""

    actor: Actor
    tracking: TrackingResult

    def camera(self, frame_ids: list[int]) -> Camera:
        """Cameras of N frames at the tracked image size."""
        return self.tracking.camera_for(frame_ids, self.tracking.image_size)


@dataclass(frozen=True)
class NeutralFrame:
    """The neutral frame of a person.

    Attributes:
        given: frame id from the settings; None selects one.
        key: name of that setting, for messages.
        who: the person's name, for messages.
    """

    given: int | None
    key: str
    who: str

    def check(self, tracking: TrackingResult) -> None:
        """Raise UserError where the given frame was not tracked."""
        if self.given is not None and tracking.missing_frames([self.given]):
            raise UserError(
                f"--{self.key} {self.given} was not tracked; choose one of the frames "
                f"{some_of(tracking.frame.tolist())}"
            )

    def of(self, tracking: TrackingResult, head: HeadModel) -> int:
        """The given frame, or a selected one, which is logged; head: the head model that was tracked."""
        if self.given is not None:
            return self.given
        selected = neutral_frame(tracking, head)
        _logger.info(
            "neutral frame of %s: %d (selected; set another with --%s)", self.who, selected, self.key
        )
        return selected


def open_person(
    checkpoint: Path, tracking: TrackingResult, neutral: NeutralFrame, head: str | None, device: torch.device
) -> TrackedPerson:
    """Open a person who has an avatar.

    Args:
        checkpoint: the avatar's file.
        tracking: of the video that the avatar was trained on, or of another video of the same person.
        neutral: the neutral frame.
        head: head model; None takes the one in the checkpoint.
        device: where the avatar is rendered.
    """
    avatar = load_avatar(checkpoint, head, device)
    tracking = tracking_for_avatar(
        tracking, avatar.head, record_of(avatar), f"the tracking file of {checkpoint}"
    )
    frame = neutral.of(tracking, avatar.head)
    return TrackedPerson(Actor(avatar, tracking.params_for([frame]).to(device), frame), tracking)


def open_driving_person(
    person: DrivingPerson,
    tracking: TrackingResult,
    neutral: NeutralFrame,
    target: TrackedPerson,
    head: str | None,
    device: torch.device,
) -> TrackedPerson:
    """Open a driving person; an avatar, if there is one, must have the target's head model."""
    target_head = target.actor.avatar.head
    if person.checkpoint is not None:
        driving = open_person(person.checkpoint, tracking, neutral, head, device)
        _check_same_head(target_head, driving.actor.avatar.head)
        return driving
    tracking = tracking_for_head(tracking, target_head, person.tracking)
    frame = neutral.of(tracking, target_head)
    return TrackedPerson(Actor(None, tracking.params_for([frame]).to(device), frame), tracking)


def read_driving_tracking(person: DrivingPerson, target_checkpoint: Path, head: str | None) -> TrackingResult:
    """Read a driving person's tracking file, and check that the video, if given, can be read.

    Args:
        person: the driving person; its tracking may be a table of ARKit coefficients (.csv).
        target_checkpoint: the avatar whose head model such a table is converted to.
        head: the target's head model; None takes the one in its checkpoint.
    """
    if person.tracking is None:
        raise UserError(f"'{person.video}' is not tracked yet; give --driving_tracking_results too")
    if person.video is not None:
        video_info(person.video)  # raises UserError for an unreadable file
    if is_arkit_table(person.tracking):
        return arkit_tracking(person.tracking, load_avatar(target_checkpoint, head).head)
    return read_tracking(person.tracking, camera_needed=False)


def _check_same_head(target: HeadModel, driving: HeadModel) -> None:
    if not same_head(target.identity, driving.identity):
        raise UserError(
            f"the target avatar has the head model {describe_head(target.identity)}, the driving avatar "
            f"{describe_head(driving.identity)}: their expression coefficients are not comparable; train both with the "
            "same --head"
        )
