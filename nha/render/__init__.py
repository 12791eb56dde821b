"""Rendering of triangle meshes: camera, rasterisation, interpolation, G-buffer and shading."""
