"""The stages from a video to its annotations: each frame is decoded once and passes all of them.

Decoding, finding the face and the matte, annotating, and writing work at the same time, a few frames apart; how
long the video is changes nothing in what is held. A run that was interrupted continues: a stage leaves out what is
on disk, except that estimators with a memory are shown what they must have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, nullcontext
from pathlib import Path

import numpy as np
from tqdm import tqdm

from nha.core.errors import UserError
from nha.core.system import get_logger
from nha.data.dataset_folder import (
    Keypoints,
    encode_normals,
    read_keypoints,
    read_labels,
    read_rgb,
    write_keypoints,
    write_labels,
    write_rgb,
)
from nha.data.messages import some_of
from nha.data.splits import default_split, write_split
from nha.data.video_io import VideoWriter, count_packets
from nha.preprocess.cleanup import clean_parsing, segmentation_from_parsing
from nha.preprocess.crop import FrameTransform
from nha.preprocess.estimators import EstimatorPack, Face, Frame
from nha.preprocess.frame_job import FrameJob, choose_face, frames_of
from nha.preprocess.options import PreprocessOptions
from nha.preprocess.overview import side_by_side
from nha.preprocess.stream import ahead, several_at_once
from nha.preprocess.workspace import Observation, Workspace

HELD_OUT_SHARE = 0.2
QUEUED_FRAMES = 3  # between two stages: evens out frames that take longer, and bounds the memory

_logger = get_logger(__name__)


class DatasetBuilder:
    """The stages, in running order."""

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
        self.most_frames = count_packets(options.video)
        if options.max_frames:
            self.most_frames = min(self.most_frames, options.max_frames)
        self._last_missing: dict[object, int] = {}  # of estimators that must see all frames before

    def run(self) -> None:
        """All stages, the overview and the split."""
        with ExitStack() as threads:  # which end, last one first, before anything else happens

            def in_thread(jobs: Iterator[FrameJob]) -> Iterator[FrameJob]:
                return threads.enter_context(closing(ahead(jobs, QUEUED_FRAMES)))

            jobs = in_thread(self.decode())
            jobs = in_thread(self.estimate_mattes(self.find_faces(jobs)))
            jobs = in_thread(self.parse(self.find_irises(jobs)))
            jobs = in_thread(self.estimate_normals(jobs))
            self.write_everything(jobs)
        self.write_split()
        self.workspace.finish()

    def decode(self) -> Iterator[FrameJob]:
        """Frames from the video: crop, pad and scale."""
        for frame_id, rgb in frames_of(self.options):
            if rgb.shape[:2] != (self.transform.h_in, self.transform.w_in):
                raise UserError(
                    f"the video changes its size at frame {frame_id}: cut it there, and use one part"
                )
            frame = Frame(frame_id, self.transform.apply_to_rgb(rgb), self.transform)
            yield FrameJob(
                frame,
                self.workspace.paths(frame_id),
                original=rgb if self.options.keep_original_frames else None,
            )

    def find_faces(self, jobs: Iterator[FrameJob]) -> Iterator[FrameJob]:
        """Landmarks; once too many frames have no face, later stages need not bother."""
        estimator = self.estimators.landmarks
        previous: Face | None = None
        n_without = 0
        for job in jobs:
            stored = self.workspace.observation_path(job.frame_id)
            if stored.exists():
                if self._must_see(estimator, self.workspace.observation_path, job.frame_id):
                    estimator.faces(job.frame)
                job.observation = self.workspace.read_observation(job.frame_id)
            else:
                faces = estimator.faces(job.frame)
                job.observation = Observation(len(faces), choose_face(faces, previous))
                self.workspace.write_observation(job.frame_id, job.observation)
            previous = job.face or previous
            n_without += job.face is None
            job.hopeless = n_without > self.options.max_missing * self.most_frames
            yield job

    def estimate_mattes(self, jobs: Iterator[FrameJob]) -> Iterator[FrameJob]:
        """The person's mattes, which are working files."""
        estimator, path_of = self.estimators.matting, self.workspace.matte_path

        def arguments(job: FrameJob) -> tuple | None:
            if not (job.is_annotated or estimator.sequential):
                return None
            return (job.frame,) if self._must_see(estimator, path_of, job.frame_id) else None

        for job, matte in several_at_once(estimator, "matte", jobs, arguments):
            if path_of(job.frame_id).exists():
                job.matte = read_labels(path_of(job.frame_id))
            elif matte is not None:
                job.matte = np.rint(matte * 255).astype(np.uint8)
            yield job

    def find_irises(self, jobs: Iterator[FrameJob]) -> Iterator[FrameJob]:
        """Irises, and with them all keypoints."""
        for job in jobs:
            if job.is_annotated and not job.paths.keypoints.exists():
                job.keypoints = Keypoints(
                    landmarks_px=job.face.landmarks_px,
                    depth=job.face.depth,
                    confidence=job.face.confidence,
                    iris_px=self.estimators.iris.irises(job.frame, job.face),
                    bounding_box=job.face.bounding_box,
                    origin=self.estimators.landmarks.name,
                )
            yield job

    def parse(self, jobs: Iterator[FrameJob]) -> Iterator[FrameJob]:
        """Parsing labels, and the segmentation that follows from them."""
        estimator, inside = self.estimators.parsing, self.transform.inside_picture()

        def path_of(frame_id: int) -> Path:
            return self.workspace.paths(frame_id).parsing

        def arguments(job: FrameJob) -> tuple | None:
            if not (job.is_annotated and self._must_see(estimator, path_of, job.frame_id)):
                return None
            return job.frame, job.face, job.matte.astype(np.float32) / 255

        for job, raw in several_at_once(estimator, "parsing", jobs, arguments):
            if job.is_annotated:
                if job.paths.parsing.exists():
                    job.parsing = read_labels(job.paths.parsing)
                else:
                    job.parsing = clean_parsing(raw, job.matte, inside)
                job.segmentation = segmentation_from_parsing(job.parsing)
            yield job

    def estimate_normals(self, jobs: Iterator[FrameJob]) -> Iterator[FrameJob]:
        """Normals, 0 outside of the segmentation."""

        def arguments(job: FrameJob) -> tuple | None:
            if not job.is_annotated or job.paths.normals.exists():
                return None
            return job.frame, job.face, job.segmentation

        for job, normals in several_at_once(self.estimators.normals, "normals", jobs, arguments):
            if normals is not None:
                job.normals = encode_normals(normals * (job.segmentation > 0)[..., None])
            elif job.is_annotated:
                job.normals = read_rgb(job.paths.normals)
            yield job

    def write_everything(self, jobs: Iterator[FrameJob]) -> None:
        """Files and `dataset.mp4`; says which frames have no face, or several; stops where too many have none."""
        info, overview = self.info, self.workspace.folder.overview_video
        info.frames_without_face, info.frames_with_several_faces, info.frames_without_iris = [], [], []
        n_frames, job = 0, None
        film = VideoWriter(overview, float(info.video["fps"]), preset="ultrafast")
        is_filmed = overview.exists()
        with nullcontext() if is_filmed else film:
            for job in tqdm(jobs, total=self.most_frames, desc="frames", unit="frame", mininterval=0.5):
                n_frames += 1
                if job.observation.n_faces > 1:
                    info.frames_with_several_faces.append(job.frame_id)
                if job.face is None:
                    info.frames_without_face.append(job.frame_id)
                if job.hopeless:
                    continue
                self._write_frame(job)
                if job.is_annotated:
                    keypoints = read_keypoints(job.paths.keypoints)  # as stored, whichever run has found them
                    if (keypoints.iris_px < 0).any():
                        info.frames_without_iris.append(job.frame_id)
                    if not is_filmed:
                        film.write(
                            side_by_side(job.frame.rgb, keypoints, job.parsing, job.matte, job.normals)
                        )
            info.n_frames = n_frames
            self._judge_faces(job.hopeless)
        self.workspace.save_info()

    def write_split(self) -> None:
        """`split.json`, unless there is one."""
        path = self.workspace.split_path
        if not path.exists():
            write_split(path, default_split(self.workspace.ids_with_face(), HELD_OUT_SHARE))

    # --- what the stages share ---------------------------------------------------------------------------

    def _must_see(self, estimator: object, path_of: Callable[[int], Path], frame_id: int) -> bool:
        """Whether an estimator must look at a frame: for its answer, or for those of later frames."""
        if not getattr(estimator, "sequential", False):
            lookback = getattr(estimator, "lookback", 0)
            return any(not path_of(frame_id + i).exists() for i in range(1 + lookback))
        if self.info.n_frames is None:
            return True
        if estimator not in self._last_missing:
            missing = (i for i in reversed(range(self.info.n_frames)) if not path_of(i).exists())
            self._last_missing[estimator] = next(missing, -1)
        return frame_id <= self._last_missing[estimator]

    def _write_frame(self, job: FrameJob) -> None:
        """Write what is known of a frame and not on disk yet."""
        original, matte = self.workspace.original_path(job.frame_id), self.workspace.matte_path(job.frame_id)
        for path, content, write in (
            (original, job.original, write_rgb),
            (job.paths.image, job.frame.rgb, write_rgb),
            (matte, job.matte, write_labels),
            (job.paths.keypoints, job.keypoints, write_keypoints),
            (job.paths.parsing, job.parsing, write_labels),
            (job.paths.segmentation, job.segmentation, write_labels),
            (job.paths.normals, job.normals, write_rgb),
        ):
            if content is not None and not path.exists():
                write(path, content)

    def _judge_faces(self, hopeless: bool) -> None:
        n_frames, without = self.info.n_frames, self.info.frames_without_face
        if len(without) == n_frames:
            raise UserError(
                f"no face was found in any of the {n_frames} frames of '{self.options.video}': the face must "
                "be visible and fill a good part of the picture"
            )
        if hopeless or len(without) > self.options.max_missing * n_frames:
            raise UserError(
                f"no face in {len(without)} of {n_frames} frames ({some_of(without)}), more than "
                f"--max_missing {self.options.max_missing:g} allows: cut the video, or raise --max_missing"
            )
        if self.info.frames_with_several_faces:
            _logger.warning(
                "warning: several faces in frames %s; the one closest to the previous frame's was taken",
                some_of(self.info.frames_with_several_faces),
            )
