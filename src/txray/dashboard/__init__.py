"""The dashboard: look at stages in a browser; what is looked at stands in the address."""

from txray.dashboard.server import Dashboard, serve

__all__ = ["Dashboard", "serve"]
