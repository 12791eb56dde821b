import dataclasses
import os

import numpy as np
import pytest
import torch

from nha.core.errors import UserError
from nha.core.types import map_tensors
from nha.data import dataset_folder as df
from nha.data.frame_dataset import FrameDataset, decode_normal_planes
from nha.data.frame_store import CACHE_FOLDER, FrameStore
from nha.data.tracking_file import read_tracking
from tests.golden_frames import write_golden_frames


def open_dataset(tiny, frame_ids, cache="auto") -> FrameDataset:
    folder = df.DatasetFolder.open(tiny.data_path)
    store = FrameStore(folder, frame_ids, cache)
    return FrameDataset(folder, read_tracking(tiny.tracking_path), frame_ids, store)


@pytest.mark.parametrize("cache", ["auto", "none"])
def test_a_batch_holds_what_the_readers_read(tiny_dataset, cache):
    tiny = tiny_dataset(frame_ids=(3, 4, 8, 12))
    dataset = open_dataset(tiny, [12, 3, 8], cache)
    batch = dataset.batch([2, 0])
    assert batch.frame_id.tolist() == [8, 12]
    tracking = read_tracking(tiny.tracking_path)
    for row, frame_id in enumerate([8, 12]):
        paths = dataset.folder.paths(frame_id)
        np.testing.assert_allclose(
            batch.rgb01[row], df.read_rgb(paths.image).transpose(2, 0, 1) / 255, atol=1e-7
        )
        np.testing.assert_array_equal(batch.segmentation[row], df.read_labels(paths.segmentation))
        np.testing.assert_array_equal(batch.parsing[row], df.read_labels(paths.parsing))
        np.testing.assert_allclose(
            batch.normals[row], df.read_normals(paths.normals).transpose(2, 0, 1), atol=1e-6
        )
        keypoints = df.read_keypoints(paths.keypoints)
        np.testing.assert_array_equal(batch.landmarks_px[row], keypoints.landmarks_px)
        np.testing.assert_array_equal(batch.landmark_confidence[row], keypoints.confidence)
        np.testing.assert_array_equal(batch.iris_px[row], keypoints.iris_px)
        np.testing.assert_array_equal(batch.tracked.expr[row], tracking.params_for([frame_id]).expr[0])
        rows = np.nonzero((df.read_labels(paths.parsing) == 5).any(1))[0]
        assert batch.eye_height_px[row, 1] == rows.max() - rows.min()
    assert batch.camera.image_size == dataset.image_size == (24, 32)
    assert {batch.segmentation.dtype, batch.parsing.dtype, batch.frame_id.dtype} == {torch.long}
    assert batch.normals.shape == batch.rgb01.shape == (2, 3, 24, 32)


def test_items_and_devices(tiny_dataset):
    dataset = open_dataset(tiny_dataset(), [0, 1, 2])
    assert len(dataset) == 3
    assert dataset[-1].frame_id.tolist() == [2]
    with pytest.raises(IndexError):
        dataset[3]
    moved = dataset.batch([0, 1]).to("meta")
    devices = set()
    map_tensors(moved, lambda tensor: devices.add(tensor.device.type) or tensor)
    assert devices == {"meta"}
    assert (len(moved), moved.camera.image_size) == (2, (24, 32))


