"""The three stages as data: which parameters move, which losses count, for how long."""

from __future__ import annotations

from dataclasses import dataclass

from nha.core.schedules import geometric_between, linear_between
from nha.optimization.config import LossSettings, OptimizationSettings

GEOMETRY_LOSSES = (
    "lap",
    "edge",
    "lmk",
    "eye_closed",
    "norm",
    "silh",
    "shape_reg",
    "expr_reg",
    "pose_reg",
    "surface_reg",
    "semantic_ear",
    "semantic_eye",
    "semantic_mouth",
    "semantic_hair",
)
TEXTURE_LOSSES = ("rgb", "perc")
POSES = ("expr", "rotation", "jaw", "neck", "translation")

# Weights that follow fix points over the whole run instead of having a value per stage.
SCHEDULED = {"lap": geometric_between, "silh": linear_between, "semantic_hair": linear_between}


@dataclass(frozen=True)
class Stage:
    """One stage of the optimisation. Method, section 5.

    index: its place in per-stage settings; first_epoch, epochs: its part of the run;
    moved: corrections moved by SGD (translation at a tenth of the rate); offsets, texture: whether the Adam
    optimisers of these networks step; losses: names of the terms; held_out: corrections of held-out frames that
    are fitted beside (nothing else of them is learned).
    """

    name: str
    index: int
    first_epoch: int
    epochs: int
    moved: tuple[str, ...]
    offsets: bool
    texture: bool
    losses: tuple[str, ...]
    held_out: tuple[str, ...]
    flame_lr: float
    offset_lr: float
    tex_lr: float
    texture_weight_decay: float
    loss_settings: LossSettings

    @property
    def end_epoch(self) -> int:
        return self.first_epoch + self.epochs

    @property
    def paints(self) -> bool:
        """Whether the picture itself is needed."""
        return any(name in TEXTURE_LOSSES for name in self.losses)

    def weights_at(self, epoch: float) -> dict[str, float]:
        """Weight of every loss of the stage at an epoch of the whole run."""
        weights = {}
        for name in self.losses:
            value = getattr(self.loss_settings, f"w_{name}")
            weights[name] = SCHEDULED[name](value, epoch) if name in SCHEDULED else value[self.index]
        return weights

    def describe_terms(self) -> str:
        """Which losses count in this stage, with their weights, and which are left out and why; one line."""
        by_epoch = [self.weights_at(epoch) for epoch in range(self.first_epoch, self.end_epoch)]
        active, without = [], []
        for name in self.losses:
            weights = [weights[name] for weights in by_epoch]
            if any(weights):
                changes = f" to {weights[-1]:g}" if weights[-1] != weights[0] else ""
                active.append(f"{name} {weights[0]:g}{changes}")
            else:
                without.append(name)
        if self.paints and "perc" not in self.losses:
            without.append("perc")
        words = f"{self.name} stage, {self.epochs} epochs: {', '.join(active) or 'no loss'}"
        return f"{words}; without {', '.join(map(self._why_without, without))}" if without else words

    def _why_without(self, name: str) -> str:
        chosen = name == "perc" and self.loss_settings.perceptual == "none"
        return f"{name} ({'--perceptual none' if chosen else 'weight 0'})"


def make_stages(settings: OptimizationSettings) -> tuple[Stage, Stage, Stage]:
    """Geometry, texture and joint stage of a run. Method, section 5."""
    s = settings.schedule
    starts = (0, s.epochs_offset, s.epochs_offset + s.epochs_texture)

    def stage(index: int, name: str, epochs: int, **what) -> Stage:
        return Stage(
            name=name,
            index=index,
            first_epoch=starts[index],
            epochs=epochs,
            flame_lr=s.flame_lr[index],
            offset_lr=s.offset_lr[index],
            tex_lr=s.tex_lr[index],
            texture_weight_decay=s.texture_weight_decay[index],
            loss_settings=settings.losses,
            **what,
        )

    def painted(index: int) -> tuple[str, ...]:
        # the perceptual network costs more than all else together: at weight 0 it is not evaluated
        wanted = settings.losses.perceptual != "none" and settings.losses.w_perc[index] != 0
        return tuple(name for name in TEXTURE_LOSSES if name != "perc" or wanted)

    return (
        stage(
            0,
            "geometry",
            s.epochs_offset,
            moved=("shape", *POSES),
            offsets=True,
            texture=False,
            losses=GEOMETRY_LOSSES,
            held_out=POSES,
        ),
        stage(
            1,
            "texture",
            s.epochs_texture,
            moved=(),
            offsets=False,
            texture=True,
            losses=painted(1),
            held_out=(),
        ),
        stage(
            2,
            "joint",
            s.epochs_joint,
            moved=("shape", *POSES, "eyes"),
            offsets=True,
            texture=True,
            losses=painted(2) + GEOMETRY_LOSSES,
            held_out=(*POSES, "eyes"),
        ),
    )
