"""Sizes of the avatar's networks and a few constants of its surface; the published keys."""

from __future__ import annotations

from dataclasses import dataclass

from nha.core.config import setting


@dataclass(frozen=True)
class AvatarSettings:
    """Avatar: networks and surface."""

    subdivide_mesh: int = setting(1, section="Avatar", help="How often the head's faces are split in four.")
    spatial_blur_sigma: float = setting(0.01, help="Width of the soft part labels on the surface, in metres.")
    offset_hidden_layers: int = setting(6, help="Hidden layers of the network that offsets the vertices.")
    offset_hidden_feats: int = setting(128, help="Width of these layers.")
    vertex_feats: int = setting(32, help="Learned features per vertex that the offset network sees.")
    texture_hidden_layers: int = setting(8, help="Hidden layers of the texture network.")
    texture_hidden_feats: int = setting(256, help="Width of these layers.")
    texture_d_hidden_dynamic: int = setting(
        128, help="Width of the texture network's layer that sees normals."
    )
    texture_map_feats: int = setting(64, help="Channels of the learned feature maps over the UV maps.")
    texture_map_head: int = setting(256, help="Side of the head's feature map in texels.")
    texture_map_mouth: int = setting(64, help="Side of the mouth's feature map in texels.")
    d_normal_encoding: int = setting(32, help="Channels of the encoded normals.")
    d_normal_encoding_hidden: int = setting(128, help="Channels of the normal encoder's hidden layers.")
    n_normal_encoding_hidden: int = setting(2, help="Hidden layers of the normal encoder.")
    soft_clip_sigma: float = setting(
        0.1,
        help="How strongly the head's rotation is compressed before it conditions the texture (0: not at all).",
    )