def test_fast_normals_equal_the_slow_ones():
    encoded = torch.randint(
        0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    encoded[0, :, :32] = torch.randint(126, 130, (3, 32, 64), generator=torch.Generator().manual_seed(1))
    expected = df.decode_normals(encoded.permute(0, 2, 3, 1).numpy())
    fast = decode_normal_planes(encoded)
    np.testing.assert_allclose(fast.permute(0, 2, 3, 1), expected, atol=1e-7)
    assert (fast == 0).all(1).sum() == (expected == 0).all(-1).sum() > 0


def test_the_reference_batch_survives_files(golden_dir, tmp_path):
    golden = np.load(golden_dir / "a" / "golden.npz")
    folder = write_golden_frames(golden, tmp_path / "data")
    store = FrameStore(folder, golden["in_frame"])
    dataset = FrameDataset(folder, read_tracking(golden_dir / "a"), golden["in_frame"], store)
    batch = dataset.batch([0, 1])
    np.testing.assert_allclose(batch.rgb01 * 2 - 1, golden["in_rgb"], atol=1 / 127)
    np.testing.assert_allclose(batch.normals, golden["in_normal"], atol=1.01 / 127)
    np.testing.assert_array_equal(batch.parsing[:, None], golden["in_parsing"])
    np.testing.assert_array_equal(batch.segmentation[:, None], golden["in_seg"])
    np.testing.assert_array_equal(batch.eye_height_px.T, golden["in_eye_distance"])
    np.testing.assert_allclose(batch.landmarks_px, golden["in_lmk2d"][..., :2], atol=1e-5)
    np.testing.assert_allclose(batch.iris_px, golden["in_lmk2d_iris"][..., :2], atol=1e-5)
    np.testing.assert_allclose(batch.camera.intrinsics, golden["in_cam_intrinsic"], rtol=1e-6)
    np.testing.assert_array_equal(batch.tracked.shape, golden["in_flame_shape"])


# --- the store -------------------------------------------------------------------------------------------


def test_the_store_is_built_once_and_again_after_a_change(tiny_dataset):
    tiny = tiny_dataset()
    first = open_dataset(tiny, [0, 1])
    rgb_file = first.store.directory / "rgb.npy"
    assert rgb_file.parent.parent == tiny.data_path / CACHE_FOLDER
    written = rgb_file.stat().st_mtime_ns
    second = open_dataset(tiny, [0, 1])
    assert (second.store.directory, rgb_file.stat().st_mtime_ns) == (first.store.directory, written)

    paths = first.folder.paths(1)
    df.write_rgb(paths.image, np.full((24, 32, 3), 255, np.uint8))
    third = open_dataset(tiny, [0, 1])
    assert (third.batch([1]).rgb01 == 1).all()
    assert [path.name for path in (tiny.data_path / CACHE_FOLDER).iterdir()] == [third.store.directory.name]
    assert first.batch([0]).rgb01.shape == (1, 3, 24, 32)  # whoever reads the old one still can
    assert first.folder.frame_ids() == [0, 1, 2, 3]  # and the cache is no frame


def test_a_damaged_store_is_built_again(tiny_dataset):
    tiny = tiny_dataset()
    dataset = open_dataset(tiny, [0, 1])
    expected = dataset.batch([0]).rgb01
    (dataset.store.directory / "rgb.npy").write_bytes(b"cut")
    assert torch.equal(open_dataset(tiny, [0, 1]).batch([0]).rgb01, expected)


def test_where_the_store_lies(tiny_dataset, tmp_path, monkeypatch):
    tiny = tiny_dataset()
    elsewhere = open_dataset(tiny, [0], tmp_path / "my cache")
    assert elsewhere.store.directory.parent == tmp_path / "my cache"
    assert open_dataset(tiny, [0], "none").store.directory is None
    assert not (tiny.data_path / CACHE_FOLDER).exists()
    (tmp_path / "a file").write_text("")
    with pytest.raises(UserError, match="choose another --frame_cache"):
        open_dataset(tiny, [0], tmp_path / "a file")
    # A dataset that cannot be written in keeps its store with the temporary files.
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: CACHE_FOLDER not in str(path) and real(path, mode))
    assert open_dataset(tiny, [0]).store.directory.parent.parent == tmp_path


# --- mistakes --------------------------------------------------------------------------------------------


def test_missing_files_are_listed(tiny_dataset):
    tiny = tiny_dataset()
    folder = df.DatasetFolder(tiny.data_path)
    folder.paths(1).segmentation.unlink()
    folder.paths(2).image.unlink()
    with pytest.raises(
        UserError, match=r"lacks 2 files: frame_0001/seg_0001.png, frame_0002/image_0002.png;"
    ):
        open_dataset(tiny, [0, 1, 2])
    assert len(open_dataset(tiny, [0, 3])) == 2


def test_a_tracking_of_another_dataset_is_refused(tiny_dataset):
    tiny = tiny_dataset()
    folder, tracking = df.DatasetFolder(tiny.data_path), read_tracking(tiny.tracking_path)
    store = FrameStore(folder, [0, 1, 2, 3])
    with pytest.raises(UserError, match="does not match .* it has no frame 2, 3;"):
        FrameDataset(folder, dataclasses.replace(tracking, frame=np.array([0, 1, 7, 8])), [0, 2, 3], store)
    with pytest.raises(UserError, match="made from images of 100 x 50 pixels, these have 32 x 24"):
        FrameDataset(folder, dataclasses.replace(tracking, image_size=(50, 100)), [0, 1], store)


@pytest.mark.parametrize("cache", ["auto", "none"])
def test_images_of_different_size_are_refused(tiny_dataset, cache):
    tiny = tiny_dataset()
    paths = df.DatasetFolder(tiny.data_path).paths(2)
    df.write_labels(paths.parsing, np.zeros((5, 5), np.uint8))
    with pytest.raises(UserError, match=r"parsing_0002.png' is 5 x 5 pixels, but its image is 32 x 24"):
        open_dataset(tiny, [0, 2], cache).batch([1])
    for path in (paths.parsing, paths.segmentation):
        df.write_labels(path, np.zeros((5, 5), np.uint8))
    for path in (paths.image, paths.normals):
        df.write_rgb(path, np.zeros((5, 5, 3), np.uint8))
    with pytest.raises(UserError, match="all frames of a dataset must have one size"):
        open_dataset(tiny, [0, 2], cache).batch([1])


def test_a_store_that_fails_leaves_nothing_behind(tiny_dataset):
    tiny = tiny_dataset()
    folder = df.DatasetFolder(tiny.data_path)
    folder.paths(2).image.write_bytes(b"no image")
    with pytest.raises(UserError, match="not a readable image"):
        FrameStore(folder, [0, 1, 2])
    assert list((tiny.data_path / CACHE_FOLDER).iterdir()) == []
