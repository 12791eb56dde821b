"""The 3D mesh that the browser draws: its file, and colours that come through the browser's tone curve."""

from __future__ import annotations

import numpy as np
import pygltflib
import pytest

from nha.export.bake import MAPS
from nha.viewer.mesh_object import MeshObject
from nha.viewer.stage import State
from nha.viewer.tone import GAIN, against_tone_curve, tone_curve


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def mesh(stage, clock) -> MeshObject:
    return MeshObject(stage, 32, clock)


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
def test_the_file_is_the_posed_surface(stage, mesh, clock, values):
    clock.now += 1
    mesh.forget()
    vertices, corners = positions(mesh.update(State(values)))
    surface = stage.surface(State(values)).vertices[0].numpy()
    head = stage.avatar.head
    order = head.face_uvmap.argsort(stable=True).numpy()  # the head's faces, then the mouth's
    assert np.array_equal(vertices[corners], surface[head.faces.numpy()[order]])


def test_it_is_sent_when_it_changed_and_not_too_often(mesh, clock):
    clock.now += 1
    mesh.forget()
    assert mesh.update(State({"jaw_open": 1.0})) is not None
    assert mesh.update(State({"jaw_open": 1.0})) is None
    clock.now += 0.05
    assert mesh.update(State({"jaw_open": 2.0})) is None  # only just sent; the next round asks again
    clock.now += 0.5
    assert mesh.update(State({"jaw_open": 2.0})) is not None
    clock.now += 0.5
    assert mesh.update(State({"jaw_open": 2.0})) is None
    mesh.forget()
    assert mesh.update(State({"jaw_open": 2.0})) is not None


def linear(srgb: np.ndarray) -> np.ndarray:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def test_colours_come_out_of_the_tone_curve_as_they_went_in():
    rng = np.random.default_rng(0)
    grey = np.repeat(np.arange(0, 240, dtype=np.uint8)[:, None], 3, 1)
    skin = np.uint8([[236, 188, 160], [120, 60, 40], [90, 45, 30], [200, 90, 100], [60, 90, 160]])
    muted = rng.integers(60, 200, (200, 1)) + rng.integers(-30, 31, (200, 3))
    colours = np.concatenate([grey, skin, muted.astype(np.uint8)])[None]
    shown = tone_curve(GAIN * linear(against_tone_curve(colours) / 255))
    steps = np.abs(shown - linear(colours / 255)) / (linear((colours + 1.0) / 255) - linear(colours / 255))
    assert steps.max() < 2  # steps of a picture with 256: the texture has no more of them


def test_the_curve_is_not_the_identity():
    half = np.full((1, 3), 0.5)
    assert 0.3 < float(tone_curve(half)[0, 0]) < 0.65
    assert float(tone_curve(np.zeros((1, 3))).max()) < 1e-3
    assert (
        float(np.abs(tone_curve(np.full((1, 3), 1.0)) - 0.763).max()) < 0.01
    )  # white is shown as a light grey
