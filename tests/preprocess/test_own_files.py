"""Only files that the program has written are replaced or removed, and damage costs no more than what is damaged."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from nha.core.errors import UserError
from nha.data.video_io import VideoWriter
from nha.preprocess import resume
from nha.preprocess.options import PreprocessOptions
from nha.preprocess.pipeline import build_dataset

N_FRAMES = 11


@pytest.fixture
def options(spaced_dir: Path, fakes) -> PreprocessOptions:
    video = fakes.write_video(spaced_dir / "my video.mp4", fakes.walking_square(N_FRAMES, faceless=(4,)))
    return PreprocessOptions(video=video, out_path=spaced_dir / "data set", scale=96)


@pytest.fixture(scope="module")
def whole(fakes, contents, tmp_path_factory) -> dict[str, str]:
    """The contents of the dataset of a run that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole")
    video = fakes.write_video(folder / "my video.mp4", fakes.walking_square(N_FRAMES, faceless=(4,)))
    build_dataset(PreprocessOptions(video=video, out_path=folder / "data", scale=96), fakes.fake_estimators())
    return contents(folder / "data")


@pytest.fixture
def without_a_face(options, fakes) -> PreprocessOptions:
    video = options.video.with_name("empty.mp4")
    return replace(options, video=fakes.write_video(video, [fakes.draw_frame()] * 4))


def interrupt_after(n_images: int, monkeypatch, options, estimators) -> None:
    """A run that is stopped when it has written so many images."""
    written, write_rgb = [], resume.write_rgb

    def write(path, rgb):
        if len(written) == n_images:
            raise KeyboardInterrupt
        written.append(path)
        write_rgb(path, rgb)

    with monkeypatch.context() as patch:
        patch.setattr(resume, "write_rgb", write)
        with pytest.raises(KeyboardInterrupt):
            build_dataset(options, estimators)


@pytest.mark.parametrize(
    "name",
    [
        "transforms.json",
        "split.json",
        "dataset.mp4",
        "original_frames/mine.png",
        ".preprocess/mine.npz",
        "frames_without_face/notes.txt",
        "frame_0003/image_0003.png",
        ".hidden",
    ],
)
def test_a_folder_with_files_of_somebody_else_is_refused_untouched(fakes, options, contents, name):
    path = options.out_path / name
    path.parent.mkdir(parents=True)
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="from elsewhere.*choose another output folder"):
        build_dataset(options, fakes.fake_estimators())
    assert contents(options.out_path).keys() == {name}


def test_a_failed_run_removes_only_its_own_files(fakes, without_a_face, contents, monkeypatch):
    """The user adds files, and changes one, while an interrupted run waits to be continued."""
    out = without_a_face.out_path
    monkeypatch.setattr(resume.Workspace, "discard", lambda workspace: None)
    with pytest.raises(UserError, match="no face"):
        build_dataset(without_a_face, fakes.fake_estimators())
    monkeypatch.undo()
    for name in ("frame_0001/notes.txt", "original_frames/mine.png", ".preprocess/mine.txt"):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="no face"):
        build_dataset(without_a_face, fakes.fake_estimators())
    assert contents(out).keys() == {
        "frame_0001/notes.txt",
        "original_frames/mine.png",
        ".preprocess/mine.txt",
    }


@pytest.mark.parametrize(
    "name", ["split.json", "dataset.mp4", "frames_without_face/frame_0004/image_0004.png"]
)
def test_a_foreign_file_in_an_unfinished_dataset_is_not_adopted(fakes, options, monkeypatch, name):
    interrupt_after(3, monkeypatch, options, fakes.fake_estimators())
    path = options.out_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="is not from this run; move it"):
        build_dataset(options, fakes.fake_estimators())
    assert path.read_text(encoding="utf-8") == "mine"
    path.unlink()
    build_dataset(options, fakes.fake_estimators())


