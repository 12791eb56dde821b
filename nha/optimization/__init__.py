"""Fitting of an avatar to a tracked video in three stages."""
