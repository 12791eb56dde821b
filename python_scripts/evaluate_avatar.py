"""Score an avatar on the frames of a dataset: table, scores as JSON, film and HTML report."""

from __future__ import annotations

from nha.core.config import parse_settings
from nha.core.system import run_script
from nha.evaluation.run import FILM_FILE, REPORT_FILE, SCORES_FILE, EvaluationSettings, evaluate_avatar


def main() -> None:
    """Parse the settings, evaluate, print the table and where the results are."""
    out, table = evaluate_avatar(parse_settings(EvaluationSettings, description=__doc__))
    print(table)
    for name in (SCORES_FILE, FILM_FILE, REPORT_FILE):
        print(out / name)


if __name__ == "__main__":
    run_script(main)
