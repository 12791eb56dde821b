"""Tracking files of other programs: reading, checking against the landmarks of a dataset, and writing."""
