"""Synthetic subjects: invented people on video, with every annotation known exactly."""
