"""Neural head avatars from monocular RGB videos: reconstruct a person's head from one video, then pose it."""
