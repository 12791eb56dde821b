"""The steps from frames to annotations; each can be interrupted, and leaves out what is on disk already."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from tqdm import tqdm

from nha.core.errors import UserError
from nha.core.system import get_logger
from nha.data.dataset_folder import (
    Keypoints,
    read_keypoints,
    read_labels,
    read_normals,
    read_rgb,
    write_keypoints,
    write_labels,
    write_normals,
    write_rgb,
)
from nha.data.messages import some_of
from nha.data.splits import default_split, write_split
from nha.data.video_io import VideoWriter, iterate_frames
from nha.preprocess.cleanup import clean_parsing, segmentation_from_parsing
from nha.preprocess.crop import FrameTransform
from nha.preprocess.estimators import EstimatorPack, Face, Frame, several_at_once
from nha.preprocess.options import PreprocessOptions
from nha.preprocess.overview import side_by_side
from nha.preprocess.workspace import Observation, Workspace

HELD_OUT_SHARE = 0.2

_logger = get_logger(__name__)


def frames_of(options: PreprocessOptions) -> Iterator[tuple[int, np.ndarray]]:
    """Number and picture (uint8 [H, W, 3]) of each frame that the options take from the video."""
    for frame_id, rgb in enumerate(iterate_frames(options.video)):
        if options.max_frames and frame_id >= options.max_frames:
            return
        yield frame_id, rgb


def choose_face(faces: list[Face], previous: Face | None) -> Face | None:
    """Of several faces the one closest to the previous frame's; without a previous one, the largest."""
    if not faces:
        return None
    if previous is not None:
        return min(faces, key=lambda face: float(np.linalg.norm(face.centre_px - previous.centre_px)))
    return max(faces, key=lambda face: float(np.prod(np.ptp(face.landmarks_px, axis=0))))


