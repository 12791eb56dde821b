"""The tracker's colour model: an albedo space under spherical-harmonics light."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nha.core.errors import UserError
from nha.core.finite import require_finite
from nha.core.untrusted_file import RejectedFileError, check_zip, open_untrusted
from nha.render.shading import spherical_harmonics_basis

PUBLISHED, LINEAR = "published", "linear"

# The published tracker uses every second texel of the albedo space.
_TEXEL_STEP = 2


@dataclass(frozen=True)
class AlbedoSpace:
    """A linear space of albedo maps.

    Attributes:
        mean: [R, R, 3] RGB in 0..255.
        directions: [R, R, 3, T], one for each coefficient.
    """

    mean: Tensor
    directions: Tensor

    @property
    def n_components(self) -> int:
        return self.directions.shape[-1]

    def albedo01(self, coefficients: Tensor) -> Tensor:
        """The albedo map of coefficients [T], clipped to 0..1: [1, 3, R, R]."""
        texels = (self.mean + self.directions @ coefficients) / 255
        return texels.clamp(0, 1).permute(2, 0, 1)[None]

    def to(self, device: torch.device | str) -> AlbedoSpace:
        """A copy on `device`."""
        return AlbedoSpace(self.mean.to(device), self.directions.to(device))


def read_albedo_space(path: str | Path, n_components: int, resolution: int = 512) -> AlbedoSpace:
    """Read `FLAME_texture.npz`, keeping every second texel as the published tracker does.

    Args:
        path: the file.
        n_components: how many directions to keep, at most.
        resolution: the file's number of texels per side.

    Raises:
        UserError: the file is not such an archive, or has another resolution.
    """
    mean, directions = _read_maps(Path(path))
    if mean.shape[0] != resolution:
        raise UserError(f"'{path}' has {mean.shape[0]} x {mean.shape[1]} texels; pass --tex_res {len(mean)}")
    step = slice(None, None, _TEXEL_STEP)
    # the files store blue, green, red
    mean = mean[step, step, ::-1].astype(np.float32)
    directions = directions[step, step, ::-1, :n_components].astype(np.float32)
    require_finite({"mean": mean, "tex_dir": directions}, f"'{path}'", "fetch FLAME_texture.npz again")
    return AlbedoSpace(
        torch.from_numpy(np.ascontiguousarray(mean)), torch.from_numpy(np.ascontiguousarray(directions))
    )


def _read_maps(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The arrays `mean` [R, R, 3] and `tex_dir` [R, R, 3, T] of the file. Raises UserError."""
    with open_untrusted(path) as file:
        check_zip(file)
        archive = np.load(file, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile) or not {"mean", "tex_dir"} <= set(archive.files):
            raise RejectedFileError("is not an albedo space; fetch FLAME_texture.npz again")
        mean, directions = np.asarray(archive["mean"]), np.asarray(archive["tex_dir"])
    is_square = mean.ndim == 3 and mean.shape[0] == mean.shape[1] and mean.shape[2] == 3
    if not is_square or directions.ndim != 4 or directions.shape[:3] != mean.shape:
        raise UserError(
            f"'{path}': mean {list(mean.shape)} and tex_dir {list(directions.shape)} are not [R, R, 3] and "
            "[R, R, 3, T]; fetch FLAME_texture.npz again"
        )
    if mean.dtype.kind not in "fiu" or directions.dtype.kind not in "fiu":
        raise UserError(f"'{path}' holds {mean.dtype} and {directions.dtype}; fetch FLAME_texture.npz again")
    return mean, directions


def grey_albedo_space(grey01: float = 0.6, resolution: int = 4) -> AlbedoSpace:
    """One grey without directions, for head models without an albedo space."""
    mean = torch.full((resolution, resolution, 3), 255 * grey01)
    return AlbedoSpace(mean, torch.zeros(resolution, resolution, 3, 0))


def sample_albedo(albedo01: Tensor, uv: Tensor) -> Tensor:
    """Bilinear samples of an albedo map.

    Args:
        albedo01: [1, 3, R, R].
        uv: [P, 2] in -1..1, (-1, -1) the top left.

    Returns:
        [P, 3] in 0..1.
    """
    sampled = F.grid_sample(albedo01, uv[None, None], mode="bilinear", align_corners=False)
    return sampled[0, :, 0].T


def shade(albedo01: Tensor, normals: Tensor, light: Tensor, appearance: str) -> Tensor:
    """Colours that are compared with an image in 0..1.

    Args:
        albedo01: [P, 3].
        normals: [P, 3] in the world, pointing out.
        light: [9, 3] spherical harmonics.
        appearance: "linear" is albedo times shading. "published" is (albedo / 2 + 1 / 2) shading 2 - 1: the
            published tracker mixes the ranges 0..1 and -1..1 there; it is kept to reproduce its results.

    Returns:
        [P, 3].
    """
    shading = spherical_harmonics_basis(normals) @ light
    if appearance == PUBLISHED:
        return (albedo01 * 0.5 + 0.5) * shading * 2 - 1
    if appearance == LINEAR:
        return albedo01 * shading
    raise ValueError(f"appearance must be {PUBLISHED} or {LINEAR}, not {appearance!r}")
