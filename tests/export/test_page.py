"""avatar.html: its tables, its file, and its images in Chromium."""

from __future__ import annotations

import base64
import json
import re

import cv2
import numpy as np
import pytest
import torch

from nha.export.accuracy import page_accuracy
from nha.export.blend_files import write_blend_files
from nha.export.page import write_page
from nha.export.page_data import page_data, quantised_image, two_level_image
from nha.export.page_images import find_chromium
from nha.export.poses import frame_params, pose_avatar
from nha.export.rig import make_rig
from tests.export.conftest import FRAMES

FLAT = (np.full((8, 8, 3), 90, np.uint8), np.full((4, 4, 3), 200, np.uint8))


def decoded(image: dict) -> np.ndarray:
    """The values [K, R, R, 3] that an image of the page stands for."""
    bgr = cv2.imdecode(np.frombuffer(base64.b64decode(image["png"]), np.uint8), cv2.IMREAD_COLOR)
    layers = bgr[..., ::-1].reshape(len(image["offset"]), image["size"], image["size"], 3).astype(float)
    return np.array(image["offset"])[:, None, None] + np.array(image["scale"])[:, None, None] * layers


def test_images_are_stored_with_offset_and_scale() -> None:
    torch.manual_seed(0)
    images = torch.randn(3, 3, 8, 8) * torch.tensor([0.01, 1.0, 5.0])[:, None, None, None]
    stored = quantised_image(images)
    step = (images.amax((2, 3)) - images.amin((2, 3)))[:, :, None, None] / 255
    difference = torch.from_numpy(decoded(stored)).permute(0, 3, 1, 2) - images
    assert (difference.abs() <= 0.501 * step + 1e-6).all()
    constant = quantised_image(torch.full((1, 3, 4, 4), 0.3))
    assert np.allclose(decoded(constant), 0.3, atol=1e-6)


def test_single_outliers_do_not_make_the_mean_image_coarse() -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 3, 16, 16)
    image[0, :, 3, 3] = -40.0
    restored = torch.from_numpy(decoded(two_level_image(image)).sum(0)).permute(2, 0, 1)
    assert (restored - image[0]).abs().max() < 0.002


def write(path, avatar, tracking, textures=FLAT) -> dict:
    """Write the page; returns the content of its data element."""
    poses = frame_params(avatar, tracking, FRAMES)
    rig = make_rig(avatar, pose_avatar(avatar, tracking, None).surface, avatar.head.n_expr, poses)
    camera = tracking.camera_for([0], tracking.image_size)
    write_page(path, avatar, rig, poses, textures, camera, frame_rate=25.0, comment="ours -- <b>")
    element = re.search(
        r'<script id="avatar" type="application/json">(.*?)</script>', path.read_text("utf-8")
    )
    return json.loads(element[1])


def test_the_page_needs_no_other_file(blend_avatar, tracking, tmp_path) -> None:
    path = tmp_path / "avatar.html"
    content = write(path, blend_avatar, tracking)
    text = path.read_text("utf-8")
    assert not re.search(r'(src|href)\s*=\s*["\']?(https?:)?//', text)
    assert "The MIT License" in text  # of three.js
    assert "<b>" not in text.split("<style>")[0]
    assert path.stat().st_size < 3e6
    assert len(content["maps"]) == 2
    assert content["blend"]["basis"] == 2


def test_morph_targets_are_stored_to_a_hundredth_of_a_millimetre(blend_avatar, tracking) -> None:
    import gzip

    poses = frame_params(blend_avatar, tracking, FRAMES)
    bind = pose_avatar(blend_avatar, tracking, None).surface
    rig = make_rig(blend_avatar, bind, blend_avatar.head.n_expr, poses)
    content = page_data(blend_avatar, rig, poses, FLAT)
    data = gzip.decompress(base64.b64decode(content["data"]))
    arrays = {
        entry["name"]: np.frombuffer(data, entry["type"], entry["size"], entry["start"])
        for entry in content["arrays"]
    }
    for k, delta in enumerate(rig.morphs.deltas.numpy()):
        rows = slice(arrays["morphStart"][k], arrays["morphStart"][k + 1])
        stored = np.zeros_like(delta)
        steps = arrays["morphSteps"].reshape(-1, 3)[rows]
        stored[arrays["morphRows"][rows]] = arrays["morphScales"][k] * steps
        assert np.abs(stored - delta).max() < 1e-5


def test_the_page_has_all_inputs_of_the_weights(blend_avatar) -> None:
    """Shapes and colours do not depend on the expression coefficients, which the page leaves out."""
    used = blend_avatar.drive.names["expression"].start
    assert not blend_avatar.driven[:, used:].any()
    assert blend_avatar.texture_weights.hidden.in_features == used


def test_images_and_weights_as_files_give_the_avatars_colours(blend_avatar, tracking, tmp_path) -> None:
    """The documented formula in numpy, at the texels of the mean image, against the avatar's texture."""
    params = frame_params(blend_avatar, tracking, FRAMES)
    camera = tracking.camera_for([0], tracking.image_size)
    write_blend_files(tmp_path, blend_avatar, params, camera)
    content = json.loads((tmp_path / "blend_textures.json").read_text("utf-8"))
    weights = blend_avatar.basis_weights(blend_avatar.scaled_drive(params, camera))
    for number, (name, texture) in enumerate(
        {"head": blend_avatar.head_texture, "mouth": blend_avatar.mouth_texture}.items()
    ):
        files = {}
        for kind, image in content["maps"][name].items():
            png = base64.b64encode((tmp_path / image["file"]).read_bytes())
            files[kind] = decoded(image | {"png": png})
        assert len(files["basis"]) == content["maps"][name]["basis"]["images"] == 2
        mean, blended = texture.maps(weights[number][2:3])
        own = np.tensordot(np.array(content["weights"][2][number]), files["basis"], 1)
        assert np.abs(own - blended[0].permute(1, 2, 0).numpy()).max() < 0.01
        assert np.abs(files["mean"].sum(0) - mean[0].permute(1, 2, 0).numpy()).max() < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("model", ["blend_avatar", "still_avatar", "plain_avatar"])
def test_chromium_draws_the_avatars_images(model, request, tracking, tmp_path) -> None:
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("Chromium is not installed")
    avatar = request.getfixturevalue(model)
    write(tmp_path / "avatar.html", avatar, tracking)
    scores = page_accuracy(avatar, tracking, tmp_path / "avatar.html", chromium)
    assert scores["vertices"]["max_mm"] < 0.05
    if model == "blend_avatar":
        assert scores["images"]["inner_psnr"] > 40
        assert scores["images"]["covered_psnr"] > 35  # 30 without blended edges
        assert scores["images"]["psnr"] > 35
