"""The published name of `nha preprocess`."""

from nha.cli.main import run_published

if __name__ == "__main__":
    run_published("preprocess")