def test_files_beside_a_finished_dataset_stay(fakes, options, contents):
    build_dataset(options, fakes.fake_estimators())
    mine = [
        options.out_path / name for name in ("frames_without_face/notes.txt", "frame_0001/mask.png", "my.txt")
    ]
    for path in mine:
        path.write_text("mine", encoding="utf-8")
    (options.out_path / "split.json").write_text('{"train": [0], "val": [1]}', encoding="utf-8")
    (options.out_path / "frame_0002" / "image_0002.png").unlink()
    build_dataset(options, fakes.fake_estimators())
    assert all(path.read_text(encoding="utf-8") == "mine" for path in mine)
    assert json.loads((options.out_path / "split.json").read_text(encoding="utf-8")) == {
        "train": [0],
        "val": [1],
    }
    assert (options.out_path / "frames_without_face" / "frame_0004" / "image_0004.png").is_file()
    assert (options.out_path / "frame_0002" / "image_0002.png").is_file()


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def make_empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut_in_half, flip_a_bit, make_empty])
@pytest.mark.parametrize(
    "name",
    ["image_0001.png", "parsing_0001.png", "seg_0001.png", "normals_0001.png", "keypoints_static_0001.json"],
)
def test_only_the_damaged_file_of_an_unfinished_dataset_is_made_again(
    fakes, options, contents, whole, monkeypatch, caplog, damage, name
):
    interrupt_after(12, monkeypatch, options, fakes.fake_estimators())
    path = options.out_path / "frame_0001" / name
    damage(path)
    continued = fakes.fake_estimators()
    build_dataset(options, continued)
    assert f"damaged, and made again: frame_0001/{name}" in caplog.text
    assert not {0, 1} & set(continued.landmarks.seen)  # their landmarks are not estimated again
    aside = path.with_name(f"{name}.damaged")
    assert aside.exists()
    aside.unlink()
    assert contents(options.out_path) == whole


@pytest.mark.parametrize("damage", [cut_in_half, flip_a_bit, make_empty])
@pytest.mark.parametrize("name", ["face_0001.npz", "matte_0001.png"])
def test_damaged_working_files_are_made_again(fakes, options, contents, whole, monkeypatch, damage, name):
    interrupt_after(12, monkeypatch, options, fakes.fake_estimators())
    damage(options.out_path / ".preprocess" / name)
    build_dataset(options, fakes.fake_estimators())
    (options.out_path / ".preprocess" / f"{name}.damaged").unlink()
    (options.out_path / ".preprocess").rmdir()
    assert contents(options.out_path) == whole


def test_a_finished_dataset_keeps_its_protection_while_it_is_repaired(fakes, options, contents, monkeypatch):
    build_dataset(options, fakes.fake_estimators())
    before = contents(options.out_path)
    (options.out_path / "frame_0002" / "image_0002.png").unlink()
    interrupt_after(0, monkeypatch, options, fakes.fake_estimators())

    class Fails(fakes.FakeLandmarks):
        def faces(self, frame):
            raise UserError("the weights are damaged")

    (options.out_path / "frame_0003" / "keypoints_static_0003.json").unlink()
    # The other threads may have stored the landmarks of all frames before the run was stopped.
    (options.out_path / ".preprocess" / f"face_{N_FRAMES - 1:04d}.npz").unlink(missing_ok=True)
    with pytest.raises(UserError, match="the weights are damaged"):
        build_dataset(options, replace(fakes.fake_estimators(), landmarks=Fails(False)))
    assert len(list(options.out_path.glob("frame_*/image_*.png"))) >= N_FRAMES - 2
    build_dataset(options, fakes.fake_estimators())
    assert contents(options.out_path) == before


def test_a_dataset_without_a_manifest_is_continued(fakes, options, contents, whole, monkeypatch):
    """Datasets of earlier versions have none."""
    interrupt_after(9, monkeypatch, options, fakes.fake_estimators())
    (options.out_path / ".manifest.jsonl").unlink()
    build_dataset(options, fakes.fake_estimators())
    assert contents(options.out_path) == whole


@pytest.mark.parametrize("change", [b"", b"{", b"[]", b'{"video": 3}', b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_record_is_one_line_and_removes_nothing(fakes, options, contents, change):
    build_dataset(options, fakes.fake_estimators())
    (options.out_path / "dataset_info.json").write_bytes(change)
    before = contents(options.out_path)
    with pytest.raises(UserError, match="dataset_info.json"):
        build_dataset(options, fakes.fake_estimators())
    assert contents(options.out_path) == before


def test_videos_that_differ_only_in_their_end_are_told_apart(fakes, options, tmp_path):
    build_dataset(options, fakes.fake_estimators())
    with VideoWriter(tmp_path / "x.mp4", 25, crf=1) as writer:
        for rgb in fakes.walking_square(N_FRAMES, faceless=(4,)):
            writer.write(rgb)
    content = bytearray(options.video.read_bytes())
    content[-1] ^= 1
    other = options.video.with_name("other.mp4")
    other.write_bytes(content)
    with pytest.raises(UserError, match=r"holds the dataset of my video\.mp4"):
        build_dataset(replace(options, video=other), fakes.fake_estimators())
