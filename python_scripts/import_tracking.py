"""The script of `nha import-tracking`."""

from nha.cli.main import run_published

if __name__ == "__main__":
    run_published("import-tracking")
