"""The published name of `nha head inspect`."""

from nha.cli.main import run_published

if __name__ == "__main__":
    run_published("head inspect")
