"""`python -m nha`: the command line of the package."""

from nha.cli.main import main

if __name__ == "__main__":
    main()
