"""Fit a neural head avatar to a tracked video."""

from nha.core.config import parse_settings
from nha.core.system import get_logger, run_script


def main() -> None:
    # after parsing: --help and a mistyped key should not wait for torch's import
    from nha.optimization.config import OptimizationSettings

    settings = parse_settings(
        OptimizationSettings,
        description="Fit a neural head avatar to a tracked video in three stages: geometry, texture, joint.",
    )
    from nha.optimization.run import optimize_avatar

    result = optimize_avatar(settings)
    say = get_logger(__name__).info  # silent in all but the first of several processes
    for stage, seconds in result.stage_seconds.items():
        say("%-10s %8.1f s", stage, seconds)
    say("avatar:    %s", result.avatar_path)
    say("logs:      tensorboard --logdir %s", result.output / "logs")


if __name__ == "__main__":
    run_script(main)
