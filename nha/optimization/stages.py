"""The three stages as data: optimised parameters, loss terms and epochs.

`docs/method.md`, section 5.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nha.losses.terms import TERMS, Term
from nha.optimization.config import LossSettings, OptimizationSettings
from nha.render.gbuffer import CHANNELS

GEOMETRY_TERMS = (
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
COLOUR_TERMS = ("rgb", "perc")
POSES = ("expr", "rotation", "jaw", "neck", "translation")

# The optimisers of a run, in the order in which `nha.optimization.optimizers.make_optimizers` returns them.
CORRECTIONS, OFFSETS, TEXTURE = "corrections", "offsets", "texture"


@dataclass(frozen=True)
class Stage:
    """One stage of the optimisation.

    Attributes:
        name: "geometry", "texture" or "joint".
        index: position in the per-stage settings (0, 1 or 2).
        first_epoch, epochs: first epoch of the stage in the run, and number of its epochs.
        terms: the loss terms.
        optimizers: the active ones among CORRECTIONS (SGD), OFFSETS and TEXTURE (Adam).
        moved: the corrections that CORRECTIONS optimises (the translation at a tenth of the rate).
        held_out: the corrections that are fitted for held-out frames; nothing else is learned from these frames.
        flame_lr, offset_lr, tex_lr, texture_weight_decay: settings of the three optimisers.
        loss_settings: the weights of the terms.
    """

    name: str
    index: int
    first_epoch: int
    epochs: int
    terms: tuple[Term, ...]
    optimizers: tuple[str, ...]
    moved: tuple[str, ...]
    held_out: tuple[str, ...]
    flame_lr: float
    offset_lr: float
    tex_lr: float
    texture_weight_decay: float
    loss_settings: LossSettings

    @property
    def end_epoch(self) -> int:
        """The first epoch after the stage."""
        return self.first_epoch + self.epochs

    @property
    def paints(self) -> bool:
        """Whether a term reads the rendered colours."""
        return any(term.colours for term in self.terms)

    @property
    def channels(self) -> tuple[str, ...]:
        """The G-buffer channels that the terms read."""
        used = {channel for term in self.terms for channel in term.channels}
        return tuple(channel for channel in CHANNELS if channel in used)

    def weights_at(self, epoch: float) -> dict[str, float]:
        """The weights of the stage's terms at an epoch of the run."""
        return {term.name: term.weight_at(self.loss_settings, self.index, epoch) for term in self.terms}

    def describe_terms(self) -> str:
        """One line for the log: the active terms with their weights, and the inactive ones with the reason."""
        by_epoch = [self.weights_at(epoch) for epoch in range(self.first_epoch, self.end_epoch)]
        active, without = [], []
        for term in self.terms:
            weights = [weights[term.name] for weights in by_epoch]
            if any(weights):
                changes = f" to {weights[-1]:g}" if weights[-1] != weights[0] else ""
                active.append(f"{term.name} {weights[0]:g}{changes}")
            else:
                without.append(term.name)
        if self.paints and not any(term.name == "perc" for term in self.terms):
            without.append("perc")
        words = f"{self.name} stage, {self.epochs} epochs: {', '.join(active) or 'no loss'}"
        return f"{words}; without {', '.join(map(self._why_without, without))}" if without else words

    def _why_without(self, name: str) -> str:
        chosen = name == "perc" and self.loss_settings.perceptual == "none"
        return f"{name} ({'--perceptual none' if chosen else 'weight 0'})"


def make_stages(
    settings: OptimizationSettings, extra_terms: Iterable[Term] = ()
) -> tuple[Stage, Stage, Stage]:
    """Geometry, texture and joint stage of a run. `docs/method.md`, section 5.

    Args:
        settings: epochs, rates and weights.
        extra_terms: further terms; each is part of the stages at whose first epoch its weight is not 0.

    Raises:
        ValueError: an extra term has the name of another term.
    """
    s = settings.schedule
    starts = (0, s.epochs_offset, s.epochs_offset + s.epochs_texture)
    extra_terms = tuple(extra_terms)
    names = [*TERMS, *(term.name for term in extra_terms)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two loss terms have the same name: {', '.join(twice)}")

    def stage(index: int, name: str, epochs: int, terms: tuple[str, ...], **parameters) -> Stage:
        extra = [term for term in extra_terms if term.weight_at(settings.losses, index, starts[index]) != 0]
        return Stage(
            name=name,
            index=index,
            first_epoch=starts[index],
            epochs=epochs,
            terms=(*(TERMS[term] for term in terms), *extra),
            flame_lr=s.flame_lr[index],
            offset_lr=s.offset_lr[index],
            tex_lr=s.tex_lr[index],
            texture_weight_decay=s.texture_weight_decay[index],
            loss_settings=settings.losses,
            **parameters,
        )

    return (
        stage(
            0,
            "geometry",
            s.epochs_offset,
            GEOMETRY_TERMS,
            optimizers=(CORRECTIONS, OFFSETS),
            moved=("shape", *POSES),
            held_out=POSES,
        ),
        stage(
            1,
            "texture",
            s.epochs_texture,
            _colour_terms(settings.losses, 1),
            optimizers=(TEXTURE,),
            moved=(),
            held_out=(),
        ),
        stage(
            2,
            "joint",
            s.epochs_joint,
            _colour_terms(settings.losses, 2) + GEOMETRY_TERMS,
            optimizers=(CORRECTIONS, OFFSETS, TEXTURE),
            moved=("shape", *POSES, "eyes"),
            held_out=(*POSES, "eyes"),
        ),
    )


def _colour_terms(losses: LossSettings, index: int) -> tuple[str, ...]:
    """COLOUR_TERMS of a stage (0 to 2), without the perceptual term where it has no weight."""
    # the perceptual network costs more than everything else together, so it is not evaluated at weight 0
    perceptual = losses.perceptual != "none" and losses.w_perc[index] != 0
    return tuple(name for name in COLOUR_TERMS if name != "perc" or perceptual)
