"""The appearance of a synthetic person, sampled from a seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

Rgb = tuple[float, float, float]  # sRGB, 0..1


@dataclass(frozen=True)
class HairStyle:
    """A hair style. Lengths are in millimetres, heights relative to the eyes.

    Attributes:
        name: the name of the style.
        top_mm, side_mm, back_mm: thickness over the skull.
        tip_height_mm: height at which hanging hair ends; None for hair that ends at the hairline.
        fringe_height_mm: height at which a fringe ends; None without a fringe.
        flow: direction of the strands: "parted", "back" or "whorl".
        lump_mm, lump_size_mm: amplitude and size of coarse irregularities.
        lock_mm: amplitude of ridges along the strands.
        curly: curls instead of strands.
        bun: a bun at the back.
    """

    name: str
    top_mm: float
    side_mm: float
    back_mm: float
    tip_height_mm: float | None = None
    fringe_height_mm: float | None = None
    flow: str = "whorl"
    lump_mm: float = 3.0
    lump_size_mm: float = 40.0
    lock_mm: float = 2.5
    curly: bool = False
    bun: bool = False

    @property
    def covers_ears(self) -> bool:
        """Whether hanging hair covers the ears."""
        return self.tip_height_mm is not None

    @property
    def slim_face(self) -> bool:
        """Whether this style is combined with a slender face and coloured lips."""
        return self.covers_ears or self.bun


HAIR_STYLES = (
    HairStyle("bob", 17, 15, 18, tip_height_mm=-95, fringe_height_mm=34, flow="parted"),
    HairStyle("quiff", 25, 7, 10, flow="back", lump_mm=4.0, lock_mm=3.5),
    HairStyle("bun", 9, 7, 9, flow="back", lump_mm=1.0, lock_mm=1.2, bun=True),
    HairStyle("curls", 42, 34, 40, lump_mm=7.0, lump_size_mm=17, lock_mm=0.0, curly=True),
    HairStyle("long", 15, 13, 16, tip_height_mm=-185, flow="parted"),
    HairStyle("short", 15, 8, 11, fringe_height_mm=52, lump_mm=4.0, lock_mm=3.0),
    HairStyle("cropped", 4.5, 3.5, 4.0, lump_mm=0.6, lock_mm=0.3, curly=True, lump_size_mm=9),
)
_BEARDED_STYLES = ("quiff", "short", "cropped", "curls")

# (skin, lips): from fair to dark
_SKINS: tuple[tuple[Rgb, Rgb], ...] = (
    ((0.93, 0.77, 0.68), (0.80, 0.45, 0.43)),
    ((0.55, 0.36, 0.25), (0.52, 0.28, 0.26)),
    ((0.86, 0.68, 0.54), (0.74, 0.42, 0.38)),
    ((0.40, 0.25, 0.17), (0.43, 0.23, 0.22)),
    ((0.95, 0.81, 0.74), (0.84, 0.50, 0.48)),
    ((0.74, 0.54, 0.40), (0.66, 0.36, 0.32)),
)
_LIGHT_SKIN_HAIR: tuple[Rgb, ...] = (
    (0.42, 0.20, 0.10),  # auburn
    (0.20, 0.13, 0.09),  # dark brown
    (0.78, 0.60, 0.36),  # blond
    (0.62, 0.27, 0.10),  # red
    (0.09, 0.08, 0.08),  # black
    (0.56, 0.54, 0.53),  # grey
    (0.38, 0.26, 0.17),  # brown
)
_DARK_SKIN_HAIR: tuple[Rgb, ...] = (
    (0.07, 0.06, 0.06),
    (0.13, 0.09, 0.07),
    (0.20, 0.12, 0.08),
    (0.40, 0.38, 0.37),
)
_EYES: tuple[Rgb, ...] = ((0.33, 0.47, 0.60), (0.30, 0.18, 0.09), (0.36, 0.45, 0.28), (0.46, 0.31, 0.14))
_CLOTHES: tuple[Rgb, ...] = (
    (0.20, 0.34, 0.45),
    (0.78, 0.66, 0.34),
    (0.55, 0.20, 0.22),
    (0.86, 0.85, 0.82),
    (0.22, 0.40, 0.32),
    (0.30, 0.28, 0.42),
    (0.16, 0.17, 0.20),
)
_BACKDROPS: tuple[Rgb, ...] = (
    (0.62, 0.68, 0.70),
    (0.72, 0.64, 0.56),
    (0.45, 0.52, 0.50),
    (0.66, 0.60, 0.68),
    (0.40, 0.44, 0.54),
)


@dataclass(frozen=True)
class Subject:
    """The appearance of a person and of the scene.

    Attributes:
        seed: the seed of the subject.
        hair: the hair style.
        skin_color, lip_color, hair_color, brow_color, eye_color, cloth_color, backdrop_color: sRGB in 0..1.
        freckles, blush, beard: strength in 0..1.
        brow_thickness: factor around 1.
        pattern: pattern of the cloth: "plain", "stripes" or "ribs".
        light_direction: unit vector from the face to the key light, world axes.
        light_color: linear colour of the key light.
    """

    seed: int
    hair: HairStyle
    skin_color: Rgb
    lip_color: Rgb
    hair_color: Rgb
    brow_color: Rgb
    eye_color: Rgb
    cloth_color: Rgb
    backdrop_color: Rgb
    freckles: float
    blush: float
    beard: float
    brow_thickness: float
    pattern: str
    light_direction: tuple[float, float, float]
    light_color: Rgb

    def as_dict(self) -> dict:
        """The attributes as plain values for a JSON file, with the name of the hair style."""
        return asdict(self) | {"hair": self.hair.name}


def subject_rng(seed: int, topic: str) -> np.random.Generator:
    """A random generator for one topic of a subject, independent of the other topics."""
    return np.random.Generator(np.random.PCG64([seed, *topic.encode()]))


def sample_subject(seed: int) -> Subject:
    """Sample a person. Hair style, skin and clothes cycle through lists, so that consecutive seeds differ."""
    rng = subject_rng(seed, "looks")
    hair = HAIR_STYLES[seed % len(HAIR_STYLES)]
    skin, lips = _SKINS[seed % len(_SKINS)]
    dark = skin[0] < 0.6
    palette = _DARK_SKIN_HAIR if dark else _LIGHT_SKIN_HAIR
    hair_color = palette[(seed * 5) % len(palette)]
    makeup = hair.slim_face
    lips = tuple(np.clip(np.array(lips) * ((0.96, 0.80, 0.84) if makeup else (1, 1, 1)), 0, 1).tolist())
    beard = float(rng.uniform(0.35, 0.85)) if hair.name in _BEARDED_STYLES and rng.random() < 0.7 else 0.0
    azimuth, height = rng.choice([-1, 1]) * rng.uniform(0.5, 0.9), rng.uniform(0.45, 0.75)
    light = np.array([np.sin(azimuth), height, -np.cos(azimuth)])
    warmth = rng.uniform(-0.05, 0.06)
    brown = dark or max(hair_color) < 0.3
    eye = _EYES[1] if brown and rng.random() < 0.7 else _EYES[int(rng.integers(len(_EYES)))]
    grey_to_brown = np.array(hair_color) * 0.72
    return Subject(
        seed=seed,
        hair=hair,
        skin_color=skin,
        lip_color=lips,
        hair_color=hair_color,
        brow_color=tuple(grey_to_brown.tolist()),
        eye_color=eye,
        cloth_color=_CLOTHES[(seed * 3) % len(_CLOTHES)],
        backdrop_color=_BACKDROPS[(seed * 2) % len(_BACKDROPS)],
        freckles=0.0 if dark else float(rng.uniform(0, 1) ** 2),
        blush=float(rng.uniform(0.3, 1.0)),
        beard=beard,
        brow_thickness=float(rng.uniform(0.7, 0.95) if makeup else rng.uniform(0.95, 1.3)),
        pattern=("plain", "stripes", "ribs")[int(rng.integers(3))],
        light_direction=tuple((light / np.linalg.norm(light)).tolist()),
        light_color=(1.0 + warmth, 1.0, 1.0 - warmth),
    )
