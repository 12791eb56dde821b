"""Settings of `nha track` and `optimize_tracking.py`: the published keys, and those of the batched mode."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from nha.core.common_settings import device_setting, raster_backend_setting
from nha.core.config import Settings, nested, setting
from nha.core.errors import UserError


@dataclass(frozen=True)
class EnergyWeights(Settings):
    """Weights of the energy's terms."""

    # Defaults in code are defined only here: `energy.py` uses them for the landmark and for the photometric stages.

    w_lmk: float = setting(5.0, minimum=0, help="Weight of the 68 face landmarks.")
    w_eyes_lmk: float = setting(2.0, minimum=0, help="Weight of the two iris landmarks.")
    w_eyes_sym: float = setting(
        10.0, minimum=0, help="Weight of the difference between the rotations of both eyes."
    )
    w_photo: float = setting(30.0, minimum=0, help="Weight of the photometric term.")
    w_expr_reg: float = setting(1e-3, minimum=0, help="Weight of the squared expression coefficients.")
    w_shape_reg: float = setting(1e-3, minimum=0, help="Weight of the squared identity coefficients.")
    w_tex_reg: float = setting(1e-3, minimum=0, help="Weight of the squared albedo coefficients.")
    w_pos_glob: float = setting(1e-2, minimum=0, help="Accepted without effect, as in the published tracker.")
    w_pos_neck: float = setting(
        1e-2, minimum=0, help="Weight of the neck's squared deviation from its rest pose."
    )
    w_pos_jaw: float = setting(
        1e-4, minimum=0, help="Weight of the jaw's squared deviation from its rest pose."
    )
    w_pos_eyes: float = setting(
        1e-4, minimum=0, help="Weight of the eyes' squared deviation from their rest pose."
    )
    w_pos_trans: float = setting(
        10.0,
        minimum=0,
        help="Sequential mode: weight of the squared change of position between frames (metres).",
    )
    w_smooth: float = setting(
        0.3,
        minimum=0,
        help="Batched mode: weight of the squared deviation from the line between the two neighbouring "
        "frames.",
    )


@dataclass(frozen=True)
class SequentialSettings(Settings):
    """Sequential mode (as published)."""

    init_steps: int = setting(
        400, minimum=0, help="Steps of the first frame with its keyframes, and after a cut.", maximum=1000000
    )
    steps_per_frame: int = setting(10, minimum=0, help="Steps of every other frame.", maximum=1000000)
    sub_steps: int = setting(
        5,
        minimum=1,
        help="Optimiser steps per step; visibility is computed once for all of them.",
        maximum=10000,
    )
    blur_sigma: tuple[float, float] = setting(
        (10.0, 1e-4),
        help="Gaussian blur of the image in pixels, from the first to the last step of a frame.",
        minimum=0,
        maximum=1000,
    )
    sampling_scale: float = setting(
        4.0, minimum=1e-3, help="The head is rendered at this multiple of the image size.", maximum=16
    )
    cutframes: list[int] = setting([], help="Ids of frames after a cut; they get init_steps.", minimum=0)


@dataclass(frozen=True)
class BatchedSettings(Settings):
    """Batched mode."""

    batch_size: int = setting(16, minimum=1, help="Number of frames that are refined together.", maximum=4096)
    n_keyframes: int = setting(
        16, minimum=1, help="Number of keyframes to choose if none are given.", maximum=100000
    )
    appearance_steps: int = setting(
        40, minimum=0, help="Optimiser steps of albedo and light on the keyframes.", maximum=1000000
    )
    joint_steps: int = setting(
        20,
        minimum=0,
        help="Joint optimisation of shape, camera and light on frames spread over the video: optimiser "
        "steps; 0: none.",
        maximum=1000000,
    )
    joint_frames: int = setting(
        32, minimum=1, help="Number of frames in that joint optimisation.", maximum=100000
    )
    joint_shape_lr: float = setting(
        0.005, minimum=0, help="Learning rate of the shape in the joint optimisation."
    )
    refine_steps: int = setting(
        20, minimum=0, help="Optimiser steps of each batch of frames; 0: landmarks only.", maximum=1000000
    )
    refine_sub_steps: int = setting(
        5, minimum=1, help="Optimiser steps for which visibility is computed once.", maximum=10000
    )
    refine_blur_sigma: tuple[float, float] = setting(
        (2.0, 1e-4),
        help="Gaussian blur of the image in pixels, from the first to the last step.",
        minimum=0,
        maximum=1000,
    )
    refine_sampling_scale: float = setting(
        0.5, minimum=1e-3, help="The head is rendered at this multiple of the image size.", maximum=16
    )
    refine_lr: float = setting(0.0005, minimum=0, help="Learning rate of the refinement.")
    landmark_sigma: float = setting(
        0.01,
        minimum=1e-9,
        help="Standard deviation of a landmark, as a fraction of the face height, in the landmark stages.",
        maximum=1000,
    )
    distance_sigma: float = setting(
        0.003,
        minimum=1e-9,
        help="Smallest standard deviation of the distance between two landmarks that shows an expression, in the same "
        "unit; the noise in frames next to each other is used if it is larger.",
        maximum=1000,
    )
    use_parsing: bool = setting(
        True,
        help="Compare colours only on skin, brows, nose, eyes and lips of the parsing, if there is one.",
    )


