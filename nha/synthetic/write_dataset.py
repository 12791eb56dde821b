"""Rendering of a synthetic subject: a video and the exact annotations of its frames.

OUT/video.mp4
OUT/truth/frame_0000/keypoints_static_0000.json, parsing_0000.png, seg_0000.png, normals_0000.png
OUT/truth/tracked_flame_params.npz   true parameters, camera and spherical-harmonics light (linear colours)
OUT/truth/vertices.npz               vertices [F, V, 3] of the head without subdivision, world metres, without hair;
                                     vertex_ids [V] in the head's files; faces [G, 3]; frame [F]; head
OUT/truth/landmarks.npz              landmarks_px [F, 70, 2] in the mesh's order, visible [F, 70]
OUT/truth/masks/mask_0000.png        coverage of each pixel by the person, including clothes (0..255)
OUT/truth/subject.json               the appearance sampled from the seed
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from nha.core.json_file import read_json_object, write_json
from nha.core.output_folder import own_folder, require_own
from nha.core.progress import progress
from nha.core.system import atomic_directory
from nha.core.types import Camera, HeadParams
from nha.data.dataset_folder import DatasetFolder, write_keypoints, write_labels, write_normals
from nha.data.origin import TrackingOrigin
from nha.data.tracking_file import TrackingResult, write_tracking
from nha.data.video_io import VideoWriter
from nha.head.assets import HeadAssets
from nha.head.load import load_head
from nha.synthetic.annotations import Truth, annotate
from nha.synthetic.light import Light, make_light
from nha.synthetic.motion import head_motion, sample_identity
from nha.synthetic.rendering import background, downsample, render_frame
from nha.synthetic.scene import Scene
from nha.synthetic.settings import SyntheticSettings
from nha.synthetic.subject import sample_subject
from nha.synthetic.visibility import visible_points

FOCAL_OVER_SHORTER_EDGE = 2.9
_EYES_ABOVE_MIDDLE_MM, _DISTANCE_MM = 16.0, 1000.0
DESCRIPTION_FILE = "subject.json"


def write_subject(out: Path, settings: SyntheticSettings) -> Path:
    """Render a synthetic subject and write its video and annotations.

    The module's docstring lists the files. Existing files of an earlier call are replaced at the end. Equal settings
    give equal files.

    Args:
        out: the folder to write.
        settings: the subject and the size of the video.

    Returns:
        `out`.

    Raises:
        UserError: a setting is out of range, or the folder cannot be written or contains a `truth` folder from
            another source.
    """
    settings.check()
    out = require_own(out, _files_of_earlier_versions)
    assets = load_head(settings.head)
    subject = sample_subject(settings.seed)
    shape = sample_identity(assets, settings.seed, slim=subject.hair.slim_face)
    scene = Scene(assets, subject, shape)
    params = head_motion(assets, shape, settings.frames, settings.seed, _root_position(scene))
    light = make_light(subject)
    truth_camera = make_camera(settings.size)
    n = settings.supersampling
    image_camera = make_camera((settings.size[0] * n, settings.size[1] * n))
    wall = background(subject, image_camera.image_size)

    vertices = np.concatenate([scene.head_vertices(chunk) for chunk in _chunks(params)])
    with (
        own_folder(out, of_earlier_version=_files_of_earlier_versions) as manifest,
        atomic_directory(out / "truth", manifest.replace_folder) as folder,
        VideoWriter(out / "video.mp4", settings.fps) as video,
    ):
        landmarks, visible = [], []
        for i in progress(range(settings.frames), "rendering", shown=settings.progress):
            posed = scene.pose(params[i : i + 1], vertices[i])
            image, covered = render_frame(scene, posed, image_camera, light, wall)
            video.write(downsample(image, n))
            truth = annotate(scene, visible_points(scene, posed, truth_camera), vertices[i], truth_camera)
            matte = covered.reshape(settings.size[0], n, settings.size[1], n).mean((1, 3))
            _write_frame(folder, i, truth, matte)
            landmarks.append(truth.landmarks_px)
            visible.append(truth.visible)
        write_tracking(folder / "tracked_flame_params.npz", _tracking(params, light, settings, assets))
        _write_arrays(folder, scene, vertices, np.stack(landmarks), np.stack(visible))
        description = subject.as_dict() | {"head": assets.name, "frames": settings.frames}
        write_json(folder / DESCRIPTION_FILE, description)
    return out


def _files_of_earlier_versions(out: Path) -> list[str]:
    """The files of a synthetic video whose version of this program kept no manifest."""
    if not read_json_object(out / "truth" / DESCRIPTION_FILE).keys() >= {"head", "frames"}:
        return []
    inner = [
        f"truth/{name}"
        for name in ("tracked_flame_params.npz", "vertices.npz", "landmarks.npz", DESCRIPTION_FILE)
    ]
    frames = [path.relative_to(out).as_posix() for path in (out / "truth").glob("*/*_*.*")]
    return [name for name in ["video.mp4", *inner, *frames] if (out / name).is_file()]


def make_camera(size: tuple[int, int]) -> Camera:
    """The camera of all synthetic videos, for images of (height, width)."""
    height, width = size
    focal = FOCAL_OVER_SHORTER_EDGE * min(size)
    intrinsics = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    return Camera(intrinsics[None], torch.eye(3, 4)[None], size)


def _root_position(scene: Scene) -> np.ndarray:
    """Rest position [3] of the head's root joint that centres the face in the image, world metres."""
    frame = scene.anatomy.frame
    root_mm = frame.to_mm(scene.joints[0])
    # The head faces -z of the world, so points behind its eyes (negative z in its frame) are farther away.
    return np.array([0.0, root_mm[1] + _EYES_ABOVE_MIDDLE_MM, _DISTANCE_MM - root_mm[2]]) / frame.mm_per_metre


