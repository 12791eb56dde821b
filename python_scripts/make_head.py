"""The published name of `nha head make`."""

from nha.cli.main import run_published

if __name__ == "__main__":
    run_published("head make")
