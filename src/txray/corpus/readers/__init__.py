"""One reader per format: a path becomes a `Corpus` that streams its documents."""
