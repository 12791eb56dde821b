"""Parsing from mediapipe's face mesh, the matte and colours."""

from __future__ import annotations

import cv2
import numpy as np

from nha.core.conventions import Parsing
from nha.preprocess.backends import region_colours
from nha.preprocess.backends.face_geometry import HeadAxes, ear_region, face_mask, fill_outline
from nha.preprocess.backends.face_surroundings import UNDER_JAW, measure_surroundings
from nha.preprocess.backends.mediapipe_mesh import CHIN, NOSE_OUTLINE, FaceTopology, face_topology
from nha.preprocess.components import components_outside, largest_component, small_components
from nha.preprocess.estimators import Face, Frame, ParsingEstimator
from nha.preprocess.head_border import refine_head_border

OUTSIDE = 4  # label after the four regions of `region_colours`
SMALLEST_REGION = 0.002  # in units of the squared head height; smaller regions get the label around them
# Extent of a head with hair around the centre of the face, in head heights. Pixels beyond are other people.
HEAD_SIDEWAYS, HEAD_ABOVE = 1.2, 1.5


class MediapipeParsing(ParsingEstimator):
    """Facial features from outlines of the mesh; hair, ears, neck and cloth by colour and position."""

    name = "mediapipe face mesh outlines + matte + colours"
    lookback = 2  # frames whose probabilities are averaged where nothing has moved
    needs_mesh = True

    def __init__(self) -> None:
        self._estimates: dict[int, region_colours.RegionEstimate] = {}

    def parsing(self, frame: Frame, face: Face, matte: np.ndarray) -> np.ndarray:
        """See `ParsingEstimator.parsing`."""
        topology = face_topology()
        mesh = face.mesh_px
        shape = frame.rgb.shape[:2]
        axes = HeadAxes.of_mesh(mesh)
        foreground = matte > 0.5
        on_face = face_mask(mesh, topology, shape)
        features = _feature_labels(mesh, topology, shape)
        ears = [ear_region(mesh, axes, left, shape) for left in (True, False)]
        brow_top = min(mesh[np.r_[topology.right_brow, topology.left_brow], :2], key=lambda point: point[1])
        position = measure_surroundings(
            foreground, on_face, ears[0] | ears[1], axes, mesh[CHIN, :2], brow_top
        )
        has_own_colour = (features > 0) & (features != Parsing.NOSE)
        estimate = region_colours.estimate_regions(frame.rgb, position, has_own_colour)
        posterior = region_colours.average_over_time(estimate, self._keep(frame.frame_id, estimate))
        regions = region_colours.classify_regions(frame.rgb, posterior)
        regions[~foreground] = OUTSIDE
        height = _height_map(axes, shape)
        regions[on_face & foreground & (height < position.brow_height)] = region_colours.SKIN
        labels = refine_head_border(_name_regions(regions, on_face, ears, axes, height), frame.rgb)
        return _draw_features(labels, features)

    def _keep(
        self, frame_id: int, estimate: region_colours.RegionEstimate
    ) -> list[region_colours.RegionEstimate]:
        """Keep an estimate for later frames; returns those of the `lookback` frames before."""
        before = {i: kept for i, kept in self._estimates.items() if 0 < frame_id - i <= self.lookback}
        self._estimates = {**before, frame_id: estimate}
        return list(before.values())


def _feature_labels(mesh_px: np.ndarray, topology: FaceTopology, shape: tuple[int, int]) -> np.ndarray:
    """Labels of nose, brows, lips, mouth and eyes, 0 elsewhere, uint8 [H, W]; later outlines cover earlier ones."""
    outlines = (
        (Parsing.NOSE, np.array(NOSE_OUTLINE)),
        (Parsing.R_BROW, topology.right_brow),
        (Parsing.L_BROW, topology.left_brow),
        (Parsing.U_LIP, topology.upper_lip),
        (Parsing.L_LIP, topology.lower_lip),
        (Parsing.MOUTH, topology.inner_lips),
        (Parsing.R_EYE, topology.right_eye),
        (Parsing.L_EYE, topology.left_eye),
    )
    labels = np.zeros(shape, np.uint8)
    for label, outline in outlines:
        labels[fill_outline(mesh_px[outline, :2], shape)] = label
    return labels


def _name_regions(
    regions: np.ndarray, on_face: np.ndarray, ears: list[np.ndarray], axes: HeadAxes, height: np.ndarray
) -> np.ndarray:
    """Turn regions into parsing labels: skin beside the face becomes an ear, skin below it the neck."""
    names = np.array([Parsing.SKIN, Parsing.HAIR, Parsing.CLOTH, Parsing.NECK, Parsing.BACKGROUND], np.uint8)
    labels = names[regions]
    skin_outside = (labels == Parsing.SKIN) & ~on_face
    under_jaw = height < UNDER_JAW
    for label, ear in zip((Parsing.L_EAR, Parsing.R_EAR), ears, strict=True):
        labels[largest_component(skin_outside & ear)] = label  # smaller ones are parts of the temple
    reach = 2 * region_colours.CHIN_REACH * axes.height_px
    beyond_chin = cv2.distanceTransform((~on_face).view(np.uint8), cv2.DIST_L2, 3) > reach
    labels[(labels == Parsing.SKIN) & under_jaw & beyond_chin] = Parsing.NECK
    labels[(_beside_head(axes, labels.shape) | (height > HEAD_ABOVE)) & (labels != Parsing.CLOTH)] = (
        Parsing.BACKGROUND
    )
    stray_hair = components_outside(labels == Parsing.HAIR, ~under_jaw)
    return _absorb_small_regions(labels, stray_hair, SMALLEST_REGION * axes.height_px**2)


def _height_map(axes: HeadAxes, shape: tuple[int, int]) -> np.ndarray:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return axes.height_of(columns + np.float32(0.5), rows + np.float32(0.5))


def _beside_head(axes: HeadAxes, shape: tuple[int, int]) -> np.ndarray:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    up_x, up_y = axes.up_in_image
    x0, y0 = axes.origin_px[:2].tolist()
    sideways_px = (rows + np.float32(0.5) - y0) * up_x - (columns + np.float32(0.5) - x0) * up_y
    return np.abs(sideways_px) > HEAD_SIDEWAYS * axes.height_px


def _absorb_small_regions(labels: np.ndarray, stray: np.ndarray, smallest_area_px: float) -> np.ndarray:
    """Give stray pixels and components below an area the label of the nearest other pixel."""
    small = stray.copy()
    present = np.bincount(labels.ravel(), minlength=1)
    for label in 1 + np.flatnonzero(present[1:]):
        small |= small_components(labels == label, smallest_area_px)
    known = ~small & (labels > 0)
    if not small.any() or not known.any():
        return labels
    _, nearest = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    label_of_pixel = np.zeros(int(nearest.max()) + 1, np.uint8)
    label_of_pixel[nearest[known]] = labels[known]
    result = labels.copy()
    result[small] = label_of_pixel[nearest[small]]
    return result


def _draw_features(labels: np.ndarray, features: np.ndarray) -> np.ndarray:
    drawable = (features > 0) & (labels != Parsing.BACKGROUND)
    # Hair may cover the brows, but no other feature.
    is_brow = np.isin(features, (Parsing.L_BROW, Parsing.R_BROW))
    drawable &= ~(is_brow & (labels == Parsing.HAIR))
    return np.where(drawable, features, labels)
