"""How the documentation is built: ``sphinx-build -E -n -W docs OUTPUT``."""

from __future__ import annotations

from importlib.metadata import version as version_of

project = "ctxjobs"
author = "the ctxjobs authors"
copyright = author
version = release = version_of("ctxjobs")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "index"
exclude_patterns = ["_build"]

myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
autodoc_mock_imports = ["pytest"]  # the plugin needs it; its documentation does not
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# Public names of ours must resolve. No inventories of others: the build needs no network.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(?!ctxjobs\.).*"),  # other projects, and type expressions
    ("py:.*", r"(.*\.)?([A-Z]|[A-Z]_co|Chunk)"),  # type variables
    ("py:.*", r"ctxjobs\.(envelope|hosts|native|propagation|registry)\..*"),  # not public
]

html_theme = "furo"
html_title = f"ctxjobs {release}"
