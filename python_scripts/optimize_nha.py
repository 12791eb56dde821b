"""The published name of `nha train`."""

from nha.cli.main import run_published

if __name__ == "__main__":
    run_published("train")
