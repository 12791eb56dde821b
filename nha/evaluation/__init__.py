"""Evaluation of avatars and trackings: metrics, comparison with ground truth, reports. `docs/method.md`, section 8."""
