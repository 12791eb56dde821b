"""The job of `export_avatar.py`: an avatar as files that other programs open."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nha.avatar.checkpoint import read_checkpoint
from nha.avatar.open import avatar_from_checkpoint
from nha.avatar.tracked import check_same_head, own_tracking
from nha.core.device import pick_device
from nha.core.mesh import vertex_normals
from nha.core.system import atomic_path, require_writable
from nha.core.types import HeadParams
from nha.data.dataset_folder import write_rgb
from nha.export.bake import MAPS, bake_textures
from nha.export.errors import Textures, picture_report, rig_report
from nha.export.gltf import Clip, write_glb
from nha.export.meshes import TexturedMesh, write_mtl, write_obj, write_ply
from nha.export.parameters import flame_parameters, write_parameters
from nha.export.poses import Pose, frame_params, neutral_params, pose_of
from nha.export.rig import Rig, make_rig, motion_of
from nha.export.settings import ExportSettings
from nha.export.textured import sample_texture
from nha.export.views import BakingViews, own_view_first, views_of
from nha.head.load import load_head

SUMMARY_FILE, GLB_FILE = "export.json", "avatar.glb"
UNITS = "metres, +y up; at rest the root joint is at the origin and the head looks along +z"


@torch.no_grad()
def export_avatar(settings: ExportSettings) -> tuple[list[Path], dict[str, Any]]:
    """Write the formats that the settings name; returns the paths and what export.json says.

    Raises UserError for settings, checkpoint, head model and tracking file that do not fit each other, before
    anything is written.
    """
    settings.check()
    export = _Export(settings)
    formats = [name for name in ("obj", "ply", "glb", "params") if name in settings.formats]
    writers = {
        "obj": export.write_objs,
        "ply": export.write_plys,
        "glb": export.write_glb,
        "params": export.write_params,
    }
    written = [path for name in formats for path in writers[name]()]
    summary = export.summary(written)
    path = export.out / SUMMARY_FILE
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(summary, indent=1), encoding="utf-8")
    return [*written, path], summary


class _Export:
    """One avatar, opened, with what its formats share; poses and textures are made when first needed."""

    def __init__(self, settings: ExportSettings) -> None:
        checkpoint = read_checkpoint(settings.ckpt)
        self.settings = settings
        self.tracking = own_tracking(checkpoint, settings.tracking)
        self.assets = load_head(settings.head or checkpoint.hyper_parameters.get("head") or "auto")
        device = pick_device(settings.device)
        self.avatar = avatar_from_checkpoint(checkpoint, self.assets, device, path=settings.ckpt)
        self.head = self.avatar.head
        if self.tracking is not None:
            check_same_head(self.tracking, self.head)
        self.pose = functools.cache(functools.partial(pose_of, self.avatar, self.tracking))
        self.textures = functools.cache(self._bake)
        self.frame_ids = list(settings.frames) or [None]
        for frame_id in (*self.frame_ids, settings.bind_frame, settings.texture_frame):
            self.pose(frame_id)
        self.out = require_writable(settings.out)

    @property
    def comment(self) -> str:
        """A line for every file: units and licence."""
        return f"{UNITS}; head model {self.assets.name}: {self.assets.licence}"

    @functools.cached_property
    def views(self) -> BakingViews:
        return views_of(self.avatar, self.tracking, self.settings.views)

    @functools.cached_property
    def moved(self) -> HeadParams:
        """All tracked frames, or the head at rest."""
        if self.tracking is None:
            return self.pose(None).params
        return frame_params(self.avatar, self.tracking, self.tracking.frame.tolist())

    @functools.cached_property
    def rig(self) -> Rig:
        s = self.settings
        return make_rig(
            self.avatar, self.pose(s.bind_frame).surface, self.assets.expression_names, s.morphs, self.moved
        )

    @property
    def glb_texture_frame(self) -> int | None:
        s = self.settings
        return s.bind_frame if s.texture_frame is None else s.texture_frame

    def _bake(self, frame_id: int | None, own_view: bool = False) -> Textures:
        """The maps with the mouth of a frame (None: at rest); own_view: seen from that frame's camera before others."""
        s, views = self.settings, self.views
        if own_view and frame_id is not None and s.views > 0:
            views = own_view_first(self.avatar, self.tracking, frame_id, views)
        features = self.avatar.mouth_features(self.pose(frame_id).surface)
        return bake_textures(self.avatar, features, views, s.texture_size, s.raster_backend)

    def _frame_textures(self, frame_id: int | None) -> Textures:
        """What the OBJ and PLY of a pose show."""
        return self.textures(frame_id) if frame_id is None else self.textures(frame_id, own_view=True)

    def _mesh(self, pose: Pose) -> TexturedMesh:
        head, vertices = self.head, pose.surface.vertices
        normals = vertex_normals(vertices, head.faces)[0]
        tables = (vertices[0], normals, head.uvs, head.faces, head.uv_faces, head.face_uvmap)
        return TexturedMesh(*(table.cpu().numpy() for table in tables))

    # --- formats ------------------------------------------------------------------------------------------

    def write_objs(self) -> list[Path]:
        """NAME.obj, NAME.mtl and one picture for each map, for every pose."""
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
            mesh = self._mesh(pose)
            colours = self._vertex_colours(self._frame_textures(frame_id))
            write_ply(path, mesh.vertices, mesh.normals, colours, mesh.faces, self.comment)
            written.append(path)
        return written

    def _vertex_colours(self, textures: Textures) -> np.ndarray:
        """uint8 [V, 3]; a vertex of both maps has the head's colour."""
        head = self.head
        colours = np.zeros((head.n_vertices, 3), np.uint8)
        for uv_map in (1, 0):  # the head's last
            own = head.face_uvmap == uv_map
            rgb01 = sample_texture(textures[uv_map], head.uvs[head.uv_faces[own].reshape(-1)])
            colours[head.faces[own].reshape(-1).cpu().numpy()] = np.rint(255 * rgb01.cpu().numpy())
        return colours

    def write_glb(self) -> list[Path]:
        """avatar.glb: the rig, with the tracked motion where there is one and it is wanted."""
        s, path, clip, camera = self.settings, self.out / GLB_FILE, None, None
        stand = motion_of(self.head, self.rig, self.rig.bind)
        if self.tracking is not None and s.animation:
            order = np.argsort(self.tracking.frame)
            frames = self.tracking.frame[order]
            times_s = (frames - frames[0]) / s.frame_rate
            motion = motion_of(
                self.head, self.rig, self.moved[torch.from_numpy(order).to(self.moved.expr.device)]
            )
            clip = Clip(motion, times_s)
            camera = self.tracking.camera_for([0], self.tracking.image_size)
        textures = self.textures(self.glb_texture_frame)
        write_glb(path, self.head, self.rig, stand, textures, clip=clip, camera=camera, about=self.comment)
        return [path]

    def write_params(self) -> list[Path]:
        """head_parameters.npz and .json: all tracked frames, or the head at rest."""
        frame_ids = [-1] if self.tracking is None else self.tracking.frame.tolist()
        arrays = flame_parameters(self.head, self.moved, frame_ids)
        return write_parameters(self.out, arrays, {"units": UNITS, "head_model": self.assets.name})

    # --- summary ------------------------------------------------------------------------------------------

    def summary(self, written: list[Path]) -> dict[str, Any]:
        """What export.json says."""
        s = self.settings
        content: dict[str, Any] = {
            "checkpoint": str(s.ckpt),
            "head_model": self.assets.name,
            "licence": self.assets.licence,
            "units": UNITS,
            "poses": [self.pose(frame_id).name for frame_id in self.frame_ids],
            "files_bytes": {path.name: path.stat().st_size for path in written},
        }
        if "glb" in s.formats:
            content["glb"] = {
                "bind_pose": self.pose(s.bind_frame).name,
                "texture_pose": self.pose(self.glb_texture_frame).name,
                "morph_targets": list(self.rig.morphs.names),
            }
        if s.report:
            content["report"] = self._report()
        return content

    def _report(self) -> dict[str, Any]:
        rest = neutral_params(self.avatar, self.tracking)
        content: dict[str, Any] = {
            "rig": rig_report(self.avatar, self.rig, self.tracking and self.moved, rest)
        }
        if self.tracking is not None:
            textures = self.textures(self.glb_texture_frame)
            content["pictures"] = picture_report(
                self.avatar, self.rig, self.tracking, textures, self.settings.raster_backend
            )
        return content
