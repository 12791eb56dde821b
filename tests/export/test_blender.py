"""The GLB in Blender itself; needs a Python with `bpy`, named by the environment variable NHA_BPY_PYTHON."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from nha.avatar.base import HeadAvatar
from nha.core.conventions import EYE_CLOSURE_PAIRS, INNER_LIP_PAIRS
from nha.data.tracking_file import TrackingResult, write_tracking
from nha.export.poses import frame_params
from nha.export.run import export_avatar
from nha.export.settings import ExportSettings
from nha.head.arkit_shapes import ARKIT_NAMES
from nha.head.load import load_head
from nha.head.model import HeadModel
from tests.export.conftest import FRAMES, make_calm_avatar, moving_tracking
from tests.export.glb_twin import GlbTwin, rows

PYTHON = os.environ.get("NHA_BPY_PYTHON")
SCRIPT = Path(__file__).with_name("blender_script.py")
pytestmark = pytest.mark.skipif(
    not PYTHON, reason="NHA_BPY_PYTHON does not name a Python with Blender's package bpy"
)
MATERIALS = {"face", "eyes", "neck", "scalp", "mouth"}


class Imported:
    """A file in Blender: `facts`, and vertices [W, 3] of the poses in metres and in glTF's axes."""

    def __init__(self, folder: Path, avatar: Any, tracking: Any, **options: Any) -> None:
        tracked = folder / "tracking.npz"
        write_tracking(tracked, tracking)
        options |= {"formats": ("glb",), "texture_size": 32, "device": "cpu"}
        _, self.summary = export_avatar(
            ExportSettings(ckpt=None, out=folder / "export", tracking=tracked, **options), avatar
        )
        self.glb, self.head = folder / "export" / "avatar.glb", avatar.head
        height, width = tracking.image_size
        command = [PYTHON, SCRIPT, self.glb, folder / "out.npz", folder / "out.png", str(width), str(height)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        with np.load(folder / "out.npz") as archive:
            self.vertices = {name: archive[name] for name in archive.files if name != "facts"}
            self.facts = json.loads(str(archive["facts"]))
        self.image = cv2.imread(str(folder / "out.png"), cv2.IMREAD_UNCHANGED)

    def gap(self, pose: str, pairs: tuple[tuple[int, int], ...]) -> float:
        """Mean distance in metres of pairs of landmarks, signed by the direction in the neutral pose."""
        neutral, posed = (self._landmarks(name) for name in ("neutral", pose))
        upper, lower = (list(ids) for ids in zip(*pairs, strict=True))
        direction = torch.nn.functional.normalize(neutral[upper] - neutral[lower], dim=1)
        return float(((posed[upper] - posed[lower]) * direction).sum(1).mean())

    def _landmarks(self, pose: str) -> torch.Tensor:
        vertices = torch.zeros(self.head.n_vertices, 3)
        vertices[torch.from_numpy(rows(self.head))] = torch.from_numpy(self.vertices[pose]).float()
        return self.head.landmarks(vertices[None])[0]


@pytest.fixture(scope="module")
def imported(calm_avatar, tracking, tmp_path_factory) -> Imported:
    return Imported(tmp_path_factory.mktemp("blender"), calm_avatar, tracking)


@pytest.fixture(scope="module")
def arkit(calm_avatar, tracking, tmp_path_factory) -> Imported:
    folder = tmp_path_factory.mktemp("arkit")
    return Imported(folder, calm_avatar, tracking, shapes="arkit", material="lit")


def test_objects_materials_and_facts(imported, arkit) -> None:
    objects = imported.facts["objects"]
    assert objects["avatar"] == ["MESH", "avatar_rig"]
    assert objects["avatar_rig"] == ["ARMATURE", None]
    assert objects["video"] == ["CAMERA", None]
    assert imported.facts["bones"] == ["root", "neck", "jaw", "left_eye", "right_eye"]
    assert set(imported.facts["materials"]) == set(arkit.facts["materials"]) == MATERIALS
    for name in MATERIALS:
        assert "BSDF_PRINCIPLED" not in imported.facts["materials"][name]
        assert "BSDF_PRINCIPLED" in arkit.facts["materials"][name]
    assert len(set(imported.facts["faces"])) == len(MATERIALS)
    extras = imported.facts["extras"]
    assert extras["units"].startswith("metres")
    assert "Apache" in extras["licence"]
    assert "nha export" in extras["source"]
    assert imported.facts["custom_normals"]


def test_shape_keys_move_what_the_targets_move(imported, arkit) -> None:
    for result in (imported, arkit):
        names = result.summary["glb"]["morph_targets"]
        assert result.facts["shape_keys"] == ["Basis", *names]
        twin = GlbTwin(result.glb)
        for k, name in enumerate(names):
            moved = result.vertices[f"key_{name}"] - result.vertices["neutral"]
            expected = np.linalg.norm(twin.target(k), axis=1)  # all joints are at rest
            assert np.abs(np.linalg.norm(moved, axis=1) - expected).max() < 2e-5, name
    assert set(ARKIT_NAMES) <= set(arkit.facts["shape_keys"])


def test_the_blink_closes_the_eyes_and_the_jaw_opens(imported, arkit) -> None:
    both = {"right": EYE_CLOSURE_PAIRS[:2], "left": EYE_CLOSURE_PAIRS[2:]}
    for pairs in both.values():
        assert abs(imported.gap("key_blink", pairs)) < 0.1 * imported.gap("neutral", pairs)
    left, right = both["left"], both["right"]
    assert abs(arkit.gap("key_eyeBlinkLeft", left)) < 0.1 * arkit.gap("neutral", left)
    assert arkit.gap("key_eyeBlinkLeft", right) > 0.8 * arkit.gap("neutral", right)
    for result, pose in ((imported, "jaw"), (arkit, "jaw"), (arkit, "key_jawOpen")):
        opened = result.gap(pose, INNER_LIP_PAIRS) - result.gap("neutral", INNER_LIP_PAIRS)
        assert opened > 0.008


def require_same_motion(imported: Imported, avatar: HeadAvatar, tracking: TrackingResult) -> None:
    """Every frame has the avatar's vertices; eyeballs may lie behind them, as the summary says."""
    assert imported.facts["action_frames"] == [0, max(FRAMES)]  # imported at 25 frames a second
    expected = avatar.surface(frame_params(avatar, tracking, FRAMES)).vertices.numpy()
    row = rows(avatar.head)
    labels = [avatar.head.part(f"{side}_eyeball") for side in ("left", "right")]
    eyes = (avatar.head.hard_labels[:, labels] > 0).any(1).numpy()[row]
    shift = max(imported.summary["glb"]["eyeballs_moved_back_mm"]) / 1000
    for k, frame in enumerate(FRAMES):
        error = np.linalg.norm(imported.vertices[f"frame_{frame}"] - expected[k][row], axis=1)
        assert error[~eyes].max() < 5e-5
        assert error[eyes].max() < shift + 1e-4


def test_the_animation_is_the_avatars(imported, calm_avatar, tracking) -> None:
    require_same_motion(imported, calm_avatar, tracking)
    weights = GlbTwin(imported.glb).key(1)[2]
    ranges = [imported.facts["slider_ranges"][name] for name in imported.summary["glb"]["morph_targets"]]
    lowest, highest = np.array(ranges).T
    assert weights.min() < -0.1
    assert (lowest <= weights + 1e-6).all()
    assert (weights - 1e-6 <= highest).all()


def test_the_animation_of_a_flame_shaped_head(flame_like, tmp_path) -> None:
    assets = load_head(flame_like)
    head = HeadModel(assets, subdivisions=0)
    tracking = moving_tracking(head, assets)
    avatar = make_calm_avatar(head, tracking)
    imported = Imported(tmp_path, avatar, tracking, morphs=head.n_expr)
    require_same_motion(imported, avatar, tracking)
    assert set(imported.facts["materials"]) == MATERIALS


def test_the_rendered_image_covers_what_the_avatars_covers(imported, calm_avatar, tracking) -> None:
    params = frame_params(calm_avatar, tracking, FRAMES[:1])
    own = calm_avatar.render(params, tracking.camera_for([0], tracking.image_size), corrected=True)
    ours, theirs = own.alpha[0, 0].numpy() > 0.5, imported.image[..., 3] > 127
    assert (ours & theirs).sum() > 0.95 * (ours | theirs).sum() > 0