@dataclass(frozen=True)
class OutlineSettings(Settings):
    """Outline of the head (batched mode)."""

    outline_rounds: int = setting(
        6,
        minimum=0,
        maximum=50,
        help="How often mesh and parsing are matched anew in the keyframes' fit; 0: the parsing does not decide "
        "shape and pose.",
    )
    outline_frame_rounds: int = setting(
        3, minimum=0, maximum=50, help="How often they are matched anew in the fit of each frame."
    )
    outline_sigma: float = setting(
        0.015,
        minimum=1e-6,
        maximum=1,
        help="Standard deviation of a point of the outline, as a fraction of the face height.",
    )
    ear_sigma: float = setting(
        0.012,
        minimum=1e-6,
        maximum=1,
        help="Standard deviation of a parsed ear's position and size, as a fraction of the face height.",
    )
    hair_thickness_mm: float = setting(
        12.0, minimum=0, maximum=200, help="Usual distance of the hair's outline from the scalp."
    )
    hair_sigma_mm: float = setting(
        10.0, minimum=1e-3, maximum=1000, help="Standard deviation of that distance."
    )
    outline_shape_sigma: float = setting(
        0.8,
        minimum=1e-3,
        maximum=100,
        help="Standard deviation of the identity coefficients in the fit to outlines.",
    )
    outline_neck_deg: float = setting(
        6.0, minimum=1e-3, maximum=180, help="Standard deviation of the neck's angle in the fit to outlines."
    )
    profile_yaw_deg: float = setting(
        40.0,
        minimum=0,
        maximum=180,
        help="Yaw beyond which landmarks become inexact; parsed ears do so 10 degrees earlier.",
    )
    profile_fall_deg: float = setting(
        10.0,
        minimum=1e-3,
        maximum=180,
        help="Degrees beyond that yaw at which the variance of a landmark is four times as large.",
    )


@dataclass(frozen=True)
class TrackingSettings(Settings):
    """Settings of the tracker."""

    data_path: Path = setting(
        option="dataset",
        section="Dataset and output",
        main=True,
        help="Dataset folder, as written by `nha preprocess`.",
    )
    output_path: Path = setting(
        option="out",
        main=True,
        help="Output folder: tracked_flame_params.npz, tracking.mp4, tracking_report.json.",
        aliases=("tracking",),
    )
    downscale_factor: float = setting(
        1.0, minimum=1, help="Track images that are smaller by this factor.", maximum=64
    )

    head: str = setting(
        "auto", section="Head model", main=True, help="Head model: auto, flame, procedural or a folder."
    )
    n_shape: int = setting(300, minimum=1, help="Identity coefficients to fit.", maximum=1000)
    n_expr: int = setting(100, minimum=1, help="Expression coefficients to fit.", maximum=1000)
    n_tex: int = setting(100, minimum=1, help="Albedo coefficients to fit.", maximum=1000)
    tex_res: int = setting(512, minimum=1, help="Resolution of the albedo space's file.", maximum=4096)

    mode: Literal["batched", "sequential"] = setting(
        "batched",
        section="Run",
        main=True,
        help="batched: all frames in parallel; sequential: frame after frame, as published.",
    )
    device: str = device_setting()
    raster_backend: str = raster_backend_setting()
    appearance: Literal["auto", "published", "linear"] = setting(
        "auto", help="Colour model; auto takes published in the sequential mode, else linear."
    )
    keyframes: list[int] = setting(
        [],
        help="Ids of frames that determine shape, albedo, light and camera (sequential: with the first "
        "frame).",
        minimum=0,
    )
    calibrated: bool = setting(False, help="Keep the focal length fixed at the value of --focal.")
    focal: float | None = setting(
        None,
        minimum=1e-3,
        help="Focal length in units of the image's longer side; none: estimated.",
        maximum=1000,
    )
    ignore_lower_neck: bool = setting(True, help="Exclude the lower neck from the photometric term.")
    resume: bool = setting(
        True,
        help="Continue an interrupted run in the output folder; false replaces what is there.",
    )
    save_period: int = setting(
        1, minimum=1, help="Number of frames (batches in the batched mode) between saves."
    )
    load_tracked_flame_params: Path | None = setting(
        None, help="Tracking file to continue from, instead of the one in output_path."
    )
    frame_rate: float = setting(
        25.0, option="fps", minimum=1e-3, maximum=1000, help="Frames per second of tracking.mp4."
    )
    video: bool = setting(True, help="Write tracking.mp4.")

    lr: float = setting(
        0.005,
        minimum=0,
        section="Optimiser",
        help="Learning rate of all unknowns that have no other one.",
    )
    pos_lr: float = setting(0.001, minimum=0, help="Learning rate of the position.")
    light_lr: float = setting(0.005, minimum=0, help="Learning rate of the light.")
    cam_lr: float = setting(0.005, minimum=0, help="Learning rate of the camera.")

    weights: EnergyWeights = nested(EnergyWeights)
    sequential: SequentialSettings = nested(SequentialSettings)
    batched: BatchedSettings = nested(BatchedSettings)
    outline: OutlineSettings = nested(OutlineSettings)

    IGNORED: ClassVar = {
        "img_log_freq": "images go into tracking.mp4",
        "energy_log_freq": "energies are logged to TensorBoard at every step",
    }

    def check(self) -> None:
        """Raise UserError for numbers out of range, and for a calibrated camera without a focal length."""
        super().check()
        if self.calibrated and self.focal is None:
            raise UserError("calibrated = true needs the focal length; pass --focal F (in longer sides)")
