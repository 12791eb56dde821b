"""Hold this project against numbers of the published reference.

    python benchmarks/parity.py --golden DIR --assets DIR [--backend numba] [--json FILE]

DIR of --golden holds golden.npz, scalars.json, a checkpoint in the published container (avatar.ckpt or
avatar.ckpt.xz) and tracked_flame_params.npz; sizes and frames are read from there. Prints one row per quantity
and leaves with exit code 1 if one fails.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import lzma
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nha.avatar.avatar import NeuralHeadAvatar
from nha.avatar.checkpoint import load_avatar, read_checkpoint
from nha.avatar.reenact import Actor, reenact
from nha.avatar.settings import AvatarSettings
from nha.core.errors import UserError
from nha.core.images import erode
from nha.core.system import run_script
from nha.core.types import Camera, FrameBatch, HeadParams
from nha.data.tracking_file import TrackingResult, read_tracking
from nha.head.flame_files import read_head_folder
from nha.head.model import HeadModel
from nha.optimization.config import LossSettings, OptimizationSettings, RunSettings, ScheduleSettings
from nha.optimization.objectives import Objective, draw_batch
from nha.optimization.optimizers import FRAME_TABLES, offset_parameters
from nha.optimization.stages import Stage, make_stages
from nha.render.gbuffer import draw_gbuffer
from nha.render.shading import phong_picture

REPOSITORY = Path(__file__).resolve().parent.parent

# The golden README's tolerances: absolute deviation unless the comment says otherwise.
TOLERANCE = {
    "tables": 0.0,
    "uv": 1e-6,
    "metres": 1e-5,
    "mouth_conditioning": 1e-4,
    "faces_picked": 4,  # pixels
    "screen_coords": 1e-5,
    "surface": 2e-4,  # for 99.9 % of the foreground pixels ...
    "surface_max": 5e-3,  # ... and for all of them
    "semantics": 1e-3,
    "prep": 1e-6,
    "colour_mean": 2e-5,
    "colour_outlier": 5e-3,  # exceeded by at most ...
    "colour_outlier_share": 1e-4,  # ... this share of the pixels
    "soft_label": 2e-3,  # exceeded by at most ...
    "soft_label_count": 20,  # ... so many entries ...
    "soft_label_max": 5e-2,  # ... and by none so far
    "scalar": 1e-4,  # relative
    "edge_loss": 1e-6,  # absolute
    "gradient": 2e-3,  # |a - b| / |b|
    "gradient_norm": 1e-3,  # relative
}

STAGES = {"offset": 0, "texture": 1, "joint": 2}


@dataclass(frozen=True)
class Row:
    """One compared quantity; worst and mean are in the unit that `tolerance` limits."""

    name: str
    shape: tuple[int, ...]
    worst: float
    mean: float
    tolerance: float
    ok: bool

    def as_json(self) -> dict:
        entry = dataclasses.asdict(self)
        entry["pass"] = entry.pop("ok")
        return {**entry, "shape": list(self.shape)}

    def __str__(self) -> str:
        shape = "x".join(map(str, self.shape)) or "scalar"
        verdict = "pass" if self.ok else "FAIL"
        return f"{self.name:<34} {shape:<18} {self.worst:>10.2e} {self.mean:>10.2e} {self.tolerance:>9.1e}  {verdict}"


class Golden:
    """A golden folder: its arrays, scalars, checkpoint and tracking file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("golden.npz", "scalars.json"):
            if not (folder / name).is_file():
                raise UserError(f"'{folder}' has no {name}; --golden wants a folder of reference numbers")
        self.arrays = dict(np.load(folder / "golden.npz"))
        content = json.loads((folder / "scalars.json").read_text())
        self.scalars: dict[str, float] = content["scalars"]
        self.part_names = tuple(content["labels"])
        self.tracking: TrackingResult = read_tracking(folder / "tracked_flame_params.npz")
        with tempfile.TemporaryDirectory() as scratch:
            self.checkpoint = read_checkpoint(self._plain_checkpoint(Path(scratch)))

    def _plain_checkpoint(self, scratch: Path) -> Path:
        plain, packed = self.folder / "avatar.ckpt", self.folder / "avatar.ckpt.xz"
        if plain.is_file() or not packed.is_file():
            return plain
        with lzma.open(packed) as source, (scratch / plain.name).open("wb") as target:
            shutil.copyfileobj(source, target)
        return scratch / plain.name

    def tensor(self, name: str) -> Tensor:
        return torch.from_numpy(self.arrays[name])

    @property
    def image_size(self) -> tuple[int, int]:
        return self.arrays["in_rgb"].shape[2:]

    def params(self) -> HeadParams:
        pose = self.tensor("in_flame_pose")
        return HeadParams(
            shape=self.tensor("in_flame_shape"),
            expr=self.tensor("in_flame_expr"),
            rotation=pose[:, :3],
            translation=self.tensor("in_flame_trans"),
            neck=pose[:, 3:6],
            jaw=pose[:, 6:9],
            eyes=pose[:, 9:],
        )

    def batch(self) -> FrameBatch:
        landmarks = self.tensor("in_lmk2d")
        return FrameBatch(
            frame_id=self.tensor("in_frame"),
            rgb01=(self.tensor("in_rgb") + 1) / 2,
            segmentation=self.tensor("in_seg")[:, 0].long(),
            parsing=self.tensor("in_parsing")[:, 0].long(),
            normals=self.tensor("in_normal"),
            landmarks_px=landmarks[..., :2],
            landmark_confidence=torch.ones(landmarks.shape[:2]),  # the third value is a depth
            iris_px=self.tensor("in_lmk2d_iris")[..., :2],
            eye_height_px=self.tensor("in_eye_distance").T.float(),
            tracked=self.params(),
            camera=Camera(
                self.tensor("in_cam_intrinsic"), self.tensor("in_cam_extrinsic"), tuple(self.image_size)
            ),
        )


