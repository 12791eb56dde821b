"""The script of `nha export-tracking`."""

from nha.cli.main import run_published

if __name__ == "__main__":
    run_published("export-tracking")
