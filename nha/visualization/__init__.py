"""Pictures for looking at: colours for quantities, labels, pictures side by side. Pure functions on arrays.

Pictures are uint8 [H, W, 3] RGB here; the tensors of the other packages are turned into such by `to_uint8`.
"""
