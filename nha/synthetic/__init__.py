"""The synthetic subject: an invented person on video, with every annotation known exactly."""

from nha.synthetic.write_dataset import SyntheticSettings, write_subject

__all__ = ["SyntheticSettings", "write_subject"]
