"""The steps from a video to its annotations. Each frame is decoded once and passes through all of them.

Decoding, face detection and matting, parsing, normals, and writing run at the same time in threads, a few frames
apart, so memory does not depend on the length of the video. `StoredResults` skips results that an earlier run has
stored and replays earlier frames to estimators with a state.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace

import numpy as np

from nha.core.errors import UserError
from nha.core.progress import progress
from nha.core.system import get_logger
from nha.data.dataset_folder import Keypoints, encode_normals, read_keypoints
from nha.data.frame_checks import LARGEST_ROLL_DEG, face_roll_deg
from nha.data.messages import some_of
from nha.data.plausibility import find_covered_faces, measure_face_colours
from nha.data.splits import default_split
from nha.data.video_io import count_packets
from nha.preprocess.cleanup import clean_parsing, segmentation_from_parsing
from nha.preprocess.crop import FrameTransform
from nha.preprocess.estimators import EstimatorSet, Face, Frame
from nha.preprocess.frame_job import FaceDetection, FrameJob, decode_video, select_face
from nha.preprocess.options import PreprocessOptions
from nha.preprocess.overview import side_by_side
from nha.preprocess.resume import Workspace
from nha.preprocess.stored_results import StoredResults
from nha.preprocess.stream import prefetch

HELD_OUT_SHARE = 0.2
QUEUED_FRAMES = 3  # between two threads: evens out frames that take longer, and bounds the memory

_logger = get_logger(__name__)


class DatasetBuilder:
    """The steps, in the order in which they run."""

    def __init__(
        self,
        options: PreprocessOptions,
        workspace: Workspace,
        estimators: EstimatorSet,
        transform: FrameTransform,
    ) -> None:
        self.options = options
        self.workspace = workspace
        self.estimators = estimators
        self.transform = transform
        self.results = StoredResults(workspace, estimators)
        self.info = workspace.info
        self.max_frames = -(-count_packets(options.video) // options.every)
        if options.max_frames:
            self.max_frames = min(self.max_frames, options.max_frames)

    def run(self) -> None:
        """Annotate all frames; write them, the overview video and the split."""
        with ExitStack() as threads:  # they end in reverse order when the block ends

            def in_thread(jobs: Iterator[FrameJob]) -> Iterator[FrameJob]:
                return threads.enter_context(closing(prefetch(jobs, QUEUED_FRAMES)))

            jobs = in_thread(self.decode())
            jobs = in_thread(self.estimate_mattes(self.find_faces(jobs)))
            jobs = in_thread(self.parse(self.find_irises(jobs)))
            jobs = in_thread(self.estimate_normals(jobs))
            self.write_frames(jobs)
        self.workspace.store_split(default_split(self.info.ids_for_split(), HELD_OUT_SHARE))
        self.workspace.finish()

    def decode(self) -> Iterator[FrameJob]:
        """Frames of the video after crop, padding and scaling."""
        for frame_id, decoded in decode_video(self.options):
            rgb, alpha = decoded.rgb, decoded.alpha
            if rgb.shape[:2] != (self.transform.h_in, self.transform.w_in):
                raise UserError(
                    f"the video changes its size at frame {frame_id}: cut it there, and use one part"
                )
            frame = Frame(frame_id, self.transform.apply_to_rgb(rgb), self.transform, rgb)
            original = rgb if self.options.keep_original_frames else None
            has_matte = alpha is not None and alpha.min() < 255
            given_matte = self.transform.apply_to_matte(alpha) if has_matte else None
            yield FrameJob(frame, self.workspace.paths(frame_id), original, given_matte)

    def find_faces(self, jobs: Iterator[FrameJob]) -> Iterator[FrameJob]:
        """Detect faces and select one. Once too many frames have none, later steps skip all frames."""
        previous: Face | None = None
        n_without = 0

        def select(job: FrameJob, faces: list[Face]) -> FaceDetection:
            return FaceDetection(len(faces), select_face(faces, previous))

        for job, detection in self.results.obtain("landmarks", jobs, lambda job: (job.frame,), select):
            job.detection = detection
            job.frame = replace(job.frame, original=None)  # large, and later steps do not need it
            self.results.store_detection(job)
            previous = job.face or previous
            n_without += job.face is None
            job.is_rejected = n_without > self.options.max_missing * self.max_frames
            yield job

    def estimate_mattes(self, jobs: Iterator[FrameJob]) -> Iterator[FrameJob]:
        """Estimate the mattes of frames that have none; they are kept only until the dataset is finished."""
        processes_all = self.estimators.matting.sequential

        def arguments(job: FrameJob) -> tuple | None:
            if job.given_matte is not None:
                return None
            return (job.frame,) if job.is_annotated or processes_all else None

        def to_uint8(job: FrameJob, matte: np.ndarray) -> np.ndarray:
            return np.rint(matte * 255).astype(np.uint8)

        for job, matte in self.results.obtain("matting", jobs, arguments, to_uint8):
            job.matte = matte if job.given_matte is None else job.given_matte
            yield job

    def find_irises(self, jobs: Iterator[FrameJob]) -> Iterator[FrameJob]:
        """Locate the irises and combine them with the landmarks."""

        def arguments(job: FrameJob) -> tuple | None:
            return (job.frame, job.face) if job.is_annotated else None

        def keypoints(job: FrameJob, irises: np.ndarray) -> Keypoints:
            return Keypoints(
                landmarks_px=job.face.landmarks_px,
                depth=job.face.depth,
                confidence=job.face.confidence,
                iris_px=irises,
                bounding_box=job.face.bounding_box,
                origin=self.estimators.landmarks.name,
            )

        for job, found in self.results.obtain("iris", jobs, arguments, keypoints):
            job.keypoints = found
            yield job

    def parse(self, jobs: Iterator[FrameJob]) -> Iterator[FrameJob]:
        """Estimate the parsing labels and derive the segmentation from them."""
        inside = self.transform.inside_image()

        def arguments(job: FrameJob) -> tuple | None:
            return (job.frame, job.face, job.matte.astype(np.float32) / 255) if job.is_annotated else None

        def clean(job: FrameJob, labels: np.ndarray) -> np.ndarray:
            return clean_parsing(labels, job.matte, inside)

        for job, labels in self.results.obtain("parsing", jobs, arguments, clean):
            if labels is not None:
                job.parsing, job.segmentation = labels, segmentation_from_parsing(labels)
            yield job

    def estimate_normals(self, jobs: Iterator[FrameJob]) -> Iterator[FrameJob]:
        """Estimate the normals, which are 0 outside of the segmentation."""

        def arguments(job: FrameJob) -> tuple | None:
            return (job.frame, job.face, job.segmentation) if job.is_annotated else None

        def encode(job: FrameJob, normals: np.ndarray) -> np.ndarray:
            return encode_normals(normals * (job.segmentation > 0)[..., None])

        for job, normals in self.results.obtain("normals", jobs, arguments, encode):
            job.normals = normals
            yield job

    def write_frames(self, jobs: Iterator[FrameJob]) -> None:
        """Write the files of all frames and the overview video, and record frames that lack something.

        Raises:
            UserError: too many frames have no face.
        """
        info = self.info
        info.frames_without_face, info.frames_with_several_faces, info.frames_without_iris = [], [], []
        info.frames_turned = []
        colours: dict[int, np.ndarray] = {}
        n_frames, job = 0, None
        with self.workspace.overview_writer() as overview:
            for job in progress(jobs, "preprocessing", self.max_frames):
                n_frames += 1
                if job.detection.n_faces > 1:
                    info.frames_with_several_faces.append(job.frame_id)
                if job.face is None:
                    info.frames_without_face.append(job.frame_id)
                if job.is_rejected:
                    continue
                self.workspace.store_frame(job)
                if job.is_annotated:
                    keypoints = read_keypoints(job.paths.keypoints)  # rounded as in the file
                    self._record_face(job, keypoints)
                    colours[job.frame_id] = measure_face_colours(
                        job.frame.rgb, keypoints.landmarks_px, job.segmentation > 0
                    )
                    if overview is not None:
                        image = side_by_side(job.frame.rgb, keypoints, job.parsing, job.matte, job.normals)
                        overview.write(image)
            info.n_frames = n_frames
            info.frames_covered = list(find_covered_faces(colours))
            self._check_faces(job.is_rejected)
        self.workspace.save_info()

    def _record_face(self, job: FrameJob, keypoints: Keypoints) -> None:
        if (keypoints.iris_px < 0).any():
            self.info.frames_without_iris.append(job.frame_id)
        roll_deg = face_roll_deg(keypoints.landmarks_px)
        if roll_deg is not None and abs(roll_deg) > LARGEST_ROLL_DEG:
            self.info.frames_turned.append(job.frame_id)

    def _check_faces(self, is_rejected: bool) -> None:
        n_frames, without = self.info.n_frames, self.info.frames_without_face
        if len(without) == n_frames:
            raise UserError(
                f"no face was found in any of the {n_frames} frames of '{self.options.video}': the face must "
                "be visible and fill a good part of the image"
            )
        if is_rejected or len(without) > self.options.max_missing * n_frames:
            raise UserError(
                f"no face in {len(without)} of {n_frames} frames ({some_of(without)}), more than "
                f"--max_missing {self.options.max_missing:g} allows: cut the video, or raise --max_missing"
            )
        if self.info.frames_with_several_faces:
            _logger.warning(
                "warning: several faces in frames %s; the one closest to that of the previous frame was used",
                some_of(self.info.frames_with_several_faces),
            )
        for frame_ids, what in (
            (self.info.frames_turned, "the face is upside down or on its side (see --rotate)"),
            (self.info.frames_covered, "something seems to cover the face; split.json leaves them out"),
        ):
            if frame_ids:
                _logger.warning("warning: frames %s: %s", some_of(frame_ids), what)
