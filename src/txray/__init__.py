"""See what the neurons of a text model know, and how that knowledge changes between stages."""
