"""Places that keep measurements, each imported only when it is used."""

from txray.tracking.loggers.logger import Logger

__all__ = ["Logger"]
