"""The photometric stages as data: which unknowns move, learning rates, steps and weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from nha.tracking.appearance import LINEAR, PUBLISHED
from nha.tracking.settings import EnergyWeights, TrackingSettings
from nha.tracking.state import PER_FRAME, SHARED

# Of albedo coefficients and light in the appearance stage; both start far from their values.
_APPEARANCE_RATE = 0.03


@dataclass(frozen=True)
class Stage:
    """One kind of optimisation of a batch of frames.

    Attributes:
        name: for logs.
        moving: the unknowns that move, with their learning rates.
        n_steps, sub_steps: there are n_steps * sub_steps optimiser steps; visibility and blur are found once for
            sub_steps of them.
        blur_sigma: Gaussian blur of the image in pixels, from the first to the last step, geometrically.
        blur_steps: steps after which the last blur is reached.
        sampling_scale: the head is rasterised at this multiple of the image's size.
        weights: weights of the energy's terms.
        motion: what the position is compared with: the batch's mean ("spread"), the frame before ("previous"), or
            the neighbours in time ("neighbours"; the smoothness term, which includes rotation and expression).
        appearance: the colour model, see `appearance.shade`.
        face_only: compare colours only where the parsing has a face label.
        centred: the principal point stays in the image's centre, as in the fit to landmarks.
    """

    name: str
    moving: Mapping[str, float]
    n_steps: int
    sub_steps: int
    blur_sigma: tuple[float, float]
    blur_steps: int
    sampling_scale: float
    weights: EnergyWeights
    motion: Literal["spread", "previous", "neighbours"]
    appearance: str
    face_only: bool = False
    centred: bool = False


def blur_sigma_at(step: int, n_steps: int, blur_sigma: Sequence[float]) -> float:
    """Blur in pixels at step 0, 1, ...: geometrically from the first to the last sigma in `n_steps` steps.

    Later steps keep the last sigma (the published first frame uses the same short schedule). From 0 on there is no
    geometric way: a first sigma of 0 gives the last one in all steps.
    """
    first, last = blur_sigma
    if first == 0:
        return last
    return first * (last / first) ** (min(step, n_steps - 1) / max(n_steps - 1, 1))


def learning_rates(settings: TrackingSettings, names: Sequence[str]) -> dict[str, float]:
    """The published learning rates of some unknowns, without that of a given focal length."""
    special = {
        "translation": settings.pos_lr,
        "light": settings.light_lr,
        "focal_and_centre": settings.cam_lr,
    }
    fixed = {"focal_and_centre"} if focal_is_given(settings) else set()
    return {name: special.get(name, settings.lr) for name in names if name not in fixed}


def focal_is_given(settings: TrackingSettings) -> bool:
    """Whether the focal length is given and stays fixed."""
    return settings.calibrated or settings.focal is not None


# --- the published, sequential mode ----------------------------------------------------------------------


def first_frame_stage(settings: TrackingSettings) -> Stage:
    """The first frame with all keyframes: everything moves. `docs/method.md`, section 7."""
    return Stage(
        name="first frame and keyframes",
        moving=learning_rates(settings, PER_FRAME + SHARED),
        n_steps=settings.sequential.init_steps,
        sub_steps=settings.sequential.sub_steps,
        blur_sigma=settings.sequential.blur_sigma,
        blur_steps=settings.sequential.steps_per_frame,
        sampling_scale=settings.sequential.sampling_scale,
        weights=replace(settings.weights, w_smooth=0.0),
        motion="spread",
        appearance=appearance_of(settings),
    )


def next_frame_stage(settings: TrackingSettings, *, after_cut: bool) -> Stage:
    """A frame that starts from the frame before: its own unknowns move, for more steps after a cut."""
    n_steps = settings.sequential.init_steps if after_cut else settings.sequential.steps_per_frame
    return replace(
        first_frame_stage(settings),
        name="frame after a cut" if after_cut else "frame",
        moving=learning_rates(settings, PER_FRAME),
        n_steps=n_steps,
        motion="previous",
    )


# --- the batched mode ------------------------------------------------------------------------------------


def appearance_stage(settings: TrackingSettings) -> Stage:
    """The keyframes, already placed by their landmarks: albedo and light move.

    Shape and camera stay as fitted to landmarks: an albedo space of other people does not reproduce a face well
    enough to correct them.
    """
    batched = settings.batched
    n_steps = max(1, round(batched.appearance_steps / batched.refine_sub_steps))
    return Stage(
        name="appearance",
        moving={"texture": _APPEARANCE_RATE, "light": _APPEARANCE_RATE},
        n_steps=n_steps,
        sub_steps=batched.refine_sub_steps,
        blur_sigma=batched.refine_blur_sigma,
        blur_steps=n_steps,
        sampling_scale=batched.refine_sampling_scale,
        # keyframes are far apart in time: their positions are independent
        weights=replace(settings.weights, w_pos_trans=0.0),
        motion="spread",
        appearance=appearance_of(settings),
        face_only=batched.use_parsing,
    )


def refinement_stage(settings: TrackingSettings) -> Stage:
    """A batch of frames when everything shared is known: their own unknowns move, with the smoothness term."""
    batched = settings.batched
    n_steps = -(-batched.refine_steps // batched.refine_sub_steps)
    rate = batched.refine_lr
    return replace(
        appearance_stage(settings),
        name="frames",
        moving={name: rate / 5 if name == "translation" else rate for name in PER_FRAME},
        n_steps=n_steps,
        blur_steps=n_steps,
        motion="neighbours",
    )


def joint_stage(settings: TrackingSettings) -> Stage:
    """Frames from all over the video: what they share moves together with their own unknowns.

    Many views of one albedo constrain the shape better than landmarks do.
    """
    batched, refinement = settings.batched, refinement_stage(settings)
    n_steps = -(-batched.joint_steps // batched.refine_sub_steps)
    shared = {"shape": batched.joint_shape_lr, "light": settings.light_lr}
    if not focal_is_given(settings):
        shared["focal_and_centre"] = batched.refine_lr
    return replace(
        refinement,
        name="joint",
        moving={**refinement.moving, **shared},
        n_steps=n_steps,
        blur_steps=n_steps,
        # the frames are far apart in time: their positions are independent
        weights=replace(refinement.weights, w_smooth=0.0),
        motion="spread",
        centred=True,
    )


def appearance_of(settings: TrackingSettings) -> str:
    """The colour model of a run."""
    if settings.appearance == "auto":
        return PUBLISHED if settings.mode == "sequential" else LINEAR
    return settings.appearance
