"""An opened avatar with the heads that it can be shown as, and its pictures: state to picture, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from nha.avatar.avatar import NeuralHeadAvatar
from nha.avatar.checkpoint import read_checkpoint
from nha.avatar.open import avatar_from_checkpoint
from nha.avatar.tracked import check_same_head, own_tracking
from nha.core.device import pick_device
from nha.core.errors import UserError
from nha.core.rotations import rotation_matrix, rotation_vector
from nha.core.types import Camera, HeadParams, Surface
from nha.data.messages import some_of
from nha.data.tracking_file import TrackingResult, read_tracking
from nha.export.poses import frame_params, neutral_params
from nha.export.rig import expression_reach
from nha.export.views import round_trip_views
from nha.head.load import load_head
from nha.render.shading import phong_picture
from nha.viewer.controls import JOINT_SLIDERS, Slider, expression_sliders, move_head
from nha.viewer.played import driven_heads
from nha.viewer.viewpoint import Viewpoint, viewpoint_of
from nha.visualization.colours import normals_to_rgb01, to_uint8

Look = Literal["avatar", "surface", "normals", "nothing"]
LOOKS: tuple[Look, ...] = ("avatar", "surface", "normals", "nothing")


@dataclass(frozen=True)
class State:
    """What is to be seen: values of the sliders, and the tracked frame that they are added to (None: at rest)."""

    values: Mapping[str, float] = field(default_factory=dict)
    frame_id: int | None = None

    @property
    def key(self) -> tuple:
        """Equal for states that look the same."""
        return self.frame_id, tuple(sorted((name, value) for name, value in self.values.items() if value))


class Stage:
    """An avatar, and where it stands: `picture(state, viewpoint, height, width)` is all that a viewer needs.

    avatar; tracking: of its video, or None; frame_ids: of the frames that can be played; rest: the person at rest [1],
    before the tracker's camera; viewpoint: that camera's, or one that sees the whole head; sliders: all controls.
    """

    def __init__(
        self,
        avatar: NeuralHeadAvatar,
        tracking: TrackingResult | None,
        expression_names: tuple[str, ...] = (),
        n_expressions: int = 10,
        backend: str = "auto",
        driving: TrackingResult | None = None,
    ) -> None:
        """expression_names: of the first coefficients, where known; driving: of another person's video, whose motion is
        played instead of the own. Raises UserError for a tracking file of another head model."""
        self.avatar, self.tracking, self.backend = avatar.requires_grad_(False), tracking, backend
        for file in (tracking, driving):
            if file is not None:
                check_same_head(file, avatar.head)
        rest = neutral_params(avatar, tracking)
        views = round_trip_views(avatar, rest, tracking)
        self.rest, camera = views.params[:1], views.camera[:1]  # the first one is from the front
        if tracking is not None:
            camera = tracking.camera_for([0], tracking.image_size).to(rest.rotation.device)
            self.rest = _before(camera, self.rest)
        self.viewpoint = viewpoint_of(camera)
        played = driving or tracking
        self.frame_ids: tuple[int, ...] = () if played is None else tuple(sorted(played.frame.tolist()))
        if driving is not None:
            self._frames = driven_heads(self.rest, camera.extrinsics[0, :, :3], driving)
        elif tracking is not None:
            self._frames = frame_params(avatar, tracking, self.frame_ids)
        self.sliders: tuple[Slider, ...] = (
            *expression_sliders(expression_names, _use_of_expressions(avatar, played), n_expressions),
            *JOINT_SLIDERS,
        )
        self._last: tuple[tuple, Surface] | None = None

    def head(self, state: State) -> HeadParams:
        """The corrected parameters [1] of a state. Raises UserError for a frame that was not tracked."""
        return move_head(self._base(state.frame_id), self.sliders, state.values)

    def _base(self, frame_id: int | None) -> HeadParams:
        if frame_id is None:
            return self.rest
        if not self.frame_ids:
            raise UserError(f"frame {frame_id} needs a tracking file; name it with --tracking")
        if frame_id not in self.frame_ids:
            raise UserError(
                f"the tracking file has no frame {frame_id}, only {some_of(list(self.frame_ids))}"
            )
        row = self.frame_ids.index(frame_id)
        return self._frames[row : row + 1]

    @torch.no_grad()
    def surface(self, state: State) -> Surface:
        """The posed head [1]; the last one is kept, for a camera that moves alone."""
        last = self._last  # read once: another thread may put its own there meanwhile
        if last is None or last[0] != state.key:
            last = state.key, self.avatar.surface(self.head(state))
            self._last = last
        return last[1]

    @property
    def middle(self) -> np.ndarray:
        """The middle [3] of the head at rest, metres: what a camera should turn about."""
        vertices = self.surface(State()).vertices[0]
        return ((vertices.amin(0) + vertices.amax(0)) / 2).double().cpu().numpy()

    @torch.no_grad()
    def picture(
        self, state: State, viewpoint: Viewpoint, image_size: tuple[int, int], look: Look = "avatar"
    ) -> np.ndarray:
        """One picture, uint8 [H, W, 3] on white.

        image_size: (height, width); look: the neural picture, the shaded surface, its normals as colours, or white.
        """
        if look == "nothing":
            return np.full((*image_size, 3), 255, np.uint8)
        surface = self.surface(state)
        camera = viewpoint.camera(image_size).to(surface.vertices.device)
        if look == "surface":
            drawn = phong_picture(surface.vertices, self.avatar.head.faces, camera, self.backend)
        else:
            gbuffer = self.avatar.rasterize(surface, camera, backend=self.backend)
            if look == "normals":
                drawn = normals_to_rgb01(gbuffer["normals"], gbuffer.alpha)
            else:
                drawn = self.avatar.paint(gbuffer, self.avatar.mouth_features(surface))
        return to_uint8(drawn[0])


def _before(camera: Camera, params: HeadParams) -> HeadParams:
    """Heads [1] that stand before `camera` [1] as `params` do before a camera at the origin that looks along +z."""
    rotation, shift = camera.extrinsics[0, :, :3], camera.extrinsics[0, :, 3]
    turned = rotation_vector(rotation @ rotation_matrix(params.rotation))
    return params.replace(rotation=turned, translation=(params.translation - shift) @ rotation.T)


def _use_of_expressions(avatar: NeuralHeadAvatar, tracking: TrackingResult | None) -> Tensor:
    """How far each coefficient moves the surface, at 1 or, with a tracking file, as it is used there: [E]."""
    reach = expression_reach(avatar.head).cpu()
    if tracking is None:
        return reach
    return reach * torch.from_numpy(tracking.expr).square().mean(0).sqrt()


def open_stage(
    ckpt: str | Path,
    tracking: str | Path | None = None,
    head: str | None = None,
    n_expressions: int = 10,
    device: str = "auto",
    backend: str = "auto",
    driving: str | Path | None = None,
) -> Stage:
    """Open an avatar for playing.

    tracking: of its video, None for the one that it was trained with, where that is still there; head: None for the
    one that it was trained with; driving: tracking file of another person, whose motion is played. Raises UserError
    for files that are missing or do not fit each other.
    """
    checkpoint = read_checkpoint(ckpt)
    tracked = own_tracking(checkpoint, tracking)
    assets = load_head(head or checkpoint.hyper_parameters.get("head") or "auto")
    avatar = avatar_from_checkpoint(checkpoint, assets, pick_device(device), path=ckpt)
    other = None if driving is None else read_tracking(driving)
    return Stage(avatar, tracked, assets.expression_names, n_expressions, backend, other)