def fill(settings_type: type, values: dict):
    """A settings dataclass from the keys of a checkpoint's hyper-parameters that it knows."""
    known = {f.name for f in dataclasses.fields(settings_type)}
    return settings_type(**{key: value for key, value in values.items() if key in known})


def build_avatar(golden: Golden, head: HeadModel) -> NeuralHeadAvatar:
    """The checkpoint's avatar; every size is read from its tensors and hyper-parameters."""
    settings = fill(AvatarSettings, golden.checkpoint.hyper_parameters)
    frames = len(golden.checkpoint.state["_expr"])
    avatar = NeuralHeadAvatar(head, settings, frames - 1)
    load_avatar(avatar, golden.checkpoint)
    return avatar.eval()


class Report:
    """Collects rows; each method knows one kind of tolerance."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def add(self, name: str, shape, worst: float, mean: float, tolerance: float, ok: bool) -> None:
        # a deviation that is not a number is a failure
        self.rows.append(Row(name, tuple(shape), float(worst), float(mean), float(tolerance), bool(ok)))
        print(self.rows[-1], flush=True)

    def absolute(self, name: str, ours: Tensor, golden: Tensor, tolerance: float) -> None:
        if ours.shape != golden.shape:
            raise ValueError(f"{name}: ours is {tuple(ours.shape)}, golden {tuple(golden.shape)}")
        deviation = (ours.detach().double() - golden.double()).abs()
        worst = deviation.max().item()
        self.add(name, golden.shape, worst, deviation.mean().item(), tolerance, worst <= tolerance)

    def surface(self, name: str, ours: Tensor, golden: Tensor, foreground: Tensor) -> None:
        """[N, H, W, C] with the foreground's bool [N, H, W]."""
        deviation = (ours.detach().double() - golden.double()).abs().amax(-1)[foreground]
        share = (deviation < TOLERANCE["surface"]).double().mean().item()
        worst = deviation.max().item()
        ok = share >= 0.999 and worst <= TOLERANCE["surface_max"]
        self.add(name, golden.shape, worst, deviation.mean().item(), TOLERANCE["surface_max"], ok)

    def colour(self, name: str, ours: Tensor, golden: Tensor) -> None:
        """[N, C, H, W]."""
        deviation = (ours.detach().double() - golden.double()).abs()
        outliers = (deviation.amax(1) > TOLERANCE["colour_outlier"]).double().mean().item()
        mean = deviation.mean().item()
        ok = mean < TOLERANCE["colour_mean"] and outliers <= TOLERANCE["colour_outlier_share"]
        self.add(name, golden.shape, deviation.max().item(), mean, TOLERANCE["colour_mean"], ok)

    def relative(self, name: str, ours: float, golden: float, tolerance: float) -> None:
        deviation = abs(ours - golden) / max(abs(golden), 1e-12)
        self.add(name, (), deviation, deviation, tolerance, deviation <= tolerance)

    def gradient(self, name: str, ours: Tensor, golden: Tensor) -> None:
        deviation = ((ours - golden).norm() / golden.norm().clamp_min(1e-30)).item()
        ok = deviation < TOLERANCE["gradient"]
        self.add(name, golden.shape, deviation, deviation, TOLERANCE["gradient"], ok)


