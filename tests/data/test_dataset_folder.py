import json

import numpy as np
import pytest

from nha.core.errors import UserError
from nha.data import dataset_folder as df


@pytest.fixture
def keypoints():
    rng = np.random.default_rng(0)
    return df.Keypoints(
        landmarks_px=rng.uniform(0, 200, (68, 2)).astype(np.float32),
        depth=rng.normal(size=68).astype(np.float32),
        confidence=rng.uniform(0, 1, 68).astype(np.float32),
        iris_px=np.float32([[60.5, 80.25], [120, 81]]),
        bounding_box=(1.0, 2.0, 100.0, 120.0, 0.9),
        origin="test",
    )


def test_names_follow_the_published_layout(tmp_path):
    paths = df.DatasetFolder(tmp_path).paths(7)
    assert [str(path.relative_to(tmp_path)) for path in paths.files()] == [
        "frame_0007/image_0007.png",
        "frame_0007/keypoints_static_0007.json",
        "frame_0007/parsing_0007.png",
        "frame_0007/seg_0007.png",
        "frame_0007/normals_0007.png",
    ]
    assert df.DatasetFolder(tmp_path).paths(12345).image.name == "image_12345.png"


def test_frame_ids_are_sorted_and_need_not_be_contiguous(tmp_path):
    for name in (
        "frame_0010",
        "frame_0002",
        "frame_10001",
        "frame_x",
        "frame_3",
        "other",
        ".frame_0004.part",
    ):
        (tmp_path / name).mkdir()
    (tmp_path / "frame_0005").write_text("a file is no frame")
    assert df.DatasetFolder(tmp_path).frame_ids() == [2, 10, 10001]


def test_open_refuses_what_is_no_dataset(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        df.DatasetFolder.open(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no frame_0000"):
        df.DatasetFolder.open(tmp_path)
    assert df.DatasetFolder(tmp_path / "nowhere").frame_ids() == []


def test_missing_files_are_named(tmp_path):
    paths = df.DatasetFolder(tmp_path).paths(0)
    df.write_rgb(paths.image, np.zeros((2, 2, 3), np.uint8))
    assert paths.missing() == [paths.keypoints, paths.parsing, paths.segmentation, paths.normals]


def test_images_round_trip(spaced_dir):
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (5, 7, 3), np.uint8)
    labels = rng.integers(0, 256, (5, 7), np.uint8)
    df.write_rgb(spaced_dir / "a b.png", rgb)
    df.write_labels(spaced_dir / "l.png", labels)
    np.testing.assert_array_equal(df.read_rgb(spaced_dir / "a b.png"), rgb)
    np.testing.assert_array_equal(df.read_labels(spaced_dir / "l.png"), labels)
    assert sorted(path.name for path in spaced_dir.iterdir()) == ["a b.png", "l.png"]


def test_labels_saved_as_rgb_are_read_and_colours_are_refused(tmp_path):
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    df.write_rgb(tmp_path / "grey.png", np.repeat(labels[..., None], 3, 2))
    np.testing.assert_array_equal(df.read_labels(tmp_path / "grey.png"), labels)
    df.write_rgb(tmp_path / "colour.png", np.stack([labels, labels + 1, labels], 2))
    with pytest.raises(UserError, match="label image"):
        df.read_labels(tmp_path / "colour.png")


def test_bad_images_are_user_errors(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        df.read_rgb(tmp_path / "none.png")
    for content in (b"", b"not a png"):
        (tmp_path / "bad.png").write_bytes(content)
        with pytest.raises(UserError, match="not a readable image"):
            df.read_rgb(tmp_path / "bad.png")


def test_writers_check_their_arrays(tmp_path):
    with pytest.raises(ValueError, match="uint8"):
        df.write_rgb(tmp_path / "a.png", np.zeros((2, 2, 3)))
    with pytest.raises(ValueError, match="uint8"):
        df.write_labels(tmp_path / "a.png", np.zeros((2, 2), np.int64))
    assert list(tmp_path.iterdir()) == []


def test_normals_round_trip_and_flip_y_in_the_file(tmp_path):
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(6, 5, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    normals[0] = 0
    df.write_normals(tmp_path / "n.png", normals)
    read = df.read_normals(tmp_path / "n.png")
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, normals, atol=0.5 / 127.5 + 1e-6)
    assert (read[0] == 0).all()
    down = np.float32([[[0, 1, 0]]])  # y down in memory is y up in the file: a dark green channel
    assert df.encode_normals(down)[0, 0].tolist() == [128, 0, 128]


@pytest.mark.parametrize("value", [127, 128])
def test_both_spellings_of_an_unknown_normal(value):
    assert (df.decode_normals(np.full((1, 1, 3), value, np.uint8)) == 0).all()
    assert (df.decode_normals(np.uint8([[[value, value, 126]]])) != 0).all()


def test_keypoints_round_trip_and_the_file_swaps_irises(tmp_path, keypoints):
    df.write_keypoints(tmp_path / "k.json", keypoints)
    read = df.read_keypoints(tmp_path / "k.json")
    for name in ("landmarks_px", "depth", "confidence", "iris_px"):
        np.testing.assert_allclose(getattr(read, name), getattr(keypoints, name), atol=1e-5)
    assert (read.bounding_box, read.origin) == (keypoints.bounding_box, "test")
    person = json.loads((tmp_path / "k.json").read_text())["people"][0]
    assert person["iris_keypoints_2d"] == [120, 81, 1, 60.5, 80.25, 1]
    assert len(person["face_keypoints_2d"]) == 68 * 3


def test_keypoints_as_published_have_confidence_one_and_may_lack_irises(tmp_path):
    person = {"bounding_box": [], "face_keypoints_2d": [1, 2, -7] * 68, "iris_keypoints_2d": [-1] * 6}
    (tmp_path / "k.json").write_text(json.dumps({"origin": "fan", "people": [person]}))
    read = df.read_keypoints(tmp_path / "k.json")
    assert (read.confidence == 1).all()
    assert (read.depth == -7).all()
    assert (read.iris_px == -1).all()
    df.write_keypoints(tmp_path / "again.json", read)
    assert json.loads((tmp_path / "again.json").read_text())["people"][0]["iris_keypoints_2d"] == [-1] * 6


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"people": []}',
        '{"people": [{"face_keypoints_2d": [1, 2], "iris_keypoints_2d": []}]}',
        "NaN",
    ],
)
def test_bad_keypoints_are_user_errors(tmp_path, text):
    (tmp_path / "k.json").write_text(text)
    with pytest.raises(UserError, match=r"k\.json"):
        df.read_keypoints(tmp_path / "k.json")


def test_keypoints_that_are_not_finite_are_refused(tmp_path, keypoints):
    keypoints.landmarks_px[3, 0] = 12345.5
    df.write_keypoints(tmp_path / "k.json", keypoints)
    text = (tmp_path / "k.json").read_text()
    (tmp_path / "k.json").write_text(text.replace("12345.5", "1e999"))
    with pytest.raises(UserError, match="not finite"):
        df.read_keypoints(tmp_path / "k.json")
    keypoints.landmarks_px[3, 0] = np.nan
    with pytest.raises(UserError, match="not finite"):
        df.write_keypoints(tmp_path / "k.json", keypoints)


def test_transforms_round_trip(tmp_path):
    transforms = {"w_in": 10, "h_in": 20, "w_out": 5, "h_out": 10}
    df.write_transforms(tmp_path / "transforms.json", transforms)
    assert df.read_transforms(tmp_path / "transforms.json") == transforms
