"""The dashboard: explore stages in a browser; every view has a URL of its own."""

from txray._optional import import_extra

# Before the imports below, so that missing packages give a one-line error.
import_extra("the dashboard needs", "dashboard", "dash", "waitress")

from txray.web.dashboard.server import Dashboard, serve  # noqa: E402

__all__ = ["Dashboard", "serve"]
