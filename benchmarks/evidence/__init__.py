"""Do the statistics find what is there, and nothing else? `python -m benchmarks.evidence` writes docs/evidence.md."""
