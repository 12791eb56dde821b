"""The 3D mesh that the browser renders: its file, and the inverse of the browser's tone curve."""

from __future__ import annotations

import numpy as np
import pygltflib
import pytest

from nha.export.bake import MAPS
from nha.viewer.scene import ControlState
from nha.viewer.scene_mesh import SceneMesh
from nha.viewer.tone_curve import GAIN, inverse_tone_curve


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def mesh(scene, clock) -> SceneMesh:
    return SceneMesh(scene, 32, clock)


def positions(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [W, 3] and corners [F, 3] of a GLB's primitives together."""
    file = pygltflib.GLTF2.load_from_bytes(data)
    blob = file.binary_blob()

    def read(index: int, kind: str, columns: int) -> np.ndarray:
        accessor = file.accessors[index]
        start = file.bufferViews[accessor.bufferView].byteOffset
        return np.frombuffer(blob, kind, accessor.count * columns, start).reshape(-1, columns)

    primitives = file.meshes[0].primitives
    assert [file.materials[primitive.material].name for primitive in primitives] == list(MAPS)
    assert all("KHR_materials_unlit" in material.extensions for material in file.materials)
    corners = [read(primitive.indices, "<u4", 1).reshape(-1, 3) for primitive in primitives]
    return read(primitives[0].attributes.POSITION, "<f4", 3), np.concatenate(corners)


@pytest.mark.parametrize("values", [{}, {"jaw_open": 15.0, "rotation_turn": 30.0}])
def test_the_file_is_the_posed_surface(scene, mesh, clock, values):
    clock.now += 1
    mesh.invalidate()
    vertices, corners = positions(mesh.update(ControlState(values)))
    surface = scene.surface(ControlState(values)).vertices[0].numpy()
    head = scene.avatar.head
    order = head.face_uvmap.argsort(stable=True).numpy()  # the head's faces, then the mouth's
    assert np.array_equal(vertices[corners], surface[head.faces.numpy()[order]])


def test_a_file_is_made_for_a_change_and_not_too_often(mesh, clock):
    clock.now += 1
    mesh.invalidate()
    assert mesh.update(ControlState({"jaw_open": 1.0})) is not None
    assert mesh.update(ControlState({"jaw_open": 1.0})) is None
    clock.now += 0.05
    assert mesh.update(ControlState({"jaw_open": 2.0})) is None  # too early after the last file
    clock.now += 0.5
    assert mesh.update(ControlState({"jaw_open": 2.0})) is not None
    clock.now += 0.5
    assert mesh.update(ControlState({"jaw_open": 2.0})) is None
    mesh.invalidate()
    assert mesh.update(ControlState({"jaw_open": 2.0})) is not None


def linear(srgb: np.ndarray) -> np.ndarray:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def tone_curve(rgb: np.ndarray) -> np.ndarray:
    """Stephen Hill's fit of the ACES curve as in three.js: linear colours [..., 3] of a scene to linear 0..1."""
    to_curve = np.array(
        [[0.59719, 0.35458, 0.04823], [0.07600, 0.90834, 0.01566], [0.02840, 0.13383, 0.83777]]
    )
    from_curve = np.array(
        [[1.60475, -0.53108, -0.07367], [-0.10208, 1.10813, -0.00605], [-0.00327, -0.07276, 1.07602]]
    )
    v = rgb / 0.6 @ to_curve.T
    mapped = (v * (v + 0.0245786) - 0.000090537) / (v * (0.983729 * v + 0.4329510) + 0.238081)
    return (mapped @ from_curve.T).clip(0, 1)


def test_the_tone_curve_restores_the_colours():
    rng = np.random.default_rng(0)
    grey = np.repeat(np.arange(0, 240, dtype=np.uint8)[:, None], 3, 1)
    skin = np.uint8([[236, 188, 160], [120, 60, 40], [90, 45, 30], [200, 90, 100], [60, 90, 160]])
    muted = rng.integers(60, 200, (200, 1)) + rng.integers(-30, 31, (200, 3))
    colours = np.concatenate([grey, skin, muted.astype(np.uint8)])[None]
    shown = tone_curve(GAIN * linear(inverse_tone_curve(colours) / 255))
    steps = np.abs(shown - linear(colours / 255)) / (linear((colours + 1.0) / 255) - linear(colours / 255))
    assert steps.max() < 2  # in steps of 1/255, the texture's own resolution


def test_the_tone_curve_is_not_the_identity():
    assert 0.3 < float(tone_curve(np.full((1, 3), 0.5))[0, 0]) < 0.65
    assert float(tone_curve(np.zeros((1, 3))).max()) < 1e-3
    white = tone_curve(np.full((1, 3), 1.0))  # shown as a light grey
    assert float(np.abs(white - 0.763).max()) < 0.01
