"""Fit a neural head avatar to a tracked video."""

from nha.core.config import parse_settings
from nha.core.system import run_script


def main() -> None:
    # after parsing: --help and a mistyped key should not wait for torch's import
    from nha.optimization.config import OptimizationSettings

    settings = parse_settings(
        OptimizationSettings,
        description="Fit a neural head avatar to a tracked video in three stages: geometry, texture, joint.",
    )
    from nha.optimization.run import optimize_avatar

    result = optimize_avatar(settings)
    for stage, seconds in result.stage_seconds.items():
        print(f"{stage:<10} {seconds:8.1f} s")
    print(f"avatar:    {result.avatar_path}")
    print(f"logs:      tensorboard --logdir {result.output / 'logs'}")


if __name__ == "__main__":
    run_script(main)
