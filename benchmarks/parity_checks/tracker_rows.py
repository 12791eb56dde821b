"""Rows of the tracker's energy and its gradients, at the points of a folder."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from nha.core.errors import UserError
from nha.core.images import gaussian_blur
from nha.head.assets import HeadAssets
from nha.render.camera import project
from nha.render.interpolate import CoveredPixels
from nha.tracking.appearance import PUBLISHED, AlbedoSpace, read_albedo_space
from nha.tracking.energy import geometric_terms, translation_step, weighted_sum
from nha.tracking.photometric import (
    TrackerMesh,
    photometric_distance,
    sample_images,
    screen_positions,
    surface_colours,
    tracker_mesh,
    visible_pixels,
)
from nha.tracking.settings import EnergyWeights
from nha.tracking.stages import blur_sigma_at
from nha.tracking.state import PER_FRAME, UNKNOWNS, Unknowns, start_unknowns
from parity_checks.golden_folder import NumbersFolder
from parity_checks.report import Report

THEIR_NAMES = {
    "neck": "neck_pose", "jaw": "jaw_pose", "eyes": "eyes_pose", "light": "lights", "focal_and_centre": "K",
}  # fmt: skip
FIRST_FRAME = "init"  # prefix of the points of the first frame with its keyframes


class TrackerFolder(NumbersFolder):
    """The tracker's numbers: settings (`config`), and for each point the batch and the reference's results."""

    @property
    def points(self) -> list[str]:
        """Names of the points, in the folder's order."""
        return list(dict.fromkeys(name.split("/")[0] for name in self.scalars))

    def quantities(self) -> list[str]:
        """Names of all quantities in the folder except inputs and run times."""
        inputs = {f"{point}_{name}" for point in self.points for name in ("rgb", "lmk2d")}
        inputs |= {f"{point}/{name}" for point in self.points for name in ("step", "frames", "seconds")}
        return [name for name in (*self.arrays, *self.scalars) if name not in inputs]

    def setting(self, name: str):
        """A setting of the published tracker. Raises UserError where the folder lacks it."""
        if name not in self.content.get("config", {}):
            raise UserError(f"'{self.folder / 'scalars.json'}' has no '{name}' in its config")
        return self.content["config"][name]


@dataclasses.dataclass(frozen=True)
class Scene:
    """The parts that all points share: the mesh, its albedo space and the device."""

    mesh: TrackerMesh
    albedo: AlbedoSpace
    device: torch.device

    @classmethod
    def of(cls, folder: TrackerFolder, assets: HeadAssets, device: torch.device) -> Scene:
        """The scene of a folder. Raises UserError where the head model's files hold no albedo space."""
        if assets.texture_file is None:
            raise UserError(f"'{assets.folder}' has no FLAME_texture.npz, which the tracker's numbers need")
        mesh = tracker_mesh(assets, ignore_lower_neck=folder.setting("ignore_lower_neck"))
        albedo = read_albedo_space(assets.texture_file, folder.setting("n_tex"), folder.setting("tex_res"))
        return cls(mesh.to(device), albedo.to(device), device)


