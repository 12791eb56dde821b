"""The check of a dataset: a drawn one is fine, and each fault that is put into it is found where it is."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from nha.core.conventions import LANDMARK_GROUPS, Parsing, Segmentation
from nha.core.errors import UserError
from nha.data.dataset_check import check_dataset
from nha.data.dataset_folder import (
    DatasetFolder,
    FramePaths,
    Keypoints,
    read_keypoints,
    read_labels,
    read_normals,
    write_keypoints,
    write_labels,
    write_normals,
    write_rgb,
    write_transforms,
)
from nha.data.findings import Fault
from nha.data.frame_checks import FrameAnnotations, check_frame, face_roll_deg
from nha.data.splits import Split, default_split, write_split
from nha.data.tracking_file import write_tracking

HEIGHT, WIDTH, N_FRAMES = 120, 100, 6
# The person's right eye is on the image's left. In units of the face's box.
PLACES = {
    "right_brow": (0.3, 0.2), "left_brow": (0.7, 0.2), "nose": (0.5, 0.5), "right_eye": (0.3, 0.35),
    "left_eye": (0.7, 0.35), "outer_mouth": (0.5, 0.75), "inner_mouth": (0.5, 0.75),
}  # fmt: skip
LABELS = {
    "right_brow": Parsing.R_BROW, "left_brow": Parsing.L_BROW, "nose": Parsing.NOSE, "right_eye": Parsing.R_EYE,
    "left_eye": Parsing.L_EYE, "outer_mouth": Parsing.MOUTH,
}  # fmt: skip


def drawn_frame(x: int, y: int, side: int) -> tuple[Keypoints, np.ndarray, np.ndarray, np.ndarray]:
    """Annotations of a face that fills a box: keypoints, parsing, segmentation, normals."""
    points = np.zeros((68, 2), np.float32)
    turn = np.linspace(0, np.pi, len(LANDMARK_GROUPS["jaw"]))
    points[list(LANDMARK_GROUPS["jaw"])] = np.stack([0.5 - 0.5 * np.cos(turn), 0.3 + 0.7 * np.sin(turn)], 1)
    for group, place in PLACES.items():
        turn = np.linspace(0, 2 * np.pi, len(LANDMARK_GROUPS[group]), endpoint=False)
        points[list(LANDMARK_GROUPS[group])] = (
            np.stack([-np.cos(turn), -np.sin(turn)], 1) * [0.08, 0.04] + place
        )
    points = points * side + (x, y)
    parsing = np.zeros((HEIGHT, WIDTH), np.uint8)
    parsing[y + side :, :] = Parsing.CLOTH
    cv2.ellipse(
        parsing,
        (x + side // 2, y + side // 2),
        (side // 2 + 4, side // 2 + 8),
        0,
        0,
        360,
        int(Parsing.HAIR),
        -1,
    )
    cv2.ellipse(
        parsing, (x + side // 2, y + side // 2), (side // 2, side // 2), 0, 0, 360, int(Parsing.SKIN), -1
    )
    for group, label in LABELS.items():
        middle = np.rint(np.multiply(PLACES[group], side) + (x, y)).astype(int).tolist()
        cv2.ellipse(parsing, middle, (4, 2), 0, 0, 360, int(label), -1)
    is_head = (parsing != Parsing.BACKGROUND) & (parsing != Parsing.CLOTH)
    normals = np.where((parsing == Parsing.SKIN)[..., None], np.float32([0.6, 0, 0.8]), 0)
    irises = np.float32([PLACES["right_eye"], PLACES["left_eye"]]) * side + np.float32([x, y])
    ones = np.ones(68, np.float32)
    return (
        Keypoints(points, 0 * ones, ones, irises),
        parsing,
        (is_head * Segmentation.HEAD).astype(np.uint8),
        normals,
    )


@pytest.fixture
def dataset(spaced_dir: Path) -> DatasetFolder:
    """A face that moves slowly; nothing is wrong with it."""
    folder = DatasetFolder(spaced_dir / "data")
    for i in range(N_FRAMES):
        keypoints, parsing, segmentation, normals = drawn_frame(25 + 2 * i, 20, 48)
        paths = folder.paths(i)
        write_rgb(paths.image, np.repeat(parsing[..., None] * 12, 3, axis=2))
        write_keypoints(paths.keypoints, keypoints)
        write_labels(paths.parsing, parsing)
        write_labels(paths.segmentation, segmentation)
        write_normals(paths.normals, normals)
    write_transforms(folder.transforms, {"w_in": 200, "h_in": 240, "w_out": WIDTH, "h_out": HEIGHT})
    write_split(folder.default_split, default_split(range(N_FRAMES)))
    return folder


def found(folder: DatasetFolder, **files) -> set[tuple[Fault, int | None]]:
    return {(finding.fault, finding.frame_id) for finding in check_dataset(folder.root, **files).findings}


def test_nothing_is_wrong_with_the_drawing(dataset):
    check = check_dataset(dataset.root)
    assert check.findings == []
    assert check.size == (HEIGHT, WIDTH)
    assert check.good_frames == check.frame_ids == list(range(N_FRAMES))


# --- faults of a frame ------------------------------------------------------------------------------------


def change_keypoints(paths: FramePaths, **changes: Callable[[Keypoints], np.ndarray]) -> None:
    keypoints = read_keypoints(paths.keypoints)
    changed = {name: change(keypoints) for name, change in changes.items()}
    write_keypoints(paths.keypoints, dataclasses.replace(keypoints, **changed))


def moved(x: float, y: float):
    return lambda keypoints: keypoints.landmarks_px + np.float32([x, y])


def change_labels(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    write_labels(path, change(read_labels(path)).astype(np.uint8))


def change_normals(paths: FramePaths, change: Callable[[np.ndarray], np.ndarray]) -> None:
    write_normals(paths.normals, change(read_normals(paths.normals)))


def swap_eyes(labels: np.ndarray) -> np.ndarray:
    swapped = labels.copy()
    swapped[labels == Parsing.L_EYE] = Parsing.R_EYE
    swapped[labels == Parsing.R_EYE] = Parsing.L_EYE
    return swapped


def feature_moved_up(*names: Parsing):
    def change(labels: np.ndarray) -> np.ndarray:
        feature = np.isin(labels, names)
        result = np.where(feature, Parsing.SKIN, labels)
        result[np.roll(feature, -12, axis=0)] = labels[feature]
        return result

    return change


def without_face(labels: np.ndarray) -> np.ndarray:
    return np.where((labels != Parsing.BACKGROUND) & (labels != Parsing.CLOTH), Parsing.HAIR, labels)


def clothes_above(labels: np.ndarray) -> np.ndarray:
    labels = np.where(labels == Parsing.CLOTH, Parsing.BACKGROUND, labels)
    labels[:12] = Parsing.CLOTH
    return labels


def other_size(path: Path) -> None:
    write_labels(path, cv2.resize(read_labels(path), (WIDTH + 1, HEIGHT), interpolation=cv2.INTER_NEAREST))


BROKEN: dict[str, tuple[Callable[[FramePaths], object], set[Fault]]] = {
    "file gone": (lambda p: p.normals.unlink(), {Fault.MISSING_FILE}),
    "image missing": (lambda p: p.image.unlink(), {Fault.MISSING_FILE}),
    "image truncated": (lambda p: p.image.write_bytes(p.image.read_bytes()[:60]), {Fault.UNREADABLE}),
    "keypoints without a face": (lambda p: p.keypoints.write_text('{"people": []}'), {Fault.UNREADABLE}),
    "keypoints not JSON": (lambda p: p.keypoints.write_text("{"), {Fault.UNREADABLE}),
    "labels in colour": (
        lambda p: write_rgb(p.parsing, np.full((HEIGHT, WIDTH, 3), (1, 2, 3), np.uint8)), {Fault.UNREADABLE},
    ),
    "mask of another size": (lambda p: other_size(p.segmentation), {Fault.SIZE}),
    "unknown parsing label": (
        lambda p: change_labels(p.parsing, lambda x: np.where(x == Parsing.HAIR, 21, x)), {Fault.LABELS},
    ),
    "mask as 0 and 255": (
        lambda p: change_labels(p.segmentation, lambda x: np.where(x > 0, 255, 0)), {Fault.LABELS},
    ),
    "mask of clothes only": (
        lambda p: change_labels(p.segmentation, lambda x: np.where(x > 0, Segmentation.CLOTHES, 0)),
        {Fault.EMPTY_HEAD, Fault.MASKS_DIFFER},
    ),
    "mask empty": (lambda p: change_labels(p.segmentation, np.zeros_like), {Fault.EMPTY_HEAD, Fault.MASKS_DIFFER}),
    "mask of another frame": (
        lambda p: change_labels(p.segmentation, lambda x: np.roll(x, 40, axis=0)),
        {Fault.MASKS_DIFFER, Fault.OFF_HEAD, Fault.NORMALS_OUTSIDE},
    ),
    "no face parsed": (lambda p: change_labels(p.parsing, without_face), {Fault.EMPTY_FACE}),
    "eyes swapped": (lambda p: change_labels(p.parsing, swap_eyes), {Fault.SWAPPED}),
    "eyes too high": (lambda p: change_labels(p.parsing, feature_moved_up(Parsing.L_EYE, Parsing.R_EYE)), {Fault.EYES}),
    "mouth too high": (lambda p: change_labels(p.parsing, feature_moved_up(Parsing.MOUTH)), {Fault.MOUTH}),
    "landmarks outside": (
        lambda p: change_keypoints(p, landmarks_px=moved(70, 0), iris_px=lambda k: k.iris_px * 0 - 1),
        {Fault.OUTSIDE, Fault.OFF_HEAD, Fault.EYES, Fault.MOUTH, Fault.JUMP},
    ),
    "landmarks too low": (
        lambda p: change_keypoints(p, landmarks_px=moved(0, 9), iris_px=lambda k: k.iris_px + np.float32([0, 9])),
        {Fault.EYES, Fault.MOUTH},
    ),
    "clothes above the face": (lambda p: change_labels(p.parsing, clothes_above), {Fault.TURNED}),
    "irises changed": (lambda p: change_keypoints(p, iris_px=lambda k: k.iris_px[::-1]), {Fault.IRISES}),
    "no normals": (lambda p: change_normals(p, np.zeros_like), {Fault.EMPTY_NORMALS}),
    "normals everywhere": (
        lambda p: change_normals(p, lambda n: n * 0 + np.float32([0, 0, 1])), {Fault.NORMALS_OUTSIDE},
    ),
    "normals half as long": (lambda p: change_normals(p, lambda n: n / 2), {Fault.NORMALS_VALUES}),
    "normals of the world": (lambda p: change_normals(p, lambda n: -n), {Fault.NORMALS_VALUES}),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_each_fault_is_found_in_its_frame_and_nowhere_else(name, dataset):
    break_frame, expected = BROKEN[name]
    break_frame(dataset.paths(3))
    assert found(dataset) == {(fault, 3) for fault in expected}
    check = check_dataset(dataset.root)
    assert check.worst_frames == [3]
    assert check.good_frames == [0, 1, 2, 4, 5]
    assert all("\n" not in finding.detail for finding in check.findings)


def test_every_fault_of_frames_is_broken_once():
    of_the_dataset = {Fault.TRANSFORM, Fault.TRACKING, Fault.SPLIT, Fault.COVERED}
    assert set.union(*(expected for _, expected in BROKEN.values())) == set(Fault) - of_the_dataset


@pytest.mark.parametrize(("quarters", "where"), [(1, "beside"), (2, "above"), (3, "beside")])
def test_a_turned_face_is_a_fault(quarters, where):
    """A frame and all its annotations are turned clockwise, so they still fit each other."""
    keypoints, parsing, segmentation, normals = drawn_frame(25, 20, 48)
    size = (WIDTH, HEIGHT)
    points, irises = keypoints.landmarks_px, keypoints.iris_px
    for _ in range(quarters):
        points, irises = (np.stack([size[1] - p[:, 1], p[:, 0]], axis=1) for p in (points, irises))
        size = size[::-1]
    turned = FrameAnnotations(
        dataclasses.replace(keypoints, landmarks_px=points, iris_px=irises),
        np.rot90(parsing, -quarters).copy(),
        np.rot90(segmentation, -quarters).copy(),
        np.rot90(normals, -quarters).copy(),
    )
    ((fault, detail),) = check_frame(turned)
    assert fault is Fault.TURNED
    assert f"the mouth is {where} the eyes" in detail
    roll_deg = face_roll_deg(points)
    assert abs((roll_deg - 90 * quarters + 180) % 360 - 180) < 5


def test_what_is_unusual_but_right_is_no_fault(dataset):
    paths = dataset.paths(3)
    change_keypoints(paths, iris_px=lambda k: k.iris_px * 0 - 1)  # eyes closed
    change_labels(
        paths.parsing, lambda x: np.where(np.isin(x, (Parsing.L_EYE, Parsing.R_EYE)), Parsing.SKIN, x)
    )
    change_labels(paths.parsing, lambda x: np.where(x == Parsing.L_BROW, 6, x))  # glasses
    change_labels(paths.segmentation, lambda x: np.where(x == 0, Segmentation.CLOTHES, x))
    dataset.transforms.unlink()
    dataset.default_split.unlink()
    for file in dataset.paths(2).folder.iterdir():  # ids need not be contiguous
        file.unlink()
    dataset.paths(2).folder.rmdir()
    assert found(dataset) == set()


def test_one_image_of_another_size(dataset):
    paths = dataset.paths(2)
    for path in (paths.image, paths.normals):
        write_rgb(path, np.full((HEIGHT, WIDTH + 7, 3), 9, np.uint8))
    for path in (paths.parsing, paths.segmentation):
        write_labels(path, np.pad(read_labels(path), ((0, 0), (0, 7))))
    assert (Fault.SIZE, 2) in found(dataset)
    assert all(frame_id == 2 for _, frame_id in found(dataset))


def test_another_face_in_between_is_a_jump_in_and_out(dataset):
    for i in (2, 3):
        keypoints, parsing, segmentation, normals = drawn_frame(5, 60, 20)
        write_keypoints(dataset.paths(i).keypoints, keypoints)
        write_labels(dataset.paths(i).parsing, parsing)
        write_labels(dataset.paths(i).segmentation, segmentation)
        write_normals(dataset.paths(i).normals, normals)
    assert found(dataset) == {(Fault.JUMP, 2), (Fault.JUMP, 4)}
    detail = next(finding.detail for finding in check_dataset(dataset.root).findings)
    assert "the face moved" in detail
    assert "size changed by a factor of 2.4" in detail
    assert "mask's area" in detail


# --- faults of the dataset --------------------------------------------------------------------------------


def test_transforms_of_other_images(dataset):
    write_transforms(dataset.transforms, {"w_out": HEIGHT, "h_out": WIDTH})
    assert found(dataset) == {(Fault.TRANSFORM, None)}
    write_transforms(dataset.transforms, {"scale": 2})  # another tool's
    assert found(dataset) == set()
    dataset.transforms.write_text("[1]")
    assert found(dataset) == {(Fault.TRANSFORM, None)}


def test_tracking_that_does_not_belong(dataset, make_tracking, spaced_dir):
    path = spaced_dir / "tracked_flame_params.npz"

    def details(**changes) -> list[str]:
        write_tracking(
            path, make_tracking(**{"frame": range(N_FRAMES), "image_size": (HEIGHT, WIDTH)} | changes)
        )
        return [finding.detail for finding in check_dataset(dataset.root, tracking=path).findings]

    assert details() == []
    assert details(image_size=(2 * HEIGHT, 2 * WIDTH)) == []
    assert details(frame=(0, 1, 2, 9)) == [
        "3 frames are not tracked: 3, 4, 5",
        "1 tracked frames are not in the dataset: 9",
    ]
    assert details(image_size=(HEIGHT, HEIGHT)) == [
        "made from 120 x 120 pixels, the images are 100 x 120 pixels"
    ]
    assert details(n_processed=2) == ["interrupted after 2 of 6 frames"]
    path.write_bytes(b"nothing")
    assert found(dataset, tracking=path) == {(Fault.TRACKING, None)}


def test_splits_that_do_not_fit(dataset, spaced_dir):
    path = spaced_dir / "other split.json"
    write_split(path, Split(train=(0, 1, 77), val=(2,)))
    assert found(dataset, split=path) == {(Fault.SPLIT, None)}
    write_split(path, Split(train=(0, 1, 2), val=(2, 5)))
    assert found(dataset, split=path) == {(Fault.SPLIT, None)}
    write_split(path, Split(train=(0, 1, 2), val=(3, 4, 5)))
    assert found(dataset, split=path) == set()
    dataset.default_split.write_text("{}")
    assert found(dataset) == {(Fault.SPLIT, None)}


def test_a_split_at_random_leaks(dataset, spaced_dir):
    for i in range(N_FRAMES, 40):
        dataset.paths(i).folder.mkdir()
    path = spaced_dir / "other split.json"

    def of_the_split() -> list[str]:
        findings = check_dataset(dataset.root, split=path).findings
        return [finding.detail for finding in findings if finding.fault is Fault.SPLIT]

    write_split(path, Split(train=tuple(range(0, 40, 2)), val=tuple(range(1, 40, 2))))
    assert of_the_split() == [
        "20 of 20 held-out frames are next to a training frame: 1, 3, 5, 7, 9, 11, 13, 15 and 12 more"
    ]
    write_split(path, default_split(range(40)))
    assert of_the_split() == []


def test_no_dataset_is_a_user_error(spaced_dir):
    with pytest.raises(UserError, match="does not exist"):
        check_dataset(spaced_dir / "nothing")
    with pytest.raises(UserError, match="holds no frame"):
        check_dataset(spaced_dir)


def test_files_are_left_alone(dataset):
    def stamps() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in sorted(dataset.root.rglob("*"))}

    dataset.paths(1).image.unlink()
    before = stamps()
    check_dataset(dataset.root)
    assert stamps() == before


# --- the script -------------------------------------------------------------------------------------------


def test_the_script_reports_and_makes_a_split_of_what_is_good(dataset, run_script, spaced_dir):
    report, split = spaced_dir / "the report.html", spaced_dir / "new split.json"
    options = ("--report", report, "--make_split", split, "--gap", 0)
    good = run_script("check_dataset.py", dataset.root, *options)
    assert good.returncode == 0, good.stderr
    assert "6 frames of 100 x 120 pixels, 0 to 5: nothing is wrong" in good.stdout
    assert json.loads(split.read_text()) == {"train": [0, 1, 2, 3, 4], "val": [5]}
    assert "0 findings in 0 frames" in report.read_text("utf-8")

    dataset.paths(3).parsing.unlink()
    change_labels(dataset.paths(4).segmentation, np.zeros_like)
    bad = run_script("check_dataset.py", dataset.root, *options, "--every", 2)
    assert bad.returncode == 1
    assert "Traceback" not in bad.stderr
    rows = [line.split() for line in bad.stdout.splitlines()]
    assert ["file", "missing", "1", "3"] in rows
    assert ["empty", "head", "mask", "1", "4"] in rows
    assert "file missing (frame 3: parsing_0003.png): delete the frame" in bad.stdout
    assert "3 findings in 2 frames" in bad.stdout
    assert json.loads(split.read_text()) == {"train": [0, 2], "val": [5]}
    page = report.read_text("utf-8")
    assert page.index("<figcaption>frame 4: ") < page.index(
        "<figcaption>frame 3: "
    )  # the one with the most faults comes first
    assert page.count("<img") == 2


def test_the_script_refuses_what_makes_no_sense(dataset, run_script, spaced_dir):
    for arguments, message in (
        ((spaced_dir / "nothing",), "does not exist"),
        ((dataset.root, "--val_share", 1.5), "--val_share 1.5"),
        ((dataset.root, "--make_split", dataset.transforms / "split.json"), "cannot write"),
    ):
        done = run_script("check_dataset.py", *arguments)
        assert done.returncode == 2
        assert message in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr
