"""Sizes of the avatar's networks and a few constants of its surface; the published keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nha.core.config import Settings, setting


@dataclass(frozen=True)
class AvatarSettings(Settings):
    """Avatar: networks and surface."""

    model: Literal["published", "blend"] = setting(
        "published",
        section="Avatar",
        help="Model of the avatar: published (networks of the paper) or blend (linear offsets and blended textures).",
    )
    subdivide_mesh: int = setting(
        1, minimum=0, maximum=4, help="How many times each face is split into four."
    )
    spatial_blur_sigma: float = setting(
        0.01, minimum=0, help="Width of the soft part labels on the surface, in metres.", maximum=10
    )
    offset_hidden_layers: int = setting(
        6, minimum=1, help="Hidden layers of the vertex offset network.", maximum=32
    )
    offset_hidden_feats: int = setting(128, minimum=1, help="Width of these layers.", maximum=2048)
    vertex_feats: int = setting(
        32, minimum=1, help="Learned input features per vertex of the offset network.", maximum=2048
    )
    texture_hidden_layers: int = setting(
        8, minimum=1, help="Hidden layers of the texture network.", maximum=32
    )
    texture_hidden_feats: int = setting(256, minimum=1, help="Width of these layers.", maximum=2048)
    texture_d_hidden_dynamic: int = setting(
        128,
        minimum=1,
        help="Width of the texture network's layer that takes the encoded normals.",
        maximum=2048,
    )
    texture_map_feats: int = setting(
        64, minimum=1, help="Channels of the learned feature maps in UV space.", maximum=512
    )
    texture_map_head: int = setting(
        256, minimum=1, help="Side of the head's feature map in texels.", maximum=2048
    )
    texture_map_mouth: int = setting(
        64, minimum=1, help="Side of the mouth's feature map in texels.", maximum=2048
    )
    d_normal_encoding: int = setting(32, minimum=1, help="Channels of the encoded normals.", maximum=2048)
    d_normal_encoding_hidden: int = setting(
        128, minimum=1, help="Channels of the normal encoder's hidden layers.", maximum=2048
    )
    n_normal_encoding_hidden: int = setting(
        2, minimum=1, help="Hidden layers of the normal encoder.", maximum=32
    )
    soft_clip_sigma: float = setting(
        0.1,
        minimum=0,
        help="Strength of the soft clipping of the head rotation that conditions the texture; 0 turns it off.",
        maximum=1000,
    )
    blend_shapes: int = setting(
        16, minimum=1, maximum=256, section="Blend model", help="Personal shapes of the face."
    )
    blend_neck_shapes: int = setting(
        4, minimum=0, maximum=64, help="Personal shapes of the neck, whose rim the clothes hide."
    )
    blend_smoothing: int = setting(
        12, minimum=0, maximum=200, help="Times that offsets are averaged with their neighbours."
    )
    blend_teeth: bool = setting(
        False, help="Teeth and the inside of the mouth as geometry, not as a surface between the lips."
    )
    blend_still_torso: bool = setting(
        False, help="The neck turns and the torso stays still, where the tracking turns both."
    )
    blend_continue_unseen: bool = setting(
        False, help="Surface that no training frame shows continues the offsets and colours around it."
    )
    blend_textures: int = setting(12, minimum=1, maximum=64, help="Basis images that the pose blends.")
    blend_texture_size: int = setting(
        0,
        minimum=0,
        maximum=4096,
        help="Side of the head's texture in texels, the mouth's has a quarter; 0 takes the power of two that is not "
        "smaller than the images.",
    )
    blend_hidden: int = setting(
        32,
        minimum=1,
        maximum=1024,
        help="Width of the network that computes the weights of the basis images.",
    )
