"""Building, opening and saving of an avatar with its head model."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nha.avatar.avatar import NeuralHeadAvatar
from nha.avatar.base import HeadAvatar
from nha.avatar.blend_avatar import BlendAvatar
from nha.avatar.checkpoint import (
    AvatarCheckpoint,
    load_state,
    offset_rows,
    read_checkpoint,
    write_checkpoint,
)
from nha.avatar.head_record import describe_head_mismatch, head_record
from nha.avatar.settings import AvatarSettings
from nha.avatar.training_record import record_of
from nha.core.errors import UserError
from nha.head.assets import HeadAssets
from nha.head.derived.mouth_interior import with_mouth_interior
from nha.head.derived.neck_rim import with_rim_of_torso
from nha.head.file_guide import derived_surface
from nha.head.load import load_head
from nha.head.model import HeadModel
from nha.nets.offset_net import OffsetNet
from nha.nets.texture_net import TextureNet

PUBLISHED_NETWORKS = {"texture_net": TextureNet, "offset_net": OffsetNet}  # attributes that can be replaced


def build_head(assets: HeadAssets, settings: AvatarSettings) -> HeadModel:
    """The head model with the subdivision, the soft labels and the mouth of these settings."""
    if settings.model == "blend" and settings.blend_teeth:
        assets = with_mouth_interior(assets)
    if settings.model == "blend" and settings.blend_still_torso:
        assets = with_rim_of_torso(assets)
    return HeadModel(assets, subdivisions=settings.subdivide_mesh, blur_sigma=settings.spatial_blur_sigma)


def build_avatar(
    assets: HeadAssets,
    settings: AvatarSettings,
    max_frame_id: int,
    texture_net: nn.Module | None = None,
    offset_net: nn.Module | None = None,
) -> HeadAvatar:
    """An untrained avatar on a head model.

    Args:
        assets: the head model's files (`nha.head.load.load_head`).
        settings: sizes of the networks.
        max_frame_id: the largest frame id of the dataset.
        texture_net: a network with the interface of `TextureNet.forward` in place of the published one.
        offset_net: a network with the interface of `OffsetNet.forward` in place of the published one.

    Raises:
        UserError: the head model lacks something that an avatar needs.
    """
    head = build_head(assets, settings)
    if settings.model == "blend":
        if texture_net is not None or offset_net is not None:
            raise UserError(
                "only the published model has networks that can be replaced; leave out --model blend"
            )
        return BlendAvatar(head, settings, max_frame_id)
    return NeuralHeadAvatar(head, settings, max_frame_id, texture_net=texture_net, offset_net=offset_net)


def avatar_settings(hyper_parameters: dict[str, Any]) -> AvatarSettings:
    """The avatar's settings among a checkpoint's hyper-parameters; absent ones keep the published value.

    Raises:
        UserError: a value is of a wrong type or out of its range.
    """
    names = {field.name for field in dataclasses.fields(AvatarSettings)}
    given = {key: value for key, value in hyper_parameters.items() if key in names}
    plain = (int, float, str, bool)
    if wrong := [key for key, value in given.items() if not isinstance(value, plain)]:
        raise UserError(
            f"the checkpoint's setting {wrong[0]} is neither a number nor a text; train the avatar again"
        )
    return AvatarSettings.from_ini(**given)


def load_avatar(
    path: str | Path,
    head: str | Path | None = None,
    device: torch.device | str = "cpu",
    *,
    texture_net: nn.Module | None = None,
    offset_net: nn.Module | None = None,
) -> HeadAvatar:
    """Open a trained avatar of this project or of the published code, in evaluation mode.

    Args:
        path: the checkpoint file.
        head: auto, flame, procedural or a folder; None takes the head model that the checkpoint names.
        device: the device of the avatar's tensors.
        texture_net: the network that was given in the training, for an avatar with another texture network.
        offset_net: the same for the offset network.

    Returns:
        The avatar; `avatar.render(params, camera)` draws it.

    Raises:
        UserError: checkpoint or head model are missing, damaged or do not fit each other.
    """
    checkpoint = read_checkpoint(path)
    assets = load_head(head or checkpoint.hyper_parameters.get("head") or "auto")
    return avatar_from_checkpoint(
        checkpoint, assets, device, path=path, texture_net=texture_net, offset_net=offset_net
    )


def avatar_from_checkpoint(
    checkpoint: AvatarCheckpoint,
    assets: HeadAssets,
    device: torch.device | str = "cpu",
    path: str | Path = "the checkpoint",
    *,
    texture_net: nn.Module | None = None,
    offset_net: nn.Module | None = None,
) -> HeadAvatar:
    """The avatar of a checkpoint and a head model that are already in memory; otherwise as `load_avatar`.

    Args:
        checkpoint: see `read_checkpoint`.
        assets: see `nha.head.load.load_head`.
        device: the device of the avatar's tensors.
        path: name of the checkpoint in error messages.
        texture_net, offset_net: as in `load_avatar`.
    """
    networks = {"texture_net": texture_net, "offset_net": offset_net}
    _check_networks(checkpoint, networks, path)
    settings = avatar_settings(checkpoint.hyper_parameters)
    _check_sizes(checkpoint, settings, assets, path)
    max_frame_id = len(checkpoint.state["frame_parameters.expr"]) - 1
    avatar = build_avatar(assets, settings, max_frame_id, **networks)
    _check_head(checkpoint, avatar.head, assets, path)
    load_state(avatar, checkpoint)
    avatar.trained_on = checkpoint.trained_on
    return avatar.eval().to(device)


def save_avatar(
    path: str | Path,
    avatar: HeadAvatar,
    assets: HeadAssets,
    hyper_parameters: dict[str, Any],
    trained_on: dict[str, Any] | None = None,
) -> Path:
    """Write an avatar with everything that `load_avatar` needs.

    Args:
        path: the file.
        avatar: the avatar.
        assets: the files of its head model.
        hyper_parameters: settings of the training, which are stored with it.
        trained_on: see `nha.avatar.training_record`; None keeps the record that the avatar was opened with.

    Returns:
        The path.
    """
    checkpoint = AvatarCheckpoint(
        state=avatar.state_dict(),
        hyper_parameters={**hyper_parameters, **dataclasses.asdict(avatar.settings)},
        head_model=head_record(assets),
        networks=replaced_networks(avatar),
        trained_on=record_of(avatar) if trained_on is None else trained_on,
    )
    write_checkpoint(path, checkpoint)
    return Path(path)


def replaced_networks(avatar: HeadAvatar) -> dict[str, str]:
    """The networks in place of published ones: attribute of the avatar to class name."""
    if not isinstance(avatar, NeuralHeadAvatar):
        return {}
    types = {name: type(getattr(avatar, name)) for name in PUBLISHED_NETWORKS}
    return {
        name: f"{own.__module__}.{own.__qualname__}"
        for name, own in types.items()
        if own is not PUBLISHED_NETWORKS[name]
    }


def _check_networks(
    checkpoint: AvatarCheckpoint, networks: dict[str, nn.Module | None], path: str | Path
) -> None:
    """Raise UserError where a network that replaces a published one is missing."""
    for name, recorded in checkpoint.networks.items():
        if networks.get(name) is None:
            raise UserError(
                f"'{path}' was trained with another {name}, {recorded}; open it from Python with "
                f"nha.load_avatar(path, {name}=...)"
            )


def _check_sizes(
    checkpoint: AvatarCheckpoint, settings: AvatarSettings, assets: HeadAssets, path: str | Path
) -> None:
    """Raise UserError for settings of an avatar far larger than the checkpoint's tensors, before it is built."""
    rows = checkpoint.state.get("frame_parameters.expr")
    if rows is None or rows.ndim != 2 or not len(rows):
        raise UserError(f"'{path}' has no table of expression corrections; train the avatar again")
    if not checkpoint.hyper_parameters:
        return
    s, stored = settings, sum(tensor.numel() for tensor in checkpoint.state.values())
    texels = s.texture_map_head**2 + s.texture_map_mouth**2
    weights = (
        s.texture_hidden_layers * s.texture_hidden_feats**2
        + s.offset_hidden_layers * s.offset_hidden_feats**2
    )
    vertices = len(assets.template_vertices) * 4**s.subdivide_mesh
    # the head model's own tables have some 1300 numbers for each vertex, and are no part of the checkpoint
    if max(texels * s.texture_map_feats, weights, vertices) > 4 * stored + 10**7:
        raise UserError(
            f"'{path}' has settings of a far larger avatar than its tensors (subdivide_mesh {s.subdivide_mesh}, "
            f"texture_map_head {s.texture_map_head}, texture_hidden_feats {s.texture_hidden_feats}); it is damaged"
        )
    rows_stored = offset_rows(checkpoint.state)
    if rows_stored is not None and vertices > 50 * rows_stored + 10**5:
        raise UserError(
            f"'{path}' has subdivide_mesh {s.subdivide_mesh}, but only {rows_stored} vertices; it is damaged"
        )


