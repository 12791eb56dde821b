"""Sizes of the avatar's networks and a few constants of its surface; the published keys."""

from __future__ import annotations

from dataclasses import dataclass

from nha.core.config import Settings, setting


@dataclass(frozen=True)
class AvatarSettings(Settings):
    """Avatar: networks and surface."""

    subdivide_mesh: int = setting(
        1, section="Avatar", minimum=0, maximum=4, help="How many times each face is split into four."
    )
    spatial_blur_sigma: float = setting(
        0.01, minimum=0, help="Width of the soft part labels on the surface, in metres."
    )
    offset_hidden_layers: int = setting(6, minimum=1, help="Hidden layers of the vertex offset network.")
    offset_hidden_feats: int = setting(128, minimum=1, help="Width of these layers.")
    vertex_feats: int = setting(
        32, minimum=1, help="Learned input features per vertex of the offset network."
    )
    texture_hidden_layers: int = setting(8, minimum=1, help="Hidden layers of the texture network.")
    texture_hidden_feats: int = setting(256, minimum=1, help="Width of these layers.")
    texture_d_hidden_dynamic: int = setting(
        128, minimum=1, help="Width of the texture network's layer that takes the encoded normals."
    )
    texture_map_feats: int = setting(64, minimum=1, help="Channels of the learned feature maps in UV space.")
    texture_map_head: int = setting(256, minimum=1, help="Side of the head's feature map in texels.")
    texture_map_mouth: int = setting(64, minimum=1, help="Side of the mouth's feature map in texels.")
    d_normal_encoding: int = setting(32, minimum=1, help="Channels of the encoded normals.")
    d_normal_encoding_hidden: int = setting(
        128, minimum=1, help="Channels of the normal encoder's hidden layers."
    )
    n_normal_encoding_hidden: int = setting(2, minimum=1, help="Hidden layers of the normal encoder.")
    soft_clip_sigma: float = setting(
        0.1,
        minimum=0,
        help="Strength of the soft clipping of the head rotation that conditions the texture; 0 turns it off.",
    )
