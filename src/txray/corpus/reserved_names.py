"""Names that an annotation cannot have."""

from __future__ import annotations

RESERVED_NAMES = ("token", "subword", "output", "label")
"""Feature types that are not annotations; an annotation of such a name would be hidden."""
