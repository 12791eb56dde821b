"""The avatar and the dataset of the evaluation's tests."""

from tests.evaluation.conftest import avatar, checkpoint, settings

__all__ = ["avatar", "checkpoint", "settings"]
