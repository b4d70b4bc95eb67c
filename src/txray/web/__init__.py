"""Pages: the report and the dashboard."""