def _chunks(params: HeadParams, size: int = 16):
    return (params[start : start + size] for start in range(0, len(params), size))


def _tracking(
    params: HeadParams, light: Light, settings: SyntheticSettings, assets: HeadAssets
) -> TrackingResult:
    n = settings.frames
    return TrackingResult(
        frame=np.arange(n),
        rotation=params.rotation.numpy(),
        translation=params.translation.numpy(),
        neck_pose=params.neck.numpy(),
        jaw_pose=params.jaw.numpy(),
        eyes_pose=params.eyes.numpy(),
        shape=params.shape[0].numpy(),
        expr=params.expr.numpy(),
        texture=np.zeros(0, np.float32),
        light=np.tile(light.full.astype(np.float32), (n, 1, 1)),
        K=np.array([FOCAL_OVER_SHORTER_EDGE * min(settings.size) / max(settings.size), 0.5, 0.5], np.float32),
        RT=np.eye(3, 4, dtype=np.float32),
        image_size=settings.size,
        view=tuple(f"frame_{i:04d}" for i in range(n)),
        n_processed=n,
        origin=TrackingOrigin(assets.identity),
    )


def _write_frame(folder: Path, frame_id: int, truth: Truth, matte: np.ndarray) -> None:
    paths = DatasetFolder(folder).paths(frame_id)
    write_keypoints(paths.keypoints, truth.keypoints)
    write_labels(paths.parsing, truth.parsing)
    write_labels(paths.segmentation, truth.segmentation)
    write_normals(paths.normals, truth.normals)
    write_labels(folder / "masks" / f"mask_{frame_id:04d}.png", np.rint(matte * 255).astype(np.uint8))


def _write_arrays(
    folder: Path, scene: Scene, vertices: np.ndarray, landmarks: np.ndarray, visible: np.ndarray
) -> None:
    np.savez(
        folder / "vertices.npz",
        vertices=vertices.astype(np.float32),
        vertex_ids=scene.head.kept_vertices.numpy(),
        faces=scene.head.faces.numpy(),
        frame=np.arange(len(vertices)),
        head=scene.assets.name,
    )
    np.savez(
        folder / "landmarks.npz", landmarks_px=landmarks, visible=visible, frame=np.arange(len(vertices))
    )