class Point:
    """One point: the unknowns of a batch, and the terms of the energy and their gradients there."""

    def __init__(self, name: str, folder: TrackerFolder, scene: Scene) -> None:
        self.name, self.folder, self.scene = name, folder, scene
        self.frames = [int(frame) for frame in folder.scalars[f"{name}/frames"]]
        self.rgb01 = folder.tensor(f"{name}_rgb").to(scene.device) / 2 + 0.5
        self.image_size = tuple(self.rgb01.shape[2:])
        self.unknowns = self._unknowns()

    def _unknowns(self) -> Unknowns:
        tracking = self.folder.tracking
        params = tracking.params_for(self.frames)
        values = {name: getattr(params, name) for name in PER_FRAME} | {
            "shape": params.shape[0],
            "texture": torch.from_numpy(tracking.texture),
            "light": torch.from_numpy(tracking.light[tracking.rows_of(self.frames)[0]]),
            "focal_and_centre": torch.from_numpy(tracking.K),
        }
        return Unknowns(**{n: x.clone().to(self.scene.device).requires_grad_() for n, x in values.items()})

    @cached_property
    def vertices(self) -> Tensor:
        return self.scene.mesh.head(self.unknowns.head_params())

    @cached_property
    def landmarks(self) -> Tensor:
        return self.scene.mesh.head.landmarks(self.vertices)

    @cached_property
    def weights(self) -> EnergyWeights:
        """The folder's weights; terms that the published tracker lacks (smoothness) get weight 0."""
        names = {field.name for field in dataclasses.fields(EnergyWeights)} - {"w_smooth", "w_pos_glob"}
        return EnergyWeights(**{name: self.folder.setting(name) for name in names}, w_smooth=0.0)

    @cached_property
    def seen(self) -> CoveredPixels:
        """Visible pixels at the sampling scale."""
        return self.seen_at(self.folder.setting("sampling_scale"))

    def seen_at(self, scale: float) -> CoveredPixels:
        scene = self.scene
        return visible_pixels(self.vertices, scene.mesh, self.unknowns, self.image_size, scale)

    def colours(self, seen: CoveredPixels) -> Tensor:
        return surface_colours(
            self.vertices, self.scene.mesh, seen, self.unknowns, self.scene.albedo, PUBLISHED
        )

    def image(self, seen: CoveredPixels) -> Tensor:
        """Colours on a background of 0, and the mask: [N, 4, H, W]."""
        colours = self.colours(seen)
        return seen.to_image(torch.cat([colours, torch.ones_like(colours[:, :1])], 1)).permute(0, 3, 1, 2)

    @cached_property
    def terms(self) -> dict[str, Tensor]:
        """All terms of the energy, unweighted."""
        head, size = self.scene.mesh.head, self.image_size
        target = self.folder.tensor(f"{self.name}_lmk2d").to(self.scene.device)
        rest = start_unknowns(head, 1, 0)
        terms = geometric_terms(
            self.unknowns,
            project(self.landmarks, self.unknowns.camera(size))[..., :2],
            target[..., :2],
            target[..., 2],
            size,
            {name: getattr(rest, name)[0] for name in ("neck", "jaw", "eyes")},
        )
        terms["pos_trans"] = translation_step(self.unknowns.translation, self._previous_translation())
        return terms | {"photo": self._photometric_term()}

    @cached_property
    def pose_energy(self) -> Tensor:
        """The published E_pos: the weighted terms of neck, jaw, eyes and position."""
        return weighted_sum({k: v for k, v in self.terms.items() if k.startswith("pos_")}, self.weights)

    def _previous_translation(self) -> Tensor | None:
        """The translation in the previous row; None at the first frame, which is fitted with keyframes."""
        if self.name.startswith(FIRST_FRAME):
            return None
        tracking = self.folder.tracking
        row = max(int(tracking.rows_of(self.frames)[0]) - 1, 0)
        return torch.from_numpy(tracking.translation[row]).to(self.scene.device)

    def _photometric_term(self) -> Tensor:
        setting = self.folder.setting
        step = int(self.folder.scalars[f"{self.name}/step"])
        sigma = blur_sigma_at(step, setting("steps_per_frame"), setting("blur_sigma"))
        positions = screen_positions(
            self.vertices, self.scene.mesh, self.seen, self.unknowns, self.image_size
        )
        sampled = sample_images(gaussian_blur(self.rgb01, sigma), self.seen, positions)
        return photometric_distance(self.colours(self.seen), sampled)

    @cached_property
    def total(self) -> Tensor:
        return weighted_sum(self.terms, self.weights)

    def gradients(self, energy: Tensor) -> dict[str, Tensor]:
        """Gradients by the folder's names; only the first frame of per-frame unknowns."""
        inputs = [getattr(self.unknowns, name) for name in UNKNOWNS]
        found = torch.autograd.grad(
            energy, inputs, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        return {
            THEIR_NAMES.get(name, name): gradient[0] if name in PER_FRAME else gradient
            for name, gradient in zip(UNKNOWNS, found, strict=True)
        }


def check_tracker(report: Report, path: Path, assets: HeadAssets, device: torch.device) -> None:
    """Check every quantity of a tracker folder."""
    folder = TrackerFolder(path)
    scene = Scene.of(folder, assets, device)
    for name in folder.points:
        check_point(report, folder, Point(name, folder, scene))
    report.rest_not_checked(folder.quantities(), "there is no check for it")


def check_point(report: Report, folder: TrackerFolder, point: Point) -> None:
    """Check mesh, terms, rendered colours and gradients of one point."""
    name = point.name
    for key, ours in (("verts", point.vertices), ("lmks", point.landmarks)):
        if f"{name}_{key}" in folder.arrays:
            report.absolute(f"{name}_{key}", ours, folder.tensor(f"{name}_{key}"), "metres")
    for term, value in (point.terms | {"pos": point.pose_energy, "total": point.total}).items():
        if f"{name}/E_{term}" in folder.scalars:
            report.relative(f"{name}/E_{term}", value, folder.scalars[f"{name}/E_{term}"])
    for key, scale in (("render", 1.0), ("rendered", folder.setting("sampling_scale"))):
        if f"{name}_{key}" in folder.arrays:
            image = point.image(point.seen_at(scale))
            report.colour(f"{name}_{key}", image, folder.tensor(f"{name}_{key}"))
    for key, energy in (("grad", point.total), ("photo_grad", point.terms["photo"])):
        for unknown, gradient in point.gradients(energy).items():
            quantity = f"{name}_{key}_{unknown}"
            if quantity in folder.arrays:
                report.direction(quantity, gradient, folder.tensor(quantity))
