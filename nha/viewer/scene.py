"""The avatar that is viewed: values of the controls to a posed surface, and the surface to an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from nha.avatar.base import HeadAvatar
from nha.avatar.image_renderer import render_rgba
from nha.avatar.matching import tracking_for_head
from nha.core.types import Camera, HeadParams, Surface
from nha.data.tracked_video import Tracking
from nha.data.tracking_file import TrackingResult
from nha.export.rig import expression_reach
from nha.export.source import as_tracking_result, open_source
from nha.live.base_poses import base_poses
from nha.live.driver import LivePose
from nha.render.shading import phong_image
from nha.viewer.controls import JOINT_SLIDERS, Slider, expression_sliders, move_head
from nha.viewer.viewpoint import Viewpoint, viewpoint_of
from nha.visualization.colours import normals_to_rgb01, to_uint8

RenderMode = Literal["avatar", "surface", "normals", "none"]
RENDER_MODES: tuple[RenderMode, ...] = ("avatar", "surface", "normals", "none")


@dataclass(frozen=True)
class ControlState:
    """Values of the controls.

    Attributes:
        values: of the sliders, by name; sliders that are not named are at 0.
        frame_id: the frame to whose pose they are added; None for the neutral pose.
        live: the pose of live driving to which they are added instead, if it is used.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    frame_id: int | None = None
    live: LivePose | None = None

    @property
    def key(self) -> tuple:
        """Equal for states of the same pose."""
        values = tuple(sorted((name, value) for name, value in self.values.items() if value))
        return (self.frame_id, values) if self.live is None else (self.live, values)


@dataclass(frozen=True)
class RenderRequest:
    """An image to render: values of the controls, camera, and what is drawn."""

    state: ControlState
    viewpoint: Viewpoint
    mode: RenderMode = "avatar"


class AvatarScene:
    """An avatar with its controls; `render` draws it.

    Attributes:
        avatar: the avatar.
        tracking: the tracking of its video, or None.
        poses: the poses to which the sliders' values are added.
        viewpoint: of the tracker's camera, or one that shows the whole head.
        sliders: all sliders.
    """

    def __init__(
        self,
        avatar: HeadAvatar,
        tracking: TrackingResult | None,
        *,
        n_expressions: int = 10,
        driving: TrackingResult | None = None,
    ) -> None:
        """Compute the base poses.

        Args:
            avatar: the avatar.
            tracking: the tracking of its video; without it the shape is that of the checkpoint.
            n_expressions: the largest number of expression sliders.
            driving: the tracking of another person, whose motion is played instead of the avatar's own.

        Raises:
            UserError: a tracking file belongs to another head model.
        """
        if tracking is not None:
            tracking = tracking_for_head(tracking, avatar.head)
        if driving is not None:
            driving = tracking_for_head(driving, avatar.head, "the driving tracking file")
        self.avatar, self.tracking = avatar, tracking
        with torch.no_grad():
            self.poses = base_poses(avatar, tracking, driving)
        self.viewpoint = viewpoint_of(self.poses.camera)
        usage = _expression_usage(avatar, driving or tracking)
        self.sliders: tuple[Slider, ...] = (
            *expression_sliders(avatar.head.expression_names, usage, n_expressions),
            *JOINT_SLIDERS,
        )
        self._last: tuple[tuple, Surface] | None = None

    def params(self, state: ControlState) -> HeadParams:
        """The head parameters [1] of a state, corrected. Raises UserError for a frame that was not tracked."""
        base = self.poses.at(state.frame_id) if state.live is None else state.live.params
        return move_head(base, self.sliders, state.values)

    @torch.no_grad()
    def surface(self, state: ControlState) -> Surface:
        """The posed head [1]. The last one is cached, for renderings in which only the camera moves."""
        last = self._last  # read once: another thread may replace it meanwhile
        if last is None or last[0] != state.key:
            last = state.key, self.avatar.surface(self.params(state))
            self._last = last
        return last[1]

    @property
    def centre(self) -> np.ndarray:
        """The centre [3] of the neutral head in metres, around which a camera should turn."""
        vertices = self.surface(ControlState()).vertices[0]
        return ((vertices.amin(0) + vertices.amax(0)) / 2).double().cpu().numpy()

    @property
    def half_width(self) -> float:
        """Half of the neutral head's width in metres, at its widest place."""
        vertices = self.surface(ControlState()).vertices[0]
        return float((vertices[:, 0].amax() - vertices[:, 0].amin()) / 2)

    @torch.no_grad()
    def render(
        self,
        state: ControlState,
        viewpoint: Viewpoint,
        image_size: tuple[int, int],
        mode: RenderMode = "avatar",
    ) -> np.ndarray:
        """Render one image.

        Args:
            state: values of the controls.
            viewpoint: the camera.
            image_size: (height, width) in pixels.
            mode: "avatar" is the neural image, "surface" the shaded mesh, "normals" its normals as colours, "none" a
                white image.

        Returns:
            uint8 [H, W, 3] on white.
        """
        if mode == "none":
            return np.full((*image_size, 3), 255, np.uint8)
        surface = self.surface(state)
        camera = viewpoint.camera(image_size).to(surface.vertices.device)
        if mode == "surface":
            image = phong_image(surface.vertices, self.avatar.head.faces, camera)
        elif mode == "normals":
            rendering = self.avatar.draw(surface, camera, channels=("normals",), paint=False)
            image = normals_to_rgb01(rendering.gbuffer["normals"], rendering.alpha)
        else:
            image = self._avatar_image(state, camera)
        return to_uint8(image[0])

    def _avatar_image(self, state: ControlState, camera: Camera) -> Tensor:
        """rgb01 [1, 3, H, W]; on a GPU one graph poses and draws, elsewhere the cached surface is drawn."""
        if camera.intrinsics.is_cuda:
            return render_rgba(self.avatar, self.params(state), camera, corrected=True)[:, :3]
        return self.avatar.draw(self.surface(state), camera).rgb01


def _expression_usage(avatar: HeadAvatar, tracking: TrackingResult | None) -> Tensor:
    """How far each expression coefficient moves the surface at 1, or at its root mean square in a tracking: [E]."""
    reach = expression_reach(avatar.head).cpu()
    if tracking is None:
        return reach
    return reach * torch.from_numpy(tracking.expr).square().mean(0).sqrt()


def open_scene(
    avatar: HeadAvatar | str | Path,
    tracking: TrackingResult | Tracking | str | Path | None = None,
    *,
    head: str | Path | None = None,
    n_expressions: int = 10,
    device: str = "auto",
    driving: TrackingResult | Tracking | str | Path | None = None,
) -> AvatarScene:
    """Open an avatar for viewing.

    Args:
        avatar, tracking, head, device: see `nha.export.source.open_source`.
        n_expressions: the largest number of expression sliders.
        driving: tracking of another person, whose motion is played.

    Raises:
        UserError: a file is missing or broken, or the files do not fit each other.
    """
    source = open_source(avatar, tracking, head, device)
    return AvatarScene(
        source.avatar, source.tracking, n_expressions=n_expressions, driving=as_tracking_result(driving)
    )
