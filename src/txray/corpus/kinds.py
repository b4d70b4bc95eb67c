"""Names that stand for kinds of feature and so cannot name an annotation."""

from __future__ import annotations

KINDS = ("token", "subword", "output", "label")
"""Kinds of feature that are no annotations; an annotation of such a name would be hidden."""
