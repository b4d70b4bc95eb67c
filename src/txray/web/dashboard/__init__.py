"""The dashboard: look at stages in a browser; what is looked at stands in the address."""

from txray._optional import import_extra

# Before anything below imports them: in one line where they are missing.
import_extra("the dashboard needs", "dashboard", "dash", "waitress")

from txray.web.dashboard.server import Dashboard, serve  # noqa: E402

__all__ = ["Dashboard", "serve"]
