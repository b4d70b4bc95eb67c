"""How the documentation is built; everything it needs is in this folder and in `src`."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "txray"
author = "The txray developers"
release = version = version_of("txray")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "generated", "mathml"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3

# Docstrings put code between single backticks.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
# The signature tells the types already.
napoleon_attr_annotations = False
napoleon_custom_sections = ["Keys of a line", "Source"]
python_maximum_signature_line_length = 80

html_math_renderer = "mathml"
html_theme = "furo"
html_title = f"txray {release}"
html_copy_source = False
html_show_copyright = False


def setup(app: Sphinx) -> None:
    """Keep signatures of dataclasses readable: `<factory>` is no Python, so they would not be laid out."""
    app.connect(
        "autodoc-process-signature",
        lambda app, what, name, thing, options, signature, returns: (
            signature and signature.replace("<factory>", "..."),
            returns,
        ),
    )