def _check_head(checkpoint: AvatarCheckpoint, head: HeadModel, assets: HeadAssets, path: str | Path) -> None:
    """Raise UserError, or warn, where an avatar was trained on another head model."""
    rows = offset_rows(checkpoint.state)
    other = describe_head_mismatch(checkpoint.head_model, assets)
    if rows != len(head.offset_vertices):
        if not checkpoint.hyper_parameters:
            raise UserError(
                f"'{path}' holds no settings, because it is the state of a training run; open avatar.ckpt, which is "
                "written beside it when the run has finished"
            )
        raise UserError(
            f"'{path}' was {other}; choose the right one with --head"
            if other
            else f"'{path}' was trained on another head model than '{assets.name}' ({rows} vertices with offsets, not "
            f"{len(head.offset_vertices)}); choose the right one with --head"
        )
    trained_on = tuple(checkpoint.head_model.get("derived") or ())
    if trained_on != derived_surface(assets.derived):
        words = [", ".join(derived) or "none" for derived in (trained_on, derived_surface(assets.derived))]
        raise UserError(
            f"'{path}' was trained on a head model with other tables (derived: {words[0]}; here: {words[1]}); "
            f"choose the same files with --head, not '{assets.folder}'"
        )
    if other:
        raise UserError(f"'{path}' was {other}; choose the right one with --head")
