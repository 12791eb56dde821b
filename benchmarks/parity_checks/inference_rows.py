"""Rows of the head's tables, the posed surface, its rasterisation, and rendered images."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from nha.avatar.avatar import NeuralHeadAvatar
from nha.avatar.checkpoint import load_state
from nha.avatar.published_layout import from_published
from nha.head.model import HeadModel
from nha.reenactment.transfer import Actor, transferred_motion
from nha.render.gbuffer import draw_gbuffer
from nha.render.shading import phong_image
from parity_checks.golden_folder import GoldenFolder
from parity_checks.report import Report
from parity_checks.rounding import offset_rounding_m

# The neutral frames of target and driving person in the golden README.
NEUTRAL_TARGET_FRAME, NEUTRAL_DRIVING_FRAME = 0, 1


def check_head(report: Report, golden: GoldenFolder, head: HeadModel) -> None:
    """Topology and tables."""
    theirs, ours = golden.part_names, head.part_names
    differs = sum(a != b for a, b in zip(ours, theirs, strict=False)) + abs(len(ours) - len(theirs))
    report.add("labels", (len(theirs),), differs, differs / len(theirs), report.tolerance["tables"])
    tables = head.tables
    report.absolute("faces", tables.faces, golden.tensor("faces"), "tables")
    report.absolute("v_template", head.template[head.kept_vertices], golden.tensor("v_template"), "tables")
    report.absolute("face_uvcoords", tables.face_uvcoords, golden.tensor("face_uvcoords"), "uv")
    report.absolute("face_uvmap", tables.face_uvmap, golden.tensor("face_uvmap"), "tables")
    coords = golden.tensor("face_coords_normed")
    report.absolute("face_coords_normed", tables.face_coords_normed, coords, "uv")
    report.absolute("vert_labels", tables.hard_labels, golden.tensor("vert_labels"), "tables")
    soft = golden.tensor("blurred_vert_labels").float()
    deviation = (tables.soft_labels.cpu() - soft).abs()
    limit = report.tolerance["soft_label_max"]
    many = (deviation > report.tolerance["soft_label"]).sum() > report.tolerance["soft_label_count"]
    ok = not many and deviation.max() <= limit
    report.add("blurred_vert_labels", soft.shape, deviation.max(), deviation.mean(), limit, ok)


@torch.no_grad()
def check_surface(report: Report, golden: GoldenFolder, avatar: NeuralHeadAvatar) -> None:
    """Vertices, landmarks, conditions, and their rasterisation."""
    batch, head = golden.batch().to(avatar.device), avatar.head
    surface = avatar.surface(avatar.corrected(batch.tracked, batch.frame_id))
    landmarks = head.landmarks(surface.vertices)
    report.absolute("offsets", surface.offsets, golden.tensor("offsets"), "metres")
    report.absolute("verts_no_offsets", surface.plain_vertices, golden.tensor("verts_no_offsets"), "metres")
    rounding = offset_rounding_m(head, surface.params, surface.offsets)[..., None]
    report.absolute_or_rounding("verts", surface.vertices, golden.tensor("verts"), "metres", rounding)
    report.absolute("lmks", landmarks, golden.tensor("lmks"), "metres")
    features = avatar.mouth_features(surface)
    report.absolute("mouth_conditioning", features, golden.tensor("mouth_conditioning"), "mouth_conditioning")

    # Where our vertices are the reference's but for rounding, its own are rasterised: in tight folds the rounding
    # depends on the processor's matrix product (see rounding.py), and the rows below are about the rasteriser.
    agreed = "verts" not in report.failed
    vertices = golden.tensor("verts").to(surface.vertices) if agreed else surface.vertices
    channels = ("normals", "screen_coords", "hard_labels")
    gbuffer = draw_gbuffer(vertices, head.tables, batch.camera, channels).to("cpu")
    face = gbuffer.fragments.face_index[..., 0]
    their_face = golden.tensor("pix_to_face")
    # the reference numbers faces through the whole batch
    their_face = torch.where(their_face < 0, -1, their_face % len(head.faces))
    report.count("pix_to_face", face != their_face, "faces_picked")
    agree = face == their_face
    drawn = agree & (face >= 0)
    report.surface("bary", gbuffer.fragments.barycentric[..., 0, :], golden.tensor("bary"), drawn)
    report.surface("zbuf", gbuffer.fragments.depth, golden.tensor("zbuf")[..., None], drawn)
    coords = gbuffer["screen_coords"].permute(0, 2, 3, 1) * agree[..., None]
    their_coords = golden.tensor("screen_coords") * agree[..., None]
    report.absolute("screen_coords", coords, their_coords, "screen_coords")
    normals = torch.cat([gbuffer["normals"], gbuffer.alpha], 1).permute(0, 2, 3, 1)
    report.surface("normals", normals, golden.tensor("normals").permute(0, 2, 3, 1), drawn)
    labels = torch.cat([gbuffer["hard_labels"], gbuffer.alpha], 1) * agree[:, None]
    report.absolute("semantics", labels, golden.tensor("semantics").float() * agree[:, None], "semantics")


@torch.no_grad()
def check_images(report: Report, golden: GoldenFolder, avatar: NeuralHeadAvatar) -> None:
    """Rendered images: with and without frame ids, Phong shading, reenactment."""
    device = avatar.device
    batch = golden.batch().to(device)
    rgba = avatar(batch.tracked, batch.camera, batch.frame_id)
    report.colour("rgba_eval", rgba, golden.tensor("rgba_eval"))
    free = avatar(batch.tracked, batch.camera)
    report.colour("rgba_noframe", free, golden.tensor("rgba_noframe"))
    surface = avatar.surface(avatar.corrected(batch.tracked, batch.frame_id))
    shaded = phong_image(surface.vertices, avatar.head.faces, batch.camera)
    report.colour("shaded", shaded, golden.tensor("shaded"))

    frames, tracking = batch.frame_id.tolist(), golden.tracking
    neutral_target, neutral_driving = (
        tracking.params_for([frame]).to(device) for frame in (NEUTRAL_TARGET_FRAME, NEUTRAL_DRIVING_FRAME)
    )
    motion = transferred_motion(
        Actor(avatar, neutral_target, NEUTRAL_TARGET_FRAME),
        Actor(driving_avatar(golden, avatar), neutral_driving, NEUTRAL_DRIVING_FRAME),
        tracking.params_for(frames).to(device),
        batch.frame_id,
    )
    camera = tracking.camera_for(frames, golden.image_size).to(device)
    moved = avatar.render(motion.params, camera, corrected=True, offset_neck=motion.offset_neck)
    report.colour("reenact", moved.rgb01, golden.tensor("reenact"))


def driving_avatar(golden: GoldenFolder, avatar: NeuralHeadAvatar) -> NeuralHeadAvatar:
    """The driving avatar: the same, or one with other corrections where the folder holds them."""
    corrections = golden.folder / "driving_corrections.npz"
    if not corrections.is_file():
        return avatar
    changed = from_published({name: torch.from_numpy(value) for name, value in np.load(corrections).items()})
    state = {**golden.checkpoint.state, **changed}
    driver = NeuralHeadAvatar(avatar.head, avatar.settings, len(state["frame_parameters.expr"]) - 1)
    load_state(driver, dataclasses.replace(golden.checkpoint, state=state))
    return driver.eval().to(avatar.device)
