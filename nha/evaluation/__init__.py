"""How good is an avatar, and how good was its tracking: metrics, evaluation, comparison with a known truth, report."""
