"""Score an avatar on the frames of a dataset, or compare several: table, JSON, videos, HTML report."""

from __future__ import annotations

from nha.core.config import parse_settings
from nha.core.system import run_script


def main() -> None:
    """Parse the settings, evaluate, print the table and where the results are."""
    from nha.evaluation.run import evaluate_avatar
    from nha.evaluation.settings import EvaluationSettings

    results = evaluate_avatar(parse_settings(EvaluationSettings, description=__doc__))
    print(results.table().as_text())
    print(f"scores and videos: {results.out}")
    print(f"report: {results.report}")


if __name__ == "__main__":
    run_script(main)
