"""The tracking energy against the published reference's numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from nha.core.images import gaussian_blur
from nha.data.tracking_file import read_tracking
from nha.head.flame_files import read_head_folder
from nha.render.camera import project
from nha.tracking.appearance import PUBLISHED, read_albedo_space
from nha.tracking.energies import EnergyWeights, geometric_terms, weighted_sum
from nha.tracking.mesh import tracker_mesh
from nha.tracking.photometric import (
    photometric_distance,
    sample_images,
    screen_positions,
    surface_colours,
    visible_pixels,
)
from nha.tracking.stages import blur_sigma_at
from nha.tracking.state import UNKNOWNS, Unknowns, start_unknowns

POINTS = ("init", "init_early", "frame", "frame_first")
GOLDEN_NAMES = {
    "expr": "expr",
    "rotation": "rotation",
    "translation": "translation",
    "neck": "neck_pose",
    "jaw": "jaw_pose",
    "eyes": "eyes_pose",
    "shape": "shape",
    "texture": "texture",
    "light": "lights",
    "focal_and_centre": "K",
}


@pytest.fixture(scope="module")
def golden(golden_dir: Path):
    folder = golden_dir / "tracker_a"
    scalars = json.loads((folder / "scalars.json").read_text())
    with np.load(folder / "golden.npz") as archive:
        arrays = {key: torch.from_numpy(archive[key]) for key in archive.files}
    return scalars["scalars"], scalars["config"], arrays, read_tracking(folder)


@pytest.fixture(scope="module")
def assets(shared_dir: Path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("flame_like")
    subprocess.run([sys.executable, str(shared_dir / "flame_like" / "expand.py"), str(folder)], check=True)
    return read_head_folder(folder)


@pytest.fixture(scope="module")
def mesh(assets):
    return tracker_mesh(assets, ignore_lower_neck=True)


@pytest.fixture(scope="module")
def albedo(assets, golden):
    return read_albedo_space(assets.texture_file, golden[1]["n_tex"], golden[1]["tex_res"])


class Evaluated:
    """Everything that the golden file holds about one point, computed by ours."""

    def __init__(self, point: str, golden, mesh, albedo) -> None:
        scalars, config, arrays, tracking = golden
        frames = scalars[f"{point}/frames"]
        rows = tracking.rows_of(frames)
        params = tracking.params_for(frames)
        self.unknowns = Unknowns(
            **{
                name: getattr(params, name)
                for name in ("expr", "rotation", "translation", "neck", "jaw", "eyes")
            },
            shape=params.shape[0],
            texture=torch.from_numpy(tracking.texture),
            light=torch.from_numpy(tracking.light[rows[0]]),
            focal_and_centre=torch.from_numpy(tracking.K),
        )
        self.unknowns = Unknowns(
            **{name: getattr(self.unknowns, name).clone().requires_grad_() for name in UNKNOWNS}
        )
        size = tracking.image_size
        first = point.startswith("init")
        rest = start_unknowns(mesh.head, 1, 0)
        neutral = {name: getattr(rest, name)[0] for name in ("neck", "jaw", "eyes")}
        weights = EnergyWeights(**{key: config[key] for key in vars(EnergyWeights()) if key in config})

        self.vertices = mesh.head(self.unknowns.head_params())
        self.landmarks = mesh.head.landmarks(self.vertices)
        target = arrays[f"{point}_lmk2d"]
        self.terms = geometric_terms(
            self.unknowns,
            project(self.landmarks, self.unknowns.camera(size))[..., :2],
            target[..., :2],
            target[..., 2],
            size,
            neutral,
            None if first else torch.from_numpy(tracking.translation[0]),
            weights,
        )
        self.seen = visible_pixels(self.vertices, mesh, self.unknowns, size, config["sampling_scale"])
        self.colours = surface_colours(self.vertices, mesh, self.seen, self.unknowns, albedo, PUBLISHED)
        sigma = blur_sigma_at(scalars[f"{point}/step"], config["steps_per_frame"], config["blur_sigma"])
        picture = gaussian_blur(arrays[f"{point}_rgb"] / 2 + 0.5, sigma)
        positions = screen_positions(self.vertices, mesh, self.seen, self.unknowns, size)
        self.terms["photo"] = photometric_distance(self.colours, sample_images(picture, self.seen, positions))
        self.total = weighted_sum(self.terms, weights)

    def gradients(self, energy: torch.Tensor) -> dict[str, torch.Tensor]:
        """Gradients of the energy; of per-frame unknowns those of the first frame, as the golden file."""
        inputs = [getattr(self.unknowns, name) for name in UNKNOWNS]
        found = torch.autograd.grad(energy, inputs, retain_graph=True, allow_unused=True)
        return {
            name: gradient[0]
            if name in ("expr", "rotation", "translation", "neck", "jaw", "eyes")
            else gradient
            for name, gradient in zip(UNKNOWNS, found, strict=True)
            if gradient is not None
        }


@pytest.fixture(scope="module", params=POINTS)
def point(request, golden, mesh, albedo):
    return request.param, Evaluated(request.param, golden, mesh, albedo)


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a.double().flatten(), b.double().flatten(), dim=0))


def test_energy_terms(point, golden):
    name, ours = point
    published = golden[0]
    for term in ("lmk", "eyes_lmk", "photo", "expr_reg", "shape_reg", "tex_reg", "pos", "eyes_sym"):
        assert float(ours.terms[term].detach()) == pytest.approx(published[f"{name}/E_{term}"], rel=1e-4), (
            term
        )
    assert float(ours.total.detach()) == pytest.approx(published[f"{name}/E_total"], rel=1e-4)


def test_mesh_and_landmarks(point, golden):
    name, ours = point
    assert torch.allclose(ours.vertices, golden[2][f"{name}_verts"], atol=1e-5)
    assert torch.allclose(ours.landmarks, golden[2][f"{name}_lmks"], atol=1e-5)


def test_drawn_colours(point, golden):
    name, ours = point
    values = torch.cat([ours.colours, torch.ones_like(ours.colours[:, :1])], 1)
    drawn = ours.seen.to_image(values).permute(0, 3, 1, 2)
    for key in (f"{name}_render", f"{name}_rendered"):
        published = golden[2][key]
        assert int((drawn[:, 3] != published[:, 3]).sum()) <= 4
        difference = (drawn - published).abs()
        assert float(difference.detach().mean()) < 2e-5
        assert float((difference.amax(1) > 5e-3).float().mean()) < 1e-3


def test_gradients_of_the_energy(point, golden):
    name, ours = point
    for unknown, gradient in ours.gradients(ours.total).items():
        published = golden[2][f"{name}_grad_{GOLDEN_NAMES[unknown]}"]
        assert cosine(gradient, published) > 0.9999, unknown
        assert float(gradient.norm() / published.norm()) == pytest.approx(1, abs=2e-3), unknown


def test_gradients_of_the_photometric_term_alone(point, golden):
    name, ours = point
    gradients = ours.gradients(ours.terms["photo"])
    for unknown in ("focal_and_centre", "translation", "rotation"):
        published = golden[2][f"{name}_photo_grad_{GOLDEN_NAMES[unknown]}"]
        assert cosine(gradients[unknown], published) > 0.9999, unknown
