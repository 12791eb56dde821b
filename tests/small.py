"""Settings of avatars that are small enough for tests."""

import dataclasses

from nha.avatar.settings import AvatarSettings

SMALL = AvatarSettings(
    subdivide_mesh=0,
    offset_hidden_layers=2,
    offset_hidden_feats=16,
    texture_hidden_layers=2,
    texture_hidden_feats=16,
    texture_d_hidden_dynamic=8,
    texture_map_head=16,
    texture_map_mouth=8,
    d_normal_encoding=4,
    d_normal_encoding_hidden=8,
    n_normal_encoding_hidden=1,
)
SMALL_BLEND = dataclasses.replace(
    SMALL,
    model="blend",
    blend_shapes=3,
    blend_neck_shapes=2,
    blend_textures=2,
    blend_texture_size=32,
    blend_hidden=4,
    blend_smoothing=3,
)
