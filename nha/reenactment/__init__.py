"""Reenactment: an avatar that is animated with the motion of another person's video."""
