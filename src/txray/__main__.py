"""`python -m txray`: the command line, where the command `txray` is not on the PATH."""

from txray.cli.main import run

if __name__ == "__main__":
    run()
