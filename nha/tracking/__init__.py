"""Tracking: head pose, expression, identity, albedo, light and camera of every frame of a video."""
