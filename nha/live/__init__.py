"""Live driving: an avatar that follows the face in front of a camera.

`driver.LiveDriver` is the core: images in, head parameters of the avatar out, without threads and without a viewer.
Reading order: `sources` (frames of a camera or a file), `detector` (landmarks), `fit` (landmarks to parameters),
`calibration` (the driving person's neutral face), `retarget` (parameters of the avatar), `one_euro` (smoothing),
`driver` (all of these for one frame), `session` (the same in a thread beside the renderer), `timing`.
"""
