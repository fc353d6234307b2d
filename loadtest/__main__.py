"""`python -m loadtest`."""

from loadtest.cli import loadtest

if __name__ == "__main__":
    loadtest()
