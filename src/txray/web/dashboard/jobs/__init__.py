"""Background jobs: what they do, in which order, and the processes that do them."""
