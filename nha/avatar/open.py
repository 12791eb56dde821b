"""Opening a trained avatar: its checkpoint, its head model, ready to draw."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import torch

from nha.avatar.avatar import NeuralHeadAvatar
from nha.avatar.checkpoint import (
    AvatarCheckpoint,
    load_avatar,
    published_head_tables,
    read_checkpoint,
    to_published,
    write_checkpoint,
)
from nha.avatar.head_record import RECORD_KEY, head_record, other_head_words
from nha.avatar.settings import AvatarSettings
from nha.core.errors import UserError
from nha.core.system import get_logger
from nha.head.assets import HeadAssets
from nha.head.file_guide import derived_surface
from nha.head.load import load_head
from nha.head.model import HeadModel

_logger = get_logger(__name__)

DERIVED_KEY = "derived_head_tables"  # among the hyper-parameters: the surface tables that are not FLAME's own


def build_head(assets: HeadAssets, settings: AvatarSettings) -> HeadModel:
    """The head model as an avatar with these settings needs it."""
    return HeadModel(assets, subdivisions=settings.subdivide_mesh, blur_sigma=settings.spatial_blur_sigma)


def avatar_settings(hyper_parameters: dict[str, Any]) -> AvatarSettings:
    """The avatar's settings among a checkpoint's hyper-parameters; absent ones keep the published value."""
    names = {field.name for field in dataclasses.fields(AvatarSettings)}
    return AvatarSettings(**{key: value for key, value in hyper_parameters.items() if key in names})


def open_avatar(
    path: str | Path, head: str | Path | None = None, device: torch.device | str = "cpu"
) -> NeuralHeadAvatar:
    """Open an avatar of ours or of the published code, in evaluation mode.

    head: auto, flame, procedural or a folder; None takes the one it was trained with, where the checkpoint says
    so. Raises UserError where checkpoint or head model are missing, broken or do not fit each other.
    """
    checkpoint = read_checkpoint(path)
    hyper = checkpoint.hyper_parameters
    return build_avatar(checkpoint, load_head(head or hyper.get("head") or "auto"), device, path=path)


def build_avatar(
    checkpoint: AvatarCheckpoint,
    assets: HeadAssets,
    device: torch.device | str = "cpu",
    path: str | Path = "the checkpoint",
) -> NeuralHeadAvatar:
    """The avatar of a checkpoint on a head model, in evaluation mode. Raises UserError where they do not fit."""
    hyper = checkpoint.hyper_parameters
    settings = avatar_settings(hyper)
    head = build_head(assets, settings)
    rows = checkpoint.state["_vert_feats"].shape[1]
    other = other_head_words(hyper.get(RECORD_KEY), assets)
    if rows != len(head.offset_vertices):
        if not hyper:
            raise UserError(
                f"'{path}' does not say how the avatar was made: it is the state of a training run; open avatar.ckpt, "
                "which is written beside it when the run has finished"
            )
        raise UserError(
            f"'{path}' was {other}; name the right one with --head"
            if other
            else f"'{path}' was trained on another head model than '{assets.name}' ({rows} vertices with offsets, not "
            f"{len(head.offset_vertices)}); name the right one with --head"
        )
    trained_on = tuple(hyper.get(DERIVED_KEY) or ())
    if trained_on != derived_surface(assets.derived):
        words = [", ".join(derived) or "none" for derived in (trained_on, derived_surface(assets.derived))]
        raise UserError(
            f"'{path}' was trained on a head model with other tables (derived: {words[0]}; here: {words[1]}); "
            f"name the same files with --head, not '{assets.folder}'"
        )
    if other:
        _logger.warning(
            "'%s' was %s: its pictures are not what was trained; --head names another", path, other
        )
    avatar = NeuralHeadAvatar(head, settings, max_frame_id=len(checkpoint.state["_expr"]) - 1)
    load_avatar(avatar, checkpoint)
    return avatar.eval().to(device)


def save_avatar(
    path: str | Path, avatar: NeuralHeadAvatar, assets: HeadAssets, hyper_parameters: dict[str, Any]
) -> Path:
    """Write an avatar in our layout, with the settings that `open_avatar` needs. Returns the path."""
    state = to_published(avatar.state_dict())
    with contextlib.suppress(UserError):  # only FLAME has these tables, only the published code asks for them
        state |= published_head_tables(assets.folder)
    hyper = {**hyper_parameters, **dataclasses.asdict(avatar.settings), RECORD_KEY: head_record(assets)}
    if assets.derived:
        hyper[DERIVED_KEY] = list(derived_surface(assets.derived))
    write_checkpoint(path, AvatarCheckpoint(state, hyper))
    return Path(path)
