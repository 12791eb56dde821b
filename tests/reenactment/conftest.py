"""The avatar and the dataset are those of the evaluation's tests."""

from tests.evaluation.conftest import avatar, checkpoint, settings

__all__ = ["avatar", "checkpoint", "settings"]
