"""The three stages as data: optimised parameters, loss terms and epochs.

`docs/method.md`, section 5.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

from nha.losses.terms import TERMS, Term
from nha.optimization.config import LossSettings, OptimizationSettings
from nha.render.gbuffer import CHANNELS

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
        last_rate: the share of the learning rates that is left at the end of the stage, to which they fall
            geometrically; 1 for constant rates.
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
    last_rate: float
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

    def rate_at(self, epoch: float) -> float:
        """The factor of the learning rates at an epoch of the run."""
        return self.last_rate ** ((epoch - self.first_epoch) / max(self.epochs - 1, 1))

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


@dataclass(frozen=True)
class _StagePlan:
    """The published part of a stage.

    epochs: name of the setting that holds their number; colour_terms, other_terms: whether the stage has the terms that
    read colours, and all others; the other fields as in `Stage`.
    """

    name: str
    epochs: str
    colour_terms: bool
    other_terms: bool
    optimizers: tuple[str, ...]
    moved: tuple[str, ...]
    held_out: tuple[str, ...]


_PUBLISHED = (
    _StagePlan(
        name="geometry",
        epochs="epochs_offset",
        colour_terms=False,
        other_terms=True,
        optimizers=(CORRECTIONS, OFFSETS),
        moved=("shape", *POSES),
        held_out=POSES,
    ),
    _StagePlan(
        name="texture",
        epochs="epochs_texture",
        colour_terms=True,
        other_terms=False,
        optimizers=(TEXTURE,),
        moved=(),
        held_out=(),
    ),
    _StagePlan(
        name="joint",
        epochs="epochs_joint",
        colour_terms=True,
        other_terms=True,
        optimizers=(CORRECTIONS, OFFSETS, TEXTURE),
        moved=("shape", *POSES, "eyes"),
        held_out=(*POSES, "eyes"),
    ),
)
# The blend model has the same stages; its held-out frames are fitted once, after the last stage.
_LAST_RATE = {"published": 1.0, "blend": 0.1}
_PLANS = {
    "published": _PUBLISHED,
    "blend": tuple(dataclasses.replace(plan, held_out=()) for plan in _PUBLISHED),
}


def make_stages(settings: OptimizationSettings, extra_terms: Iterable[Term] = ()) -> tuple[Stage, ...]:
    """Geometry, texture and joint stage of a run. `docs/method.md`, section 5.

    Args:
        settings: epochs, rates and weights.
        extra_terms: further terms; each is part of the stages in which its weight is not 0 throughout.

    Raises:
        ValueError: an extra term has the name of another term.
    """
    extra_terms = tuple(extra_terms)
    names = [*TERMS, *(term.name for term in extra_terms)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two loss terms have the same name: {', '.join(twice)}")
    stages, first_epoch, schedule = [], 0, settings.schedule
    for index, plan in enumerate(_PLANS[settings.avatar.model]):
        epochs = range(first_epoch, first_epoch + getattr(schedule, plan.epochs))
        stage = Stage(
            name=plan.name,
            index=index,
            first_epoch=first_epoch,
            epochs=len(epochs),
            terms=_terms(plan, settings, index, epochs, extra_terms),
            optimizers=plan.optimizers,
            moved=plan.moved,
            held_out=plan.held_out,
            flame_lr=schedule.flame_lr[index],
            offset_lr=schedule.offset_lr[index],
            tex_lr=schedule.tex_lr[index],
            texture_weight_decay=schedule.texture_weight_decay[index],
            last_rate=_LAST_RATE[settings.avatar.model],
            loss_settings=settings.losses,
        )
        stages.append(stage)
        first_epoch = stage.end_epoch
    return tuple(stages)


def _terms(
    plan: _StagePlan,
    settings: OptimizationSettings,
    index: int,
    epochs: range,
    extra_terms: tuple[Term, ...],
) -> tuple[Term, ...]:
    """The terms of the table that the stage has, and the extra terms that have a weight in one of its epochs."""
    losses = settings.losses

    def has_weight(term: Term) -> bool:
        return any(term.weight_at(losses, index, epoch) for epoch in epochs)

    # the perceptual network costs more than everything else together, so it is not evaluated at weight 0
    perceptual = losses.perceptual != "none" and losses.w_perc[index] != 0
    only_weighted = settings.avatar.model == "blend"  # the published model logs all terms
    own = [
        term
        for term in TERMS.values()
        if (plan.colour_terms if term.colours else plan.other_terms)
        and (term.name != "perc" or perceptual)
        and (has_weight(term) or not (term.optional or only_weighted))
    ]
    return (*own, *filter(has_weight, extra_terms))
