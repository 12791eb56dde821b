"""Rows of the estimators' networks and the perceptual network, with weights that are functions of their names.

A network of the folder is NAME.json (names and shapes of its tensors, description of its inputs) and NAME.npz
(outputs). `NETWORKS` has a function for each; add an entry for a further network.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor, from_numpy

from nha.core.errors import UserError
from nha.losses.perceptual import perceptual_distance
from nha.nets.iresnet import IResNet18
from nha.preprocess.networks.bisenet import BiSeNet
from nha.preprocess.networks.resnet_unet import ResNetUNet
from nha.preprocess.networks.robust_video_matting import RobustVideoMatting
from parity_checks.deterministic import filled, images_of
from parity_checks.golden_folder import read_arrays, read_json
from parity_checks.report import Report

State = dict[str, Tensor]


def arcface_r18(state: State, images: list[Tensor], _: str) -> Mapping[str, Tensor]:
    """The perceptual loss between two images in -1..1, its gradient, and the means of the four taps."""
    rendered, target = images
    net = IResNet18()
    net.load_state_dict(state)
    rendered = rendered.requires_grad_()
    taps = net(rendered)
    loss = perceptual_distance(taps, net(target))
    loss.backward()
    means = {f"relu{i}": tap.mean((2, 3)) for i, tap in enumerate(taps, start=1)}
    return {"loss": loss, "grad": rendered.grad, **means}


def bisenet(state: State, images: list[Tensor], _: str) -> Mapping[str, Tensor]:
    """The scores of a normalised image."""
    net = BiSeNet()
    net.load_state_dict(state)
    return {"logits": net(*images)}


def face_normals(state: State, images: list[Tensor], _: str) -> Mapping[str, Tensor]:
    """The network's output for an image in 0..1."""
    net = ResNetUNet()
    net.load_state_dict(state)
    return {"normals": net(*images)}


def rvm_mobilenetv3(state: State, frames: list[Tensor], description: str) -> Mapping[str, Tensor]:
    """Mattes and foregrounds of frames in 0..1, one after the other."""
    ratio = re.search(r"downsample_ratio ([\d.]*\d)", description)
    net = RobustVideoMatting()
    net.load_state_dict(state)
    outputs, memory = {}, None
    for i, frame in enumerate(frames):
        foreground, alpha, memory = net(frame, memory, float(ratio[1]) if ratio else 1.0)
        outputs |= {f"alpha_{i}": alpha, f"fgr_{i}": foreground}
    return outputs


# name of the files -> function of (state dict, described images, description) to outputs by their names in the npz.
# Outputs have full resolution; `thinned` reduces them to the reference's shapes.
NETWORKS: dict[str, Callable[[State, list[Tensor], str], Mapping[str, Tensor]]] = {
    "arcface_r18": arcface_r18,
    "bisenet": bisenet,
    "face_normals": face_normals,
    "rvm_mobilenetv3": rvm_mobilenetv3,
}


def check_networks(report: Report, folder: Path) -> None:
    """Check every network of the folder with an entry; the others are listed. Raises UserError if there is none."""
    names = sorted({path.stem for path in folder.iterdir()} if folder.is_dir() else ())
    names = [name for name in names if (folder / f"{name}.json").is_file()]
    if not names:
        raise UserError(f"'{folder}' holds no networks (NAME.json with NAME.npz); give a folder of them")
    for name in names:
        if name not in NETWORKS:
            report.not_checked(name, "this project has no such network")
        elif not (folder / f"{name}.npz").is_file():
            raise UserError(f"'{folder}' has {name}.json but no {name}.npz; copy it again")
        else:
            check_network(report, name, folder)


def check_network(report: Report, name: str, folder: Path) -> None:
    """Check names and shapes of the tensors (loading is strict) and every output of one network."""
    description, golden = read_json(folder / f"{name}.json"), read_arrays(folder / f"{name}.npz")
    shapes = {key: tuple(shape) for key, shape in description["state_dict"].items()}
    state = {key: filled(key, shape) for key, shape in shapes.items()}
    try:
        outputs = NETWORKS[name](state, images_of(description["input"]), description["input"])
    except RuntimeError as error:  # raised by torch for names or shapes that do not fit
        print(f"{name}: {str(error).splitlines()[-1].strip()}")
        report.add(f"{name}/state_dict", (len(shapes),), math.inf, math.inf, report.tolerance["tables"])
        return
    report.add(f"{name}/state_dict", (len(shapes),), 0, 0, report.tolerance["tables"])
    for key, ours in outputs.items():
        if key not in golden:
            continue
        quantity, theirs = f"{name}/{key}", from_numpy(golden[key])
        if key == "loss":
            report.relative(quantity, ours, theirs.item())
        elif key == "grad":
            report.gradient(quantity, ours, theirs)
        else:
            report.scaled(quantity, thinned(ours, theirs.shape), theirs, "network")
    report.rest_not_checked((f"{name}/{key}" for key in golden), "the network's function does not return it")


def thinned(ours: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Every n-th pixel of [..., H, W], with n such that the result has `shape`; unchanged if there is no such n."""
    if ours.ndim != 4 or len(shape) != 4:
        return ours
    for step in range(1, ours.shape[-1] + 1):
        image = ours[..., ::step, ::step]
        if image.shape == shape:
            return image
    return ours
