"""Background jobs of the dashboard."""