def check_head(report: Report, golden: Golden, head: HeadModel) -> None:
    """Topology and tables."""
    if head.part_names != golden.part_names:
        raise ValueError(f"parts differ: {head.part_names} and {golden.part_names}")
    tables = head.tables
    report.absolute("faces", tables.faces, golden.tensor("faces"), TOLERANCE["tables"])
    template = head.template[head.kept_vertices]
    report.absolute("v_template", template, golden.tensor("v_template"), TOLERANCE["tables"])
    uvs = golden.tensor("face_uvcoords")
    report.absolute("face_uvcoords", tables.face_uvcoords, uvs, TOLERANCE["uv"])
    report.absolute("face_uvmap", tables.face_uvmap, golden.tensor("face_uvmap"), TOLERANCE["tables"])
    coords = golden.tensor("face_coords_normed")
    report.absolute("face_coords_normed", tables.face_coords_normed, coords, TOLERANCE["uv"])
    report.absolute("vert_labels", tables.hard_labels, golden.tensor("vert_labels"), TOLERANCE["tables"])
    soft = golden.tensor("blurred_vert_labels").float()
    deviation = (tables.soft_labels - soft).abs()
    off = (deviation > TOLERANCE["soft_label"]).sum() <= TOLERANCE["soft_label_count"]
    ok = off and deviation.max() <= TOLERANCE["soft_label_max"]
    report.add(
        "blurred_vert_labels",
        soft.shape,
        deviation.max(),
        deviation.mean(),
        TOLERANCE["soft_label_max"],
        ok,
    )


@torch.no_grad()
def check_surface(report: Report, golden: Golden, avatar: NeuralHeadAvatar, backend: str) -> None:
    """Vertices, landmarks, conditions, and what the rasteriser makes of them."""
    batch, head = golden.batch(), avatar.head
    surface = avatar.surface(avatar.corrected(batch.tracked, batch.frame_id))
    metres = TOLERANCE["metres"]
    report.absolute("offsets", surface.offsets, golden.tensor("offsets"), metres)
    report.absolute("verts_no_offsets", surface.plain_vertices, golden.tensor("verts_no_offsets"), metres)
    report.absolute("verts", surface.vertices, golden.tensor("verts"), metres)
    report.absolute("lmks", head.landmarks(surface.vertices), golden.tensor("lmks"), metres)
    features = golden.tensor("mouth_conditioning")
    report.absolute(
        "mouth_conditioning", avatar.mouth_features(surface), features, TOLERANCE["mouth_conditioning"]
    )

    gbuffer = draw_gbuffer(
        surface.vertices, head.tables, batch.camera, ("normals", "screen_coords", "hard_labels"), backend
    )
    face = gbuffer.fragments.face_index[..., 0]
    count = len(head.faces)
    their_face = golden.tensor("pix_to_face")
    their_face = torch.where(their_face < 0, -1, their_face % count)
    differ = int((face != their_face).sum())
    report.add(
        "pix_to_face",
        face.shape,
        differ,
        differ / face.numel(),
        TOLERANCE["faces_picked"],
        differ <= TOLERANCE["faces_picked"],
    )
    same = (face == their_face) & (face >= 0)
    report.surface("bary", gbuffer.fragments.barycentric[..., 0, :], golden.tensor("bary"), same)
    report.surface("zbuf", gbuffer.fragments.depth, golden.tensor("zbuf")[..., None], same)
    coords = gbuffer["screen_coords"].permute(0, 2, 3, 1)
    agree = (face == their_face)[..., None]
    report.absolute(
        "screen_coords",
        coords * agree,
        golden.tensor("screen_coords") * agree,
        TOLERANCE["screen_coords"],
    )
    normals = torch.cat([gbuffer["normals"], gbuffer.alpha], 1).permute(0, 2, 3, 1)
    report.surface("normals", normals, golden.tensor("normals").permute(0, 2, 3, 1), same)
    semantics = torch.cat([gbuffer["hard_labels"], gbuffer.alpha], 1) * agree.permute(0, 3, 1, 2)
    theirs = golden.tensor("semantics").float() * agree.permute(0, 3, 1, 2)
    report.absolute("semantics", semantics, theirs, TOLERANCE["semantics"])


@torch.no_grad()
def check_pictures(report: Report, golden: Golden, avatar: NeuralHeadAvatar, backend: str) -> None:
    """Inference: with and without frame ids, shaded, reenacted."""
    batch = golden.batch()
    rgba = avatar(batch.tracked, batch.camera, batch.frame_id, backend)
    report.colour("rgba_eval", rgba, golden.tensor("rgba_eval"))
    report.colour(
        "rgba_noframe", avatar(batch.tracked, batch.camera, None, backend), golden.tensor("rgba_noframe")
    )
    surface = avatar.surface(avatar.corrected(batch.tracked, batch.frame_id))
    shaded = phong_picture(surface.vertices, avatar.head.faces, batch.camera, backend=backend)
    report.colour("shaded", shaded, golden.tensor("shaded"))

    driver = driving_avatar(golden, avatar)
    frames = batch.frame_id
    tracked = golden.tracking.params_for(frames.tolist())
    neutral_target, neutral_driving = (golden.tracking.params_for([i]) for i in (0, 1))
    ours = reenact(
        Actor(avatar, neutral_target, 0),
        Actor(driver, neutral_driving, 1),
        tracked,
        frames,
        golden.tracking.camera_for(frames.tolist(), golden.image_size),
        backend,
    )
    report.colour("reenact", ours[:, :3], golden.tensor("reenact"))


def driving_avatar(golden: Golden, avatar: NeuralHeadAvatar) -> NeuralHeadAvatar:
    """The avatar that drives: the same, or one with other corrections where the folder holds them."""
    corrections = golden.folder / "driving_corrections.npz"
    if not corrections.is_file():
        return avatar
    state = dict(golden.checkpoint.state)
    state |= {name: torch.from_numpy(value) for name, value in np.load(corrections).items()}
    driver = NeuralHeadAvatar(avatar.head, avatar.settings, len(state["_expr"]) - 1)
    load_avatar(driver, dataclasses.replace(golden.checkpoint, state=state))
    return driver.eval()


def stand_in_perceptual(rgb01: Tensor, target_rgb01: Tensor, alpha: Tensor) -> Tensor:
    """The golden's stand-in: mean squared difference in -1..1, no gradient near the silhouette."""
    interior = erode(alpha > 0.5, int(max(rgb01.shape[2:]) / 50))
    drawn = torch.where(interior, rgb01, rgb01.detach())
    return ((drawn - target_rgb01) * 2).square().mean()


def golden_stages(golden: Golden) -> tuple[Stage, Stage, Stage]:
    hyper = golden.checkpoint.hyper_parameters
    return make_stages(
        OptimizationSettings(
            run=RunSettings(default_root_dir=Path()),
            data=None,
            schedule=fill(ScheduleSettings, hyper),
            losses=fill(LossSettings, hyper),
            avatar=fill(AvatarSettings, hyper),
        )
    )


def check_stages(report: Report, golden: Golden, avatar: NeuralHeadAvatar, backend: str) -> None:
    """Every loss, weight, IoU and gradient of the three stages, in training mode without noise."""
    batch = golden.batch()
    objective = Objective(
        avatar, REPOSITORY / "configs" / "body_part_weights.json", perceptual=stand_in_perceptual
    )
    avatar.train().requires_grad_(True)
    for name, index in STAGES.items():
        stage = golden_stages(golden)[index]
        avatar.zero_grad()
        drawn = draw_batch(
            avatar, batch.tracked, batch.frame_id, batch.camera, paints=stage.paints, backend=backend
        )
        table = objective(stage.losses, avatar, drawn, batch)
        weights = stage.weights_at(golden.scalars[f"{name}/epoch"])
        total = table.weighted_sum(weights)
        total.backward()
        check_scalars(report, golden, name, stage, table, weights, total)
        check_gradients(report, golden, name, avatar)
    check_preparation(report, golden, objective, avatar, drawn, batch)
    avatar.eval()


