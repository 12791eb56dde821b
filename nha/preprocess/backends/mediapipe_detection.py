"""Small faces: found in the video frame at its own resolution, which the face mesh model cannot do.

The mesh model's own detector sees the whole image at 128 pixels and misses faces below a sixth of it. Here the detector
for distant faces (192 pixels) looks at the whole frame, then at overlapping tiles of it. The mesh model then confirms
each face in an enlarged square around it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import cv2
import numpy as np

from nha.preprocess.backends.mediapipe_runtime import load_mediapipe, pad_to_square, quiet

SHORT_RANGE_MODEL, FULL_RANGE_MODEL = 0, 1
TILE_SIZES = (1 / 2, 1 / 4)  # in units of the frame's longer edge; neighbouring tiles overlap by half
SMALLEST_TILE_PX = 128
CROP_SIZE = 2.2  # side of the square around a face, in units of its box
LARGEST_CROP_PX = 512  # larger squares are scaled down
SAME_FACE = 0.5  # boxes are of one face if their centres are closer than this, in units of their size

Box = tuple[float, float, float]  # centre x, centre y and side in pixels


class SmallFaceMesh:
    """Meshes of faces that are small in their frame.

    Args:
        max_faces: number of faces to return at most, the largest first.
    """

    def __init__(self, max_faces: int) -> None:
        self._max_faces = max_faces
        self._detector = None
        self._mesh = None
        self._last: list[Box] = []

    def meshes(self, rgb: np.ndarray) -> list[np.ndarray]:
        """Points of each face, float32 [478, 3] in pixels; the depth has the unit of x.

        Args:
            rgb: uint8 [H, W, 3], the frame as decoded.
        """
        self._load()
        candidates = [self._last, *self._detections(rgb)] if self._last else self._detections(rgb)
        for boxes in candidates:
            boxes = sorted(_without_duplicates(boxes), key=lambda box: -box[2])[: self._max_faces]
            found = [mesh for box in boxes if (mesh := self._mesh_around(rgb, box)) is not None]
            if found:
                self._last = [_box_of_mesh(mesh) for mesh in found]
                return found
        return []

    def close(self) -> None:
        """Free the models and forget the last frame."""
        for solution in (self._detector, self._mesh):
            if solution is not None:
                solution.close()
        self._detector = self._mesh = None
        self._last = []

    def _load(self) -> None:
        if self._mesh is None:
            with quiet():
                solutions = load_mediapipe().solutions
                self._detector = solutions.face_detection.FaceDetection(model_selection=FULL_RANGE_MODEL)
                self._mesh = solutions.face_mesh.FaceMesh(
                    static_image_mode=True, max_num_faces=1, refine_landmarks=True
                )
                blank = np.zeros((64, 64, 3), np.uint8)
                self._detector.process(blank)  # the first call writes messages
                self._mesh.process(blank)

    def _detections(self, rgb: np.ndarray) -> Iterator[list[Box]]:
        """Boxes of faces: in the whole frame, then in smaller and smaller tiles until some are found."""
        yield self._detect(rgb, 0, 0)
        height, width = rgb.shape[:2]
        for share in TILE_SIZES:
            side = round(share * max(height, width))
            if side < SMALLEST_TILE_PX:
                return
            yield [
                box
                for y in _starts(height, side)
                for x in _starts(width, side)
                for box in self._detect(rgb[y : y + side, x : x + side], x, y)
            ]

    def _detect(self, tile: np.ndarray, left: int, top: int) -> list[Box]:
        height, width = tile.shape[:2]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of protobuf, about its own interface
            found = self._detector.process(np.ascontiguousarray(tile)).detections or []
        boxes = [detection.location_data.relative_bounding_box for detection in found]
        return [
            (
                left + (box.xmin + box.width / 2) * width,
                top + (box.ymin + box.height / 2) * height,
                max(box.width * width, box.height * height),
            )
            for box in boxes
        ]

    def _mesh_around(self, rgb: np.ndarray, box: Box) -> np.ndarray | None:
        """The mesh [478, 3] of the face in a box, in pixels of the frame; None where the model sees none."""
        side = max(8, round(CROP_SIZE * box[2]))
        left, top = round(box[0] - side / 2), round(box[1] - side / 2)
        right, bottom = min(left + side, rgb.shape[1]), min(top + side, rgb.shape[0])
        inner = rgb[max(top, 0) : bottom, max(left, 0) : right]
        if min(inner.shape[:2]) < 8:
            return None
        crop = pad_to_square(inner)
        size = min(LARGEST_CROP_PX, max(crop.shape[0], LARGEST_CROP_PX // 2))  # small faces are enlarged
        method = cv2.INTER_AREA if size < crop.shape[0] else cv2.INTER_LINEAR
        scaled = cv2.resize(crop, (size, size), interpolation=method)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = self._mesh.process(scaled).multi_face_landmarks
        if not found:
            return None
        points = np.array([(point.x, point.y, point.z) for point in found[0].landmark], np.float32)
        return points * crop.shape[0] + np.float32([max(left, 0), max(top, 0), 0])


def orientation_scores(rgb: np.ndarray) -> np.ndarray:
    """Score of the best face in an image that is turned counter-clockwise by 0, 90, 180 and 270 degrees, float [4].

    The detector also finds faces that are turned, with a lower score; 0 where it finds none.

    Args:
        rgb: uint8 [H, W, 3].
    """
    with (
        quiet(),
        load_mediapipe().solutions.face_detection.FaceDetection(
            model_selection=SHORT_RANGE_MODEL, min_detection_confidence=0.3
        ) as detector,
    ):
        turned = [np.ascontiguousarray(np.rot90(rgb, quarters)) for quarters in range(4)]
        found = [detector.process(image).detections or [] for image in turned]
    return np.array([max((face.score[0] for face in faces), default=0.0) for faces in found])


def _starts(length: int, side: int) -> list[int]:
    """First pixels of overlapping tiles that cover 0..length."""
    if length <= side:
        return [0]
    n_tiles = int(np.ceil(2 * (length - side) / side)) + 1
    return [round(start) for start in np.linspace(0, length - side, n_tiles)]


def _box_of_mesh(mesh: np.ndarray) -> Box:
    low, high = mesh[:, :2].min(axis=0), mesh[:, :2].max(axis=0)
    x, y = ((low + high) / 2).tolist()
    return x, y, float((high - low).max())


def _without_duplicates(boxes: list[Box]) -> list[Box]:
    kept: list[Box] = []
    for box in sorted(boxes, key=lambda box: -box[2]):
        if all(np.hypot(box[0] - x, box[1] - y) > SAME_FACE * side for x, y, side in kept):
            kept.append(box)
    return kept
