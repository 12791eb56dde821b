"""The published name of `nha track`."""

from nha.cli.main import run_published


def run() -> None:
    """The installed command `optimize-tracking`."""
    run_published("track")


if __name__ == "__main__":
    run()