def check_scalars(report, golden, name, stage, table, weights, total) -> None:
    ours = {f"{loss}_loss": value for loss, value in table.losses.items()}
    ours |= {loss: value for loss, value in table.losses.items() if loss.endswith("_reg")}
    ours |= {
        f"semantic_loss_{loss.removeprefix('semantic_')}": value
        for loss, value in table.losses.items()
        if loss.startswith("semantic_")
    }
    ours |= table.metrics | {"total_loss": total}
    ours |= {f"weight/w_{loss}": torch.tensor(weight) for loss, weight in weights.items()}
    rates = {"flame_lr": stage.flame_lr, "offset_lr": stage.offset_lr, "tex_lr": stage.tex_lr}
    rates |= {"trans_lr": stage.flame_lr * 0.1, "texture_weight_decay": stage.texture_weight_decay}
    ours |= {f"weight/{key}": torch.tensor(rate) for key, rate in rates.items()}
    for loss, key in (("lap", "lap"), ("semantic_hair", "semantic"), ("silh", "silh")):
        if loss in weights:
            ours[f"decay_{key}"] = torch.tensor(weights[loss])
    for key, value in ours.items():
        theirs = golden.scalars.get(f"{name}/{key}")
        if theirs is None:
            continue
        if key == "edge_loss":
            report.absolute(f"{name}/{key}", value, torch.tensor(theirs), TOLERANCE["edge_loss"])
        else:
            report.relative(f"{name}/{key}", value.item(), theirs, TOLERANCE["scalar"])


def check_gradients(report, golden, name, avatar) -> None:
    corrections = avatar.frame_parameters
    for table in FRAME_TABLES:
        parameter = getattr(corrections, table)
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        report.gradient(f"grad_{name}_{table}", gradient, golden.tensor(f"grad_{name}_{table}"))
    groups: dict[str, list[Tensor]] = {
        **{table: [getattr(corrections, table)] for table in FRAME_TABLES},
        "vert_feats": [avatar.vertex_features],
        "offset_mlp": offset_parameters(avatar)[1:],
        "texture": list(avatar.texture_net.parameters()),
        "normal_encoder": list(avatar.normal_encoder.parameters()),
        "expl": list(avatar.neural_texture.parameters()),
    }
    for group, parameters in groups.items():
        theirs = golden.scalars.get(f"{name}/gradnorm/{group}")
        if theirs is None:
            continue
        squares = [p.grad.square().sum() for p in parameters if p.grad is not None]
        ours = torch.stack(squares).sum().sqrt().item()
        report.relative(f"{name}/gradnorm/{group}", ours, theirs, TOLERANCE["gradient_norm"])


def check_preparation(report, golden, objective, avatar, drawn, batch) -> None:
    """What the losses make of the annotations."""
    terms = objective.terms(avatar, drawn, batch)
    report.absolute("trust_semantics", terms.trust, golden.tensor("trust_semantics"), TOLERANCE["prep"])
    rgb_pm1 = terms.target_rgb01 * 2 - 1
    report.absolute("prep_rgb", rgb_pm1, golden.tensor("prep_rgb"), TOLERANCE["prep"])
    landmarks = torch.cat([batch.landmarks_px, batch.iris_px], 1)
    theirs = golden.tensor("prep_lmk2d")[..., :2]
    report.absolute("prep_lmk2d", landmarks, theirs, TOLERANCE["prep"])


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--golden", type=Path, required=True, help="Folder with the reference's numbers.")
    parser.add_argument("--assets", type=Path, required=True, help="Folder with the head model files.")
    parser.add_argument("--backend", default="auto", help="Rasteriser: numba, triton, reference, pytorch3d.")
    parser.add_argument("--json", type=Path, help="Write the rows there as a list of objects.")
    arguments = parser.parse_args(argv)

    golden = Golden(arguments.golden)
    settings = fill(AvatarSettings, golden.checkpoint.hyper_parameters)
    head = HeadModel(
        read_head_folder(arguments.assets),
        subdivisions=settings.subdivide_mesh,
        blur_sigma=settings.spatial_blur_sigma,
    )
    avatar = build_avatar(golden, head)
    report = Report()
    print(f"{'quantity':<34} {'shape':<18} {'worst':>10} {'mean':>10} {'tolerance':>9}")
    checks: list[Callable[[], None]] = [
        lambda: check_head(report, golden, head),
        lambda: check_surface(report, golden, avatar, arguments.backend),
        lambda: check_pictures(report, golden, avatar, arguments.backend),
        lambda: check_stages(report, golden, avatar, arguments.backend),
    ]
    for check in checks:
        check()
    failed = [row.name for row in report.rows if not row.ok]
    if arguments.json:
        arguments.json.write_text(json.dumps([row.as_json() for row in report.rows], indent=1))
    print(f"{len(report.rows) - len(failed)} passed, {len(failed)} failed")
    if failed:
        print("failed: " + ", ".join(failed))
        sys.exit(1)


if __name__ == "__main__":
    run_script(main)
