"""Settings of an optimisation run; the published keys and their published defaults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from nha.avatar.settings import AvatarSettings
from nha.core.config import nested, setting
from nha.data.settings import DataSettings

PerStage = tuple[float, float, float]
FixPoints = list[tuple[float, float]]


@dataclass(frozen=True)
class ScheduleSettings:
    """Timeline and learning rates."""

    epochs_offset: int = setting(150, section="Timeline", help="Epochs of the geometry stage.")
    epochs_texture: int = setting(50, help="Epochs of the texture stage.")
    epochs_joint: int = setting(50, help="Epochs of the joint stage.")
    flame_lr: PerStage = setting(
        (1e-3, 1e-2, 2e-4),
        section="Learning rates (geometry, texture, joint)",
        help="SGD on the head parameters; the translation takes a tenth of it.",
    )
    offset_lr: PerStage = setting((1e-5, 1e-5, 2e-6), help="Adam on the offset network.")
    tex_lr: PerStage = setting((1e-4, 5e-5, 2e-5), help="Adam on the texture networks and feature maps.")
    texture_weight_decay: PerStage = setting((1e-4, 1e-4, 5e-6), help="Weight decay of the same.")
    flame_noise: float = setting(
        0.1,
        section="Noise on the texture's condition",
        help="Share of the noise below that is added while the texture is trained.",
    )
    glob_rot_noise: float = setting(5.0, help="Standard deviation of the rotation noise in degrees.")


@dataclass(frozen=True)
class LossSettings:
    """Loss weights."""

    w_rgb: PerStage = setting((0, 1, 5e-2), section="Loss weights (per stage)", help="Photometric L1.")
    w_perc: PerStage = setting((0, 10, 5e-1), help="Perceptual distance (needs --perceptual arcface).")
    w_norm: PerStage = setting((2e-2, 2e-2, 2e-2), help="Normals.")
    w_edge: PerStage = setting((1e1, 1e1, 1e1), help="Over-long edges of the scalp.")
    w_eye_closed: PerStage = setting((1e5, 1e5, 1e5), help="Lid distance against the parsed eye's height.")
    w_semantic_ear: PerStage = setting((1e-1, 1e-1, 1e-1), help="Ears against the parsing.")
    w_semantic_eye: PerStage = setting((1e-1, 1e-1, 1e-1), help="Eyes against the parsing.")
    w_semantic_mouth: PerStage = setting((1e-1, 1e-1, 1e-1), help="Mouth against the parsing.")
    w_surface_reg: PerStage = setting((1e-4, 1e-4, 1e-4), help="Equal offsets in all frames.")
    w_lmk: PerStage = setting((1e-2, 1e-1, 0), help="Landmarks.")
    w_shape_reg: PerStage = setting((1e-3, 1e-3, 1e-3), help="Small shape correction.")
    w_expr_reg: PerStage = setting((1e-3, 1e-3, 1e-3), help="Small expression corrections.")
    w_pose_reg: PerStage = setting((1e-3, 1e-3, 1e-3), help="Small neck, jaw and eye corrections.")
    w_semantic_hair: FixPoints = setting(
        [(1e-1, 50), (1e-2, 100)],
        section="Loss weights ([value, epoch] fix points over the whole run)",
        help="Hair and skin against the parsing, linear between fix points.",
    )
    w_silh: FixPoints = setting([(1e-2, 50), (1e-1, 100)], help="Silhouette, linear between fix points.")
    w_lap: FixPoints = setting([(5e-2, 50), (5e-2, 100)], help="Laplacian, geometric between fix points.")
    body_part_weights: Path | None = setting(
        None,
        section="More about losses",
        help="Part weights of the Laplacian term (default: configs/body_part_weights.json).",
    )
    perceptual: Literal["none", "arcface"] = setting(
        "arcface", help="Feature network of the perceptual term; none leaves the term out."
    )
    arcface_weights: Path = setting(
        Path("assets/arcface/backbone.pth"), help="Weights of the ArcFace network (iResNet-18)."
    )


@dataclass(frozen=True)
class RunSettings:
    """Output and machine."""

    default_root_dir: Path = setting(
        section="Output and machine", help="Output folder.", aliases=("output", "out_path")
    )
    head: str = setting(
        "auto",
        help="Head model: auto (FLAME if its files are in assets/flame), flame, procedural or a folder.",
    )
    checkpoint_file: Path | None = setting(
        None, help="Start from this avatar (ours or published) instead of from scratch."
    )
    resume: bool = setting(True, help="Continue the run that the output folder holds, if it was interrupted.")
    device: str = setting("auto", help="auto, cpu or cuda.")
    devices: int = setting(1, help="Devices (or processes, on a CPU) of each machine that share every batch.")
    num_nodes: int = setting(1, help="Machines that share every batch.")
    strategy: str = setting(
        "auto",
        help="How they share it, in Lightning's words; auto: not at all, or distributed data parallel.",
    )
    raster_backend: str = setting(
        "auto", help="Rasteriser: auto, numba, triton, reference or pytorch3d.", aliases=("backend",)
    )
    precision: Literal["highest", "high", "medium"] = setting(
        "highest",
        help="Of matrix products, in torch's words: float32, tf32, or bfloat16 products where the device has them; "
        "the last two change the numbers.",
    )
    compile: bool = setting(
        False,
        help="Compile the texture network (torch.compile): faster steps, after a minute or more at each start; on "
        "a CPU it needs a C++ compiler.",
    )
    pixels_per_image: int = setting(
        0,
        help="Paint only so many random pixels of each frame in the texture and joint stage (0: all); faster, "
        "but not with the perceptual term.",
    )
    seed: int = setting(0, help="Seed of initial weights, frame order and noise.")
    image_log_period: int = setting(20, help="Epochs between pictures in TensorBoard.")
    checkpoint_period: int = setting(
        5, help="Epochs between saved training states, from which an interrupted run continues."
    )
    held_out_period: int = setting(
        1, help="Epochs between fits of the held-out frames' poses (geometry and joint stage)."
    )


@dataclass(frozen=True)
class OptimizationSettings:
    """All settings of `optimize_nha.py`."""

    run: RunSettings = nested(RunSettings)
    data: DataSettings = nested(DataSettings)
    schedule: ScheduleSettings = nested(ScheduleSettings)
    losses: LossSettings = nested(LossSettings)
    avatar: AvatarSettings = nested(AvatarSettings)

    IGNORED: ClassVar = {
        **DataSettings.IGNORED,
        "gpus": "the device is chosen with --device",
        "distributed_backend": "one device is used",
        "accelerator": "the device is chosen with --device",
        "num_sanity_val_steps": "there is no sanity pass",
        "semantics_blur": "the blur of each semantic term is fixed by the method",
        "texture_n_hidden_dynamic": "the texture network has one layer that sees normals",
    }
