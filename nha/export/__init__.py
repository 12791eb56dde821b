"""Export of avatars to other programs: OBJ, PLY and glTF files, baked textures, head parameters."""
