"""The installed version of txray."""

from importlib.metadata import version

__version__ = version("txray")
