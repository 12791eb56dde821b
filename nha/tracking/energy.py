"""The tracker's energy: every residual and every weight, defined once for both kinds of stages.

`docs/method.md`, section 7. N frames; landmarks are 68 iBUG points, then two iris points in the mesh's order.
The weights w are `EnergyWeights`, w0 their defaults.

The **photometric stages** (`photometric_fit.py`, Adam) minimise the published energy, with residuals r_k of the priors,
landmark distances d_l, confidences c_l and the photometric distance P:

    E = w_lmk mean_n mean_l c_l |d_l|_1 + w_eyes_lmk (the same of the irises) + w_photo P
        + sum_k w_k mean_n |r_k|^2 + w_pos_trans |step|^2 + w_smooth mean_n s_n |r_smooth|^2

The **landmark stages** (`landmark_fit.py`, Levenberg-Marquardt) use no image. They use the same residuals and
weights in a negative log posterior, in which a term counts by its standard deviation:

    E = sum_n sum_l (w_lmk / w0_lmk) c_l huber(|d_l| / sigma_px)
        + 1/2 sum_n (sum_k (w_k / w0_k) |r_k / sigma_k|^2 + (w_smooth / w0_smooth) |r_smooth / sigma_smooth|^2)

The two differ in three points. (1) Scale: the published weights balance the priors against P, which is a mean over
pixels. Without P, priors of that strength would let the face follow the noise of the landmarks. `landmark_sigma` is
therefore the standard deviation of a residual at w = w0; a changed weight scales it, and so changes both kinds of
stages. (2) Robustness: the published landmark distance is an L1 norm, which has no second derivative; Huber's
function is quadratic below and linear above three standard deviations. (3) Closeness: s_n reduces the smoothness
of frames whose neighbours are far away in time; the landmark stages smooth all frames alike and hold a frame
without two close neighbours at its value. Residuals that are not linear in the unknowns (rotations) enter the
landmark stages linearised at the rest pose.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nha.core.conventions import N_FACE_LANDMARKS, N_LANDMARKS
from nha.core.rotations import rotation_matrix
from nha.tracking.settings import EnergyWeights
from nha.tracking.state import Unknowns

FACE, IRISES = slice(0, N_FACE_LANDMARKS), slice(N_FACE_LANDMARKS, N_LANDMARKS)
JOINTS = ("neck", "jaw", "eyes")
RestPose = Mapping[str, Tensor]  # by the names of JOINTS: the raw parameters at rest, [3], [3] and [6]


def relative_weight(weights: EnergyWeights, term: str) -> float:
    """w / w0: the weight of a term over its default."""
    return getattr(weights, f"w_{term}") / getattr(EnergyWeights(), f"w_{term}")


def weighted_sum(terms: Mapping[str, Tensor], weights: EnergyWeights) -> Tensor:
    """The energy: each term times the weight `w_<name>`."""
    return sum(getattr(weights, f"w_{name}") * term for name, term in terms.items())


# --- priors ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prior:
    """A term w |r|²: the sum over the residual's components, and for [N, R] the mean over frames.

    Attributes:
        name: `w_<name>` is its weight.
        residual: function of the unknowns and the rest pose that returns [N, R], or [R] of shared unknowns.
        landmark_sigma: standard deviation of the residual in the landmark stages at the default weight; None:
            the term's unknowns do not move there.
    """

    name: str
    residual: Callable[[Unknowns, RestPose], Tensor]
    landmark_sigma: float | None

    def value(self, unknowns: Unknowns, rest: RestPose) -> Tensor:
        """The unweighted term, a scalar."""
        return self.residual(unknowns, rest).square().sum(-1).mean()


def rotation_residual(parameters: Tensor, rest: Tensor) -> Tensor:
    """R(parameters) - R(rest), flattened: [N, 3 J] and [3 J] to [N, 9 J].

    The rotations are those of the *raw* parameters, not of the angles behind the joint limits, as published.
    Near rest the residual's length is sqrt(2) times the angle between both rotations in radians.
    """
    now = rotation_matrix(parameters.unflatten(1, (-1, 3)))
    return (now - rotation_matrix(rest.unflatten(0, (-1, 3)))).flatten(1)


def _joint_prior(joint: str, sigma_rad: float) -> Prior:
    return Prior(
        f"pos_{joint}",
        lambda u, rest: rotation_residual(getattr(u, joint), rest[joint]),
        landmark_sigma=math.sqrt(2) * sigma_rad,
    )


FRAME_PRIORS = (
    Prior("expr_reg", lambda u, rest: u.expr, landmark_sigma=1.0),
    Prior("eyes_sym", lambda u, rest: u.eyes[:, 3:] - u.eyes[:, :3], landmark_sigma=1 / 15),
    _joint_prior("neck", sigma_rad=1 / 20),
    _joint_prior("jaw", sigma_rad=1 / 1.5),
    _joint_prior("eyes", sigma_rad=1 / 3),
)
SHARED_PRIORS = (
    Prior("shape_reg", lambda u, rest: u.shape, landmark_sigma=0.5),
    Prior("tex_reg", lambda u, rest: u.texture, landmark_sigma=None),
)


# --- landmarks -------------------------------------------------------------------------------------------


def landmark_residuals(landmarks: Tensor, target: Tensor, confidence: Tensor) -> Tensor:
    """Landmark minus detected position, 0 where nothing was detected: [N, L, 2], in the unit of the inputs.

    Args:
        landmarks: [N, L, 2].
        target: [N, L, 2], may hold anything where the confidence is 0.
        confidence: [N, L] in 0..1.
    """
    return landmarks - torch.where(confidence[..., None] > 0, target, landmarks.detach())


def landmark_distance(
    landmarks_px: Tensor, target_px: Tensor, confidence: Tensor, image_size: tuple[int, int]
) -> Tensor:
    """L1 distance in units in which the image is 2 x 2, times confidence, over the count of all points.

    Points of confidence 0 still count in the mean. Shapes as in `landmark_residuals`; image_size: (H, W).
    """
    height, width = image_size
    half_size = landmarks_px.new_tensor([width / 2, height / 2])
    distance = (landmark_residuals(landmarks_px, target_px, confidence).abs() / half_size).sum(-1)
    return (distance * confidence).sum() / confidence.numel()


def relative_landmark_weights(weights: EnergyWeights) -> Tensor:
    """w / w0 of each landmark in the landmark stages: float64 [70]."""
    relative = torch.empty(N_LANDMARKS, dtype=torch.float64)
    relative[FACE] = relative_weight(weights, "lmk")
    relative[IRISES] = relative_weight(weights, "eyes_lmk")
    return relative


def geometric_terms(
    unknowns: Unknowns,
    landmarks_px: Tensor,
    target_px: Tensor,
    confidence: Tensor,
    image_size: tuple[int, int],
    rest: RestPose,
) -> dict[str, Tensor]:
    """The unweighted landmark and prior terms of N frames.

    Args:
        unknowns: of N frames.
        landmarks_px: [N, 70, 2], projected.
        target_px: [N, 70, 2], detected.
        confidence: [N, 70] in 0..1.
        image_size: (height, width).
        rest: the rest pose.

    Returns:
        lmk, eyes_lmk and the names of `FRAME_PRIORS` and `SHARED_PRIORS`, each a scalar.
    """
    terms = {
        name: landmark_distance(landmarks_px[:, some], target_px[:, some], confidence[:, some], image_size)
        for name, some in (("lmk", FACE), ("eyes_lmk", IRISES))
    }
    return terms | {prior.name: prior.value(unknowns, rest) for prior in (*FRAME_PRIORS, *SHARED_PRIORS)}


# --- motion ----------------------------------------------------------------------------------------------


def translation_step(translation: Tensor, previous: Tensor | None) -> Tensor:
    """Term `pos_trans`: how far the head moves, squared metres.

    Args:
        translation: [N, 3].
        previous: [3] of the frame before, mean over frames; None compares the frames with their mean, summed:
            the published first frame and its keyframes.
    """
    if previous is None:
        return (translation - translation.mean(0, keepdim=True)).square().sum()
    return (translation - previous).square().sum(1).mean()


# For each unknown, in its own unit (metres, radians, raw): the deviation from the neighbours that counts as 1 in the
# term, and the standard deviation of that deviation in the landmark stages at the default weight.
_SMOOTHNESS_SCALES = {
    "rotation": (0.02, 1 / 30),
    "translation": (0.004, 1 / 150),
    "expr": (0.5, 1 / 1.5),
    "jaw": (0.2, 1 / 4),
    "neck": (0.1, 1 / 10),
    "eyes": (0.5, 1 / 2),
}


def smoothness_residual(unknowns: Unknowns, line: Unknowns, *, by_landmark_sigma: bool = False) -> Tensor:
    """How far N frames lie from the values on the line between their neighbours in time: [N, R].

    by_landmark_sigma: in standard deviations of the landmark stages instead of the term's units.
    """
    return torch.cat(
        [
            (getattr(unknowns, name) - getattr(line, name)) / scales[by_landmark_sigma]
            for name, scales in _SMOOTHNESS_SCALES.items()
        ],
        1,
    )


def smoothness(
    unknowns: Unknowns, before: Unknowns, after: Unknowns, position: Tensor, closeness: Tensor
) -> Tensor:
    """Term `smooth`: squared deviation from the line between both neighbours in time, mean over frames.

    Ours; only the batched mode has it.

    Args:
        unknowns: N frames in the order of time.
        before: the one frame before them.
        after: the one frame after them.
        position: [N] where in time a frame lies between its neighbours, 0..1.
        closeness: [N] weight s of each frame, 0..1.
    """
    names = _SMOOTHNESS_SCALES
    values = {
        name: torch.cat([getattr(before, name), getattr(unknowns, name), getattr(after, name)])
        for name in names
    }
    part = position[:, None]
    line = unknowns.replace(
        **{name: values[name][:-2] * (1 - part) + values[name][2:] * part for name in names}
    )
    return (smoothness_residual(unknowns, line).square().sum(1) * closeness).mean()
