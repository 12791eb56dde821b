"""Exporting an avatar as files for other programs."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nha.avatar.base import HeadAvatar
from nha.avatar.blend_avatar import BlendAvatar
from nha.core.finite import TRAIN_AGAIN
from nha.core.json_file import write_json
from nha.core.mesh import vertex_normals
from nha.core.output_folder import own_folder, require_own
from nha.core.progress import progress
from nha.core.system import get_logger
from nha.core.types import Camera, HeadParams
from nha.data.dataset_folder import write_rgb
from nha.export.accuracy import image_accuracy, page_accuracy, rig_accuracy
from nha.export.blend_files import write_blend_files
from nha.export.eyeballs import eyeball_shifts, move_eyeballs_back
from nha.export.face_shapes import add_blink, make_arkit_rig
from nha.export.facts import UNITS, comment_line, glb_facts
from nha.export.mesh_files import TexturedMesh, write_mtl, write_obj, write_ply
from nha.export.model_textures import model_textures
from nha.export.page import write_page
from nha.export.page_images import find_chromium
from nha.export.parameters import flame_parameters, write_parameters
from nha.export.poses import Pose, frame_params, neutral_params, pose_avatar
from nha.export.rig import Rig, left_out_expressions_metres, make_rig, rig_motion
from nha.export.rigged_glb import AnimationClip, write_rigged_glb
from nha.export.settings import FORMATS, ExportSettings
from nha.export.source import AvatarSource, open_source
from nha.export.textures import MAPS, Textures, vertex_colours
from nha.export.views import BakingViews, baking_views, frame_views
from nha.render.rasterize import raster_backend

_logger = get_logger(__name__)

_NOTICEABLE_METRES = 2e-4

SUMMARY_FILE, GLB_FILE, PAGE_FILE = "export.json", "avatar.glb", "avatar.html"


@torch.no_grad()
def export_avatar(
    settings: ExportSettings, avatar: HeadAvatar | None = None
) -> tuple[list[Path], dict[str, Any]]:
    """Export an avatar to files for other programs; `nha.export` is the same with keywords.

    Args:
        settings: the formats, the output folder and the input files.
        avatar: an open avatar in place of `settings.ckpt`; without `settings.tracking` it is exported in its neutral
            pose with the template's shape.

    Returns:
        The written files, and the content of the last one, export.json.

    Raises:
        UserError: settings, checkpoint, head model and tracking do not fit each other; nothing is written then.
    """
    settings.check()
    with raster_backend(settings.raster_backend), contextlib.ExitStack() as held:
        opened = settings.ckpt if avatar is None else avatar
        exporter = _Exporter(settings, open_source(opened, settings.tracking, settings.head, settings.device))
        held.enter_context(own_folder(exporter.out))
        formats = [name for name in FORMATS if name in settings.formats]
        written = [
            path for name in progress(formats, "export", unit="formats") for path in exporter.writers[name]()
        ]
        summary = exporter.summary(written)
        path = exporter.out / SUMMARY_FILE
        write_json(path, summary, TRAIN_AGAIN)
    return [*written, path], summary


class _Exporter:
    """Writes the formats of one avatar; what they share (poses, rig, textures) is computed when first needed."""

    def __init__(self, settings: ExportSettings, source: AvatarSource) -> None:
        self.settings, self.source = settings, source
        self.avatar, self.tracking, self.head = source.avatar, source.tracking, source.avatar.head
        self.pose = functools.cache(functools.partial(pose_avatar, self.avatar, self.tracking))
        self.textures = functools.cache(self._bake)
        self.frame_ids = list(settings.frames) or [None]
        for frame_id in (*self.frame_ids, settings.bind_frame, settings.texture_frame):
            self.pose(frame_id)  # raises UserError before anything is written
        self.out = require_own(settings.out)
        self.writers = {
            "obj": self.write_objs,
            "ply": self.write_plys,
            "glb": self.write_glb,
            "html": self.write_html,
            "params": self.write_params,
        }

    @property
    def comment(self) -> str:
        return comment_line(self.head)

    @functools.cached_property
    def views(self) -> BakingViews:
        return baking_views(self.avatar, self.tracking, self.settings.views)

    @functools.cached_property
    def all_poses(self) -> HeadParams:
        """All tracked frames, or the neutral pose."""
        if self.tracking is None:
            return self.pose(None).params
        return frame_params(self.avatar, self.tracking, self.tracking.frame.tolist())

    @property
    def ordered_poses(self) -> HeadParams:
        """All tracked frames in the order of their ids."""
        order = torch.from_numpy(np.argsort(self.tracking.frame))
        return self.all_poses[order.to(self.all_poses.expr.device)]

    @property
    def _played(self) -> tuple[HeadParams, Camera]:
        """The poses that a page plays, and the camera of the video [1]; without tracking the neutral pose."""
        if self.tracking is None:
            return self.all_poses, self.views.camera[:1]
        camera = self.tracking.camera_for([0], self.tracking.image_size)
        return self.ordered_poses, camera.to(self.avatar.device)

    @functools.cached_property
    def rig(self) -> Rig:
        s = self.settings
        neutral = self.pose(None).params
        if s.shapes == "arkit":
            return make_arkit_rig(self.avatar, neutral, self.all_poses)
        rig = make_rig(self.avatar, self.pose(s.bind_frame).surface, s.morphs, self.all_poses)
        left_out = left_out_expressions_metres(self.head, rig, self.all_poses)
        if left_out > _NOTICEABLE_METRES:
            text = (
                "the GLB leaves out expressions that move the surface by up to %.1f mm; --morphs %d keeps all"
            )
            _logger.info(text, 1000 * left_out, self.head.n_expr)
        return rig if s.bind_frame is not None else add_blink(self.avatar, rig, neutral)

    @functools.cached_property
    def eyeball_shifts(self) -> tuple[float, float]:
        """How far the GLB's eyeballs lie behind the avatar's own, in metres."""
        return eyeball_shifts(self.avatar, self.pose(None).params, self.all_poses)

    @property
    def glb_texture_frame(self) -> int | None:
        s = self.settings
        return s.bind_frame if s.texture_frame is None else s.texture_frame

    def _bake(self, frame_id: int | None, own_view: bool = False, light: bool = True) -> Textures:
        """The textures with a frame's mouth (None: neutral).

        Args:
            frame_id: the frame.
            own_view: seen from that frame's camera before others.
            light: see `model_textures`.
        """
        s, views = self.settings, self.views
        if own_view and frame_id is not None and s.views > 0:
            views = frame_views(self.avatar, self.tracking, frame_id, views)
        camera = None
        if frame_id is not None:
            camera = self.tracking.camera_for([frame_id], self.tracking.image_size).to(self.avatar.device)
        return model_textures(self.avatar, self.pose(frame_id).surface, camera, views, s.texture_size, light)

    def _frame_textures(self, frame_id: int | None) -> Textures:
        """The textures of the OBJ and PLY files of a pose."""
        return self.textures(frame_id) if frame_id is None else self.textures(frame_id, own_view=True)

    def _mesh(self, pose: Pose) -> TexturedMesh:
        head, vertices = self.head, pose.surface.vertices
        normals = vertex_normals(vertices, head.faces)[0]
        tables = (vertices[0], normals, head.uvs, head.faces, head.uv_faces, head.face_uvmap)
        return TexturedMesh(*(table.cpu().numpy() for table in tables))

    # --- formats ------------------------------------------------------------------------------------------

    def write_objs(self) -> list[Path]:
        """NAME.obj, NAME.mtl and one image for each map, for every pose."""
        written = []
        for frame_id in self.frame_ids:
            pose = self.pose(frame_id)
            names = {uv_map: f"{pose.name}_{uv_map}.png" for uv_map in MAPS}
            for name, texture in zip(names.values(), self._frame_textures(frame_id), strict=True):
                write_rgb(self.out / name, texture)
            obj, mtl = self.out / f"{pose.name}.obj", self.out / f"{pose.name}.mtl"
            write_mtl(mtl, names)
            write_obj(obj, self._mesh(pose), mtl.name, MAPS, self.comment)
            written += [obj, mtl, *(self.out / name for name in names.values())]
        return written

    def write_plys(self) -> list[Path]:
        """NAME.ply for every pose; a vertex has the texture's colour at it."""
        written = []
        for frame_id in self.frame_ids:
            pose, path = self.pose(frame_id), self.out / f"{self.pose(frame_id).name}.ply"
            colours = vertex_colours(self.head, self._frame_textures(frame_id))
            write_ply(path, self._mesh(pose), colours, self.comment)
            written.append(path)
        return written

    def write_glb(self) -> list[Path]:
        """avatar.glb: the rig, with the tracked motion unless the settings leave it out."""
        s, path, clip, camera = self.settings, self.out / GLB_FILE, None, None
        if self.tracking is not None and s.animation:
            frames = np.sort(self.tracking.frame)
            motion = rig_motion(self.avatar, self.rig, self.ordered_poses)
            clip = AnimationClip(motion, (frames - frames[0]) / s.frame_rate)
            camera = self.tracking.camera_for([0], self.tracking.image_size)
        write_rigged_glb(
            path,
            self.head,
            move_eyeballs_back(self.avatar, self.rig, self.eyeball_shifts),
            rig_motion(self.avatar, self.rig, self.rig.bind),
            self.textures(self.glb_texture_frame, **({"light": False} if s.material == "lit" else {})),
            clip=clip,
            camera=camera,
            lit=s.material == "lit",
            extras=glb_facts(self.head, self.tracking if s.animation else None, s.frame_rate),
        )
        if isinstance(self.avatar, BlendAvatar):
            return [path, *write_blend_files(self.out, self.avatar, *self._played)]
        return [path]

    def write_html(self) -> list[Path]:
        """avatar.html: a page that shows the avatar and plays the tracked motion."""
        path, (frames, camera) = self.out / PAGE_FILE, self._played
        write_page(
            path,
            self.avatar,
            make_rig(self.avatar, self.pose(None).surface, self.head.n_expr, self.all_poses),
            frames,
            self.textures(self.glb_texture_frame),
            camera,
            frame_rate=self.settings.frame_rate / self._id_step,
            comment=self.comment,
        )
        return [path]

    @property
    def _id_step(self) -> float:
        """Usual distance of the tracked frames' ids, which are their numbers in the video."""
        ids = np.sort(self.tracking.frame) if self.tracking is not None else np.arange(2)
        return float(np.median(np.diff(ids))) if len(ids) > 1 else 1.0

    def write_params(self) -> list[Path]:
        """head_parameters.npz and .json: all tracked frames, or the neutral pose."""
        frame_ids = [-1] if self.tracking is None else self.tracking.frame.tolist()
        arrays = flame_parameters(self.head, self.all_poses, frame_ids)
        return write_parameters(self.out, arrays, {"units": UNITS, "head_model": self.head.name})

    # --- summary ------------------------------------------------------------------------------------------

    def summary(self, written: list[Path]) -> dict[str, Any]:
        """The content of export.json."""
        s = self.settings
        content: dict[str, Any] = {
            "checkpoint": None if self.source.checkpoint is None else str(self.source.checkpoint),
            "head_model": self.head.name,
            "licence": self.head.licence,
            "units": UNITS,
            "poses": [self.pose(frame_id).name for frame_id in self.frame_ids],
            "files_bytes": {path.name: path.stat().st_size for path in written},
        }
        if "glb" in s.formats:
            content["glb"] = {
                "bind_pose": self.pose(s.bind_frame).name,
                "texture_pose": self.pose(self.glb_texture_frame).name,
                "morph_targets": list(self.rig.morphs.names),
                "eyeballs_moved_back_mm": [round(1000 * shift, 2) for shift in self.eyeball_shifts],
            }
        if s.report:
            content["report"] = self._report()
        return content

    def _report(self) -> dict[str, Any]:
        neutral = neutral_params(self.avatar, self.tracking)
        tracked = None if self.tracking is None else self.all_poses
        report: dict[str, Any] = {"rig": rig_accuracy(self.avatar, self.rig, tracked, neutral)}
        if self.tracking is not None:
            textures = self.textures(self.glb_texture_frame)
            report["images"] = image_accuracy(self.avatar, self.rig, self.tracking, textures)
            report |= self._page_report()
        return report

    def _page_report(self) -> dict[str, Any]:
        """The accuracy of avatar.html where it is written and a browser can draw it."""
        if "html" not in self.settings.formats:
            return {}
        chromium = find_chromium()
        if chromium is None:
            _logger.info("avatar.html is not compared with the avatar's images: Chromium is not installed")
            return {}
        return {"page": page_accuracy(self.avatar, self.tracking, self.out / PAGE_FILE, chromium)}
