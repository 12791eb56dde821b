"""The published name of `nha check dataset`."""

from nha.cli.main import run_published

if __name__ == "__main__":
    run_published("check dataset")
