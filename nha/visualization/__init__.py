"""Images for reports: colour maps, charts, captions and grids.

Images are uint8 [H, W, 3] RGB. `to_uint8` converts the image tensors of the other packages.
"""
