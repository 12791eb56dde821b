"""The three texture networks with a published checkpoint, on the reference's G-buffer, against its image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from nha.core.safe_pickle import load_pickle
from nha.nets.neural_texture import NeuralTexture
from nha.nets.normal_encoder import NormalEncoder
from nha.nets.texture_net import TextureNet

SOFT_CLIP_SIGMA = 0.1


def loaded(module: torch.nn.Module, state: dict, prefix: str) -> torch.nn.Module:
    own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    module.load_state_dict(own)
    return module


@pytest.mark.parametrize("case", ["a", "c"])
def test_colours_of_a_published_checkpoint(golden_dir, shared_dir, published_checkpoint, case):
    checkpoint = published_checkpoint(case)
    state = checkpoint.state
    texture_net = loaded(TextureNet(), state, "texture_net.")
    encoder = loaded(NormalEncoder(), state, "normal_encoder.")
    texture = loaded(NeuralTexture(), state, "neural_texture.")
    with np.load(golden_dir / case / "golden.npz") as golden:
        names = ("pix_to_face", "bary", "normals", "mouth_conditioning", "faces", "vert_labels")
        names += ("face_uvcoords", "face_uvmap", "face_coords_normed", "rgba_eval")
        g = {name: torch.from_numpy(golden[name]) for name in names}

    image, row, column = (g["pix_to_face"] >= 0).nonzero(as_tuple=True)
    face = g["pix_to_face"][image, row, column] % len(g["faces"])
    bary = g["bary"][image, row, column][:, None]  # [P, 1, 3]
    parts = sorted(load_pickle(shared_dir / "flame_like" / "FLAME_masks_mouth.pkl"))
    mouth_label = g["vert_labels"][:, parts.index("mouth")].float()
    mouth_weight = (bary[:, 0] * mouth_label[g["faces"][face]]).sum(1)

    condition = g["mouth_conditioning"].clamp(
        state["condition_ranges.mouth_min"], state["condition_ranges.mouth_max"]
    )
    condition[:, -3:] = torch.tanh(condition[:, -3:] / (math.pi / 4) * SOFT_CLIP_SIGMA)
    with torch.no_grad():
        uvs = (bary @ g["face_uvcoords"][face])[:, 0, :2]
        points = (bary @ g["face_coords_normed"][face])[:, 0]
        colours = texture_net(
            torch.cat([points, texture(uvs, g["face_uvmap"][face])], 1),
            encoder.at_pixels(g["normals"][:, :3], image, row, column),
            condition,
            image,
            mouth_weight,
            (1 - mouth_weight).clamp(min=0),
        )
    difference = ((colours + 1) / 2 - g["rgba_eval"].permute(0, 2, 3, 1)[image, row, column, :3]).abs()
    assert (mouth_weight > 0).any()
    assert difference.mean() < 2e-5
    assert (difference.amax(1) > 5e-3).float().mean() <= 1e-4
