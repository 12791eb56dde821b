"""The script of `nha make`."""

from nha.cli.main import run_published

if __name__ == "__main__":
    run_published("make")
