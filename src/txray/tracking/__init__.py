"""Watching a training: what its neurons know at every so many steps, told to the trackers that people use."""
