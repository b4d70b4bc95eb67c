"""How large results become with the text, and what merging them takes: the figures of docs/scale.md."""