class DatasetBuilder:
    """The steps, in running order; each leaves out what is on disk already."""

    def __init__(
        self,
        options: PreprocessOptions,
        workspace: Workspace,
        estimators: EstimatorPack,
        transform: FrameTransform,
    ) -> None:
        self.options = options
        self.workspace = workspace
        self.estimators = estimators
        self.transform = transform
        self.info = workspace.info

    def run(self) -> None:
        self.decode_frames()
        self.find_faces()
        self.write_keypoints()
        self.estimate_mattes()
        self.parse_and_segment()
        self.estimate_normals()
        self.write_overview()
        self.write_split()
        self.workspace.finish()

    def decode_frames(self) -> None:
        """Frames from the video: crop, pad and scale."""
        n_known = self.info.n_frames
        if n_known is not None and all(self._is_decoded(frame_id) for frame_id in range(n_known)):
            return
        n_frames = 0
        for frame_id, rgb in tqdm(frames_of(self.options), desc="frames   ", unit="frame", mininterval=0.5):
            n_frames += 1
            if self._is_decoded(frame_id):
                continue
            if rgb.shape[:2] != (self.transform.h_in, self.transform.w_in):
                raise UserError(
                    f"the video changes its size at frame {frame_id}: cut it there, and use one part"
                )
            if self.options.keep_original_frames:
                write_rgb(self.workspace.original_path(frame_id), rgb)
            write_rgb(self.workspace.paths(frame_id).image, self.transform.apply_to_rgb(rgb))
        self.info.n_frames = n_frames
        self.workspace.save_info()

    def find_faces(self) -> None:
        """Landmarks; says which frames have no face, or several, and stops where too many have none."""
        estimator = self.estimators.landmarks
        ids = range(self.info.n_frames)
        todo = {i for i in ids if not self.workspace.observation_path(i).exists()}
        previous: Face | None = None
        without, several = [], []
        for frame_id in _progress("landmarks", ids, silent=not todo):
            if frame_id in todo or (estimator.sequential and frame_id < max(todo, default=0)):
                faces = estimator.faces(self._frame(frame_id))
            if frame_id in todo:
                found = Observation(len(faces), choose_face(faces, previous))
                self.workspace.write_observation(frame_id, found)
            observation = self.workspace.read_observation(frame_id)
            previous = observation.face or previous
            if observation.face is None:
                without.append(frame_id)
            if observation.n_faces > 1:
                several.append(frame_id)
        self.info.frames_without_face, self.info.frames_with_several_faces = without, several
        self._judge_faces()
        self.workspace.save_info()

    def write_keypoints(self) -> None:
        """Irises, and the keypoints file."""
        for frame_id in self._todo("irises", lambda i: self.workspace.paths(i).keypoints.exists()):
            face = self._face(frame_id)
            keypoints = Keypoints(
                landmarks_px=face.landmarks_px,
                depth=face.depth,
                confidence=face.confidence,
                iris_px=self.estimators.iris.irises(self._frame(frame_id), face),
                bounding_box=face.bounding_box,
                origin=self.estimators.landmarks.name,
            )
            write_keypoints(self.workspace.paths(frame_id).keypoints, keypoints)
        self.info.frames_without_iris = [
            frame_id
            for frame_id in self.workspace.ids_with_face()
            if (read_keypoints(self.workspace.paths(frame_id).keypoints).iris_px < 0).any()
        ]

    def estimate_mattes(self) -> None:
        """The person's mattes, which are working files."""
        estimator = self.estimators.matting
        ids = list(range(self.info.n_frames)) if estimator.sequential else self.workspace.ids_with_face()
        missing = [frame_id for frame_id in ids if not self.workspace.matte_path(frame_id).exists()]
        if not missing:
            return
        shown = [frame_id for frame_id in ids if frame_id <= missing[-1]] if estimator.sequential else missing
        inputs = ((self._frame(frame_id),) for frame_id in _progress("mattes", shown))
        for (frame,), matte in several_at_once(estimator, "matte", inputs):
            path = self.workspace.matte_path(frame.frame_id)
            if not path.exists():
                write_labels(path, np.rint(matte * 255).astype(np.uint8))

    def parse_and_segment(self) -> None:
        """Parsing labels, and the segmentation that follows from them."""
        inside = self.transform.inside_picture()

        def is_done(frame_id: int) -> bool:
            return self.workspace.paths(frame_id).parsing.exists()

        todo = self._todo("parsing", is_done)
        inputs = ((self._frame(frame_id), self._face(frame_id), self._matte(frame_id)) for frame_id in todo)
        for (frame, _, matte), raw in several_at_once(self.estimators.parsing, "parsing", inputs):
            path = self.workspace.paths(frame.frame_id).parsing
            write_labels(path, clean_parsing(raw, matte, inside))
        for frame_id in self.workspace.ids_with_face():
            paths = self.workspace.paths(frame_id)
            if not paths.segmentation.exists():
                write_labels(paths.segmentation, segmentation_from_parsing(read_labels(paths.parsing)))

    def estimate_normals(self) -> None:
        """Normals, 0 outside of the segmentation."""
        todo = self._todo("normals", lambda i: self.workspace.paths(i).normals.exists())
        inputs = (
            (self._frame(frame_id), self._face(frame_id), self._segmentation(frame_id)) for frame_id in todo
        )
        for (frame, _, segmentation), normals in several_at_once(self.estimators.normals, "normals", inputs):
            known = (segmentation > 0)[..., None]
            write_normals(self.workspace.paths(frame.frame_id).normals, normals * known)

    def write_overview(self) -> None:
        """`dataset.mp4`."""
        if self.workspace.folder.overview_video.exists():
            return
        with VideoWriter(self.workspace.folder.overview_video, float(self.info.video["fps"])) as writer:
            for frame_id in _progress("overview", self.workspace.ids_with_face()):
                paths = self.workspace.paths(frame_id)
                panels = side_by_side(
                    read_rgb(paths.image),
                    read_keypoints(paths.keypoints),
                    read_labels(paths.parsing),
                    self._matte(frame_id),
                    read_normals(paths.normals),
                )
                writer.write(panels)

    def write_split(self) -> None:
        """`split.json`, unless there is one."""
        path = self.workspace.split_path
        if not path.exists():
            write_split(path, default_split(self.workspace.ids_with_face(), HELD_OUT_SHARE))

    # --- what the steps share ----------------------------------------------------------------------------

    def _is_decoded(self, frame_id: int) -> bool:
        original_missing = (
            self.options.keep_original_frames and not self.workspace.original_path(frame_id).exists()
        )
        return self.workspace.paths(frame_id).image.exists() and not original_missing

    def _judge_faces(self) -> None:
        n_frames, without = self.info.n_frames, self.info.frames_without_face
        if len(without) == n_frames:
            raise UserError(
                f"no face was found in any of the {n_frames} frames of '{self.options.video}': the face must "
                "be visible and fill a good part of the picture"
            )
        if len(without) > self.options.max_missing * n_frames:
            raise UserError(
                f"no face in {len(without)} of {n_frames} frames ({some_of(without)}), more than "
                f"--max_missing {self.options.max_missing:g} allows: cut the video, or raise --max_missing"
            )
        if self.info.frames_with_several_faces:
            _logger.warning(
                "warning: several faces in frames %s; the one closest to the previous frame's was taken",
                some_of(self.info.frames_with_several_faces),
            )

    def _todo(self, name: str, is_done: Callable[[int], bool]) -> Iterable[int]:
        todo = [frame_id for frame_id in self.workspace.ids_with_face() if not is_done(frame_id)]
        return _progress(name, todo, silent=not todo)

    def _frame(self, frame_id: int) -> Frame:
        return Frame(frame_id, read_rgb(self.workspace.paths(frame_id).image), self.transform)

    def _face(self, frame_id: int) -> Face:
        return self.workspace.read_observation(frame_id).face

    def _matte(self, frame_id: int) -> np.ndarray:
        return read_labels(self.workspace.matte_path(frame_id)).astype(np.float32) / 255

    def _segmentation(self, frame_id: int) -> np.ndarray:
        return read_labels(self.workspace.paths(frame_id).segmentation)


def _progress(name: str, frame_ids: Iterable[int], silent: bool = False) -> Iterable[int]:
    return frame_ids if silent else tqdm(frame_ids, desc=f"{name:9}", unit="frame", mininterval=0.5)
