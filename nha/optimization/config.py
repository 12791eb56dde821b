"""Settings of `nha train` and `optimize_nha.py`; the published keys and their published defaults."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from nha.avatar.settings import AvatarSettings
from nha.core.common_settings import device_setting, raster_backend_setting
from nha.core.config import Settings, nested, setting
from nha.data.settings import DataSettings

PerStage = tuple[float, float, float]
FixPoints = list[tuple[float, float]]


@dataclass(frozen=True)
class ScheduleSettings(Settings):
    """Timeline and learning rates."""

    epochs_offset: int = setting(
        150, minimum=0, section="Timeline", help="Epochs of the geometry stage.", maximum=1000000
    )
    epochs_texture: int = setting(50, minimum=0, help="Epochs of the texture stage.", maximum=1000000)
    epochs_joint: int = setting(50, minimum=0, help="Epochs of the joint stage.", maximum=1000000)
    schedule_frames: int = setting(
        0,
        minimum=0,
        maximum=1000000,
        help="Number of training frames that the epochs are meant for; with fewer frames there are more epochs and as "
        "many steps, with more frames fewer epochs (by the square root). 0 leaves the epochs as they are.",
    )
    flame_lr: PerStage = setting(
        (1e-3, 1e-2, 2e-4),
        minimum=0,
        section="Learning rates (geometry, texture, joint)",
        help="SGD on the head parameters; the translation has a tenth of it.",
    )
    offset_lr: PerStage = setting((1e-5, 1e-5, 2e-6), minimum=0, help="Adam on the offset network.")
    tex_lr: PerStage = setting(
        (1e-4, 5e-5, 2e-5), minimum=0, help="Adam on the texture networks and feature maps."
    )
    texture_weight_decay: PerStage = setting(
        (1e-4, 1e-4, 5e-6), minimum=0, help="Weight decay of these parameters."
    )
    held_out_steps: int = setting(
        20,
        minimum=0,
        help="Steps that fit pose and exposure of each held-out frame after the training; only with --model blend.",
        maximum=1000000,
    )
    flame_noise: float = setting(
        0.1,
        section="Noise on the conditioning of the texture",
        minimum=0,
        help="Scale of the noise below, which is added while the texture is trained.",
    )
    glob_rot_noise: float = setting(
        5.0, minimum=0, help="Standard deviation of the rotation noise in degrees."
    )

    def for_frames(self, n_frames: int) -> ScheduleSettings:
        """The schedule for a number of training frames, see `schedule_frames`."""
        factor = epoch_factor(self.schedule_frames, n_frames)
        names = ("epochs_offset", "epochs_texture", "epochs_joint")
        return dataclasses.replace(self, **{name: math.ceil(factor * getattr(self, name)) for name in names})


def epoch_factor(schedule_frames: int, n_frames: int) -> float:
    """By how much the epochs change for a number of training frames, see the setting `schedule_frames`.

    Frames beside each other are alike, so a video with four times the frames takes twice the steps, not four times.
    """
    if schedule_frames == 0:
        return 1.0
    ratio = schedule_frames / max(n_frames, 1)
    return max(ratio, math.sqrt(ratio))


@dataclass(frozen=True)
class LossSettings(Settings):
    """Loss weights."""

    w_rgb: PerStage = setting(
        (0, 1, 5e-2), minimum=0, section="Loss weights (per stage)", help="Photometric L1 distance."
    )
    w_perc: PerStage = setting(
        (0, 10, 5e-1), minimum=0, help="Perceptual distance (with --perceptual arcface)."
    )
    w_image: PerStage = setting(
        (0, 0, 0), minimum=0, help="Distance of the whole image on white; needs --model blend."
    )
    w_gradient: PerStage = setting(
        (0, 0, 0), minimum=0, help="Distance of the differences of neighbouring pixels; needs --model blend."
    )
    w_feature: PerStage = setting(
        (0, 0, 0), minimum=0, help="Colours of eyes, brows and mouth; needs --model blend."
    )
    w_cover: PerStage = setting(
        (0, 0, 0), minimum=0, help="Distance of the antialiased coverage and the mask; needs --model blend."
    )
    w_norm: PerStage = setting((2e-2, 2e-2, 2e-2), minimum=0, help="Distance of the normals.")
    w_edge: PerStage = setting((1e1, 1e1, 1e1), minimum=0, help="Length of long edges of the scalp.")
    w_eye_closed: PerStage = setting(
        (1e5, 1e5, 1e5), minimum=0, help="Distance of the eyelids against the height of the parsed eye."
    )
    w_gap: PerStage = setting(
        (0, 0, 0), minimum=0, help="Gaps of lips and eyelids against the landmarks; needs --model blend."
    )
    w_contact: PerStage = setting(
        (0, 0, 0),
        minimum=0,
        help="Difference of the offsets where lips and eyelids meet; needs --model blend.",
    )
    w_stretch: PerStage = setting(
        (0, 0, 0), minimum=0, help="Stretch of the face by the offsets; needs --model blend."
    )
    w_semantic_ear: PerStage = setting((1e-1, 1e-1, 1e-1), minimum=0, help="Ears against the parsing.")
    w_semantic_eye: PerStage = setting((1e-1, 1e-1, 1e-1), minimum=0, help="Eyes against the parsing.")
    w_semantic_mouth: PerStage = setting((1e-1, 1e-1, 1e-1), minimum=0, help="Mouth against the parsing.")
    w_surface_reg: PerStage = setting(
        (1e-4, 1e-4, 1e-4), minimum=0, help="Variation of the offsets between frames."
    )
    w_lmk: PerStage = setting((1e-2, 1e-1, 0), minimum=0, help="Distance of the landmarks.")
    w_shape_reg: PerStage = setting((1e-3, 1e-3, 1e-3), minimum=0, help="Size of the shape correction.")
    w_expr_reg: PerStage = setting((1e-3, 1e-3, 1e-3), minimum=0, help="Size of the expression corrections.")
    w_pose_reg: PerStage = setting(
        (1e-3, 1e-3, 1e-3), minimum=0, help="Size of the neck, jaw and eye corrections."
    )
    w_semantic_hair: FixPoints = setting(
        [(1e-1, 50), (1e-2, 100)],
        section="Loss weights ([value, epoch] fix points over the whole run)",
        help="Hair and skin against the parsing, linear between fix points.",
        minimum=0,
        min_items=1,
    )
    w_silh: FixPoints = setting(
        [(1e-2, 50), (1e-1, 100)], help="Silhouette, linear between fix points.", minimum=0, min_items=1
    )
    w_lap: FixPoints = setting(
        [(5e-2, 50), (5e-2, 100)], help="Laplacian, geometric between fix points.", minimum=0, min_items=1
    )
    body_part_weights: Path | None = setting(
        None,
        section="Loss options",
        help="Part weights of the Laplacian term; none takes configs/body_part_weights.json.",
    )
    perceptual: Literal["auto", "none", "arcface"] = setting(
        "auto",
        main=True,
        help="Feature network of the perceptual term: auto is arcface where its weights are found, else none; none "
        "turns the term off.",
    )
    arcface_weights: Path = setting(
        Path("assets/arcface/backbone.pth"), help="Weights of the ArcFace network (iResNet-18)."
    )


@dataclass(frozen=True)
class RunSettings(Settings):
    """Output and machine."""

    default_root_dir: Path = setting(
        option="out",
        section="Output and machine",
        main=True,
        help="Output folder.",
        aliases=("output", "out_path"),
    )
    head: str = setting(
        "auto",
        main=True,
        help="Head model: auto (FLAME if its files are in assets/flame), flame, procedural or a folder.",
    )
    checkpoint_file: Path | None = setting(
        None,
        option="avatar",
        help="Avatar (ours or published) to start from; none starts from scratch.",
    )
    resume: bool = setting(True, help="Continue an interrupted run in the output folder.")
    device: str = device_setting()
    devices: int = setting(
        1,
        minimum=1,
        help="Devices (processes on a CPU) per machine; each one gets train_batch_size frames.",
        maximum=1024,
    )
    num_nodes: int = setting(1, minimum=1, help="Machines; each one has --devices devices.", maximum=4096)
    strategy: Literal[
        "auto", "ddp", "ddp_find_unused_parameters_true", "ddp_find_unused_parameters_false"
    ] = setting(
        "auto",
        help="Lightning's strategy for several devices; auto is distributed data parallel.",
    )
    raster_backend: str = raster_backend_setting()
    precision: Literal["highest", "high", "medium"] = setting(
        "highest",
        help="Precision of float32 matrix products, see torch.set_float32_matmul_precision; high (TF32) and medium "
        "(bfloat16) are faster on some devices and change the results.",
    )
    compile: bool = setting(
        False,
        help="Compile the texture network with torch.compile: faster steps, but a minute or more at each start; on a "
        "CPU this needs a C++ compiler.",
    )
    cuda_graphs: bool = setting(
        True,
        help="Record whole training steps as CUDA graphs where one CUDA device is used: faster, with more memory.",
    )
    fused_networks: bool = setting(
        False,
        help="Evaluate the networks of the published model with fused kernels, on CUDA with --precision high or "
        "medium; not yet measured on a GPU.",
    )
    pixels_per_image: int = setting(
        0,
        minimum=0,
        help="Number of random pixels of each frame that the texture network evaluates in the texture and joint stage; "
        "0 evaluates all. Faster, but not possible with the perceptual term.",
    )
    seed: int = setting(0, minimum=0, help="Seed of initial weights, frame order and noise.")
    image_log_period: int = setting(20, minimum=1, help="Epochs between images in TensorBoard.")
    checkpoint_period: int = setting(
        5, minimum=1, help="Epochs between training checkpoints, from which an interrupted run continues."
    )
    held_out_period: int = setting(
        1, minimum=1, help="Epochs between fits of the held-out frames' poses (geometry and joint stage)."
    )


@dataclass(frozen=True)
class OptimizationSettings(Settings):
    """All settings of a training run."""

    run: RunSettings = nested(RunSettings)
    data: DataSettings = nested(DataSettings)
    schedule: ScheduleSettings = nested(ScheduleSettings)
    losses: LossSettings = nested(LossSettings)
    avatar: AvatarSettings = nested(AvatarSettings)

    IGNORED: ClassVar = {
        **DataSettings.IGNORED,
        "gpus": "the device is chosen with --device",
        "distributed_backend": "the strategy is chosen with --strategy",
        "accelerator": "the device is chosen with --device",
        "num_sanity_val_steps": "there is no sanity check",
        "semantics_blur": "the blur of each semantic term is fixed by the method",
        "texture_n_hidden_dynamic": "the texture network has one layer that takes normals",
    }
