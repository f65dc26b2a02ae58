"""The documentation site: `make docs` builds docs/*.md, README.md and the docstrings into build/docs."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "_extensions")]

project = "jepa"
author = "the jepa-reasoning authors"
copyright = "Apache-2.0"
html_title = "jepa"
language = "en"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.linkcode",
    "repository_pages",
    "docstrings",
]
exclude_patterns = ["_extensions"]
nitpicky = True
# Not every class in a signature has a page here; wrong links between pages still stop the build.
nitpick_ignore_regex = [("py:.*", ".*")]
highlight_language = "none"
smartquotes = False

myst_heading_anchors = 4

autodoc_class_signature = "separated"
autodoc_default_options = {"members": True, "member-order": "bysource", "show-inheritance": True}
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
default_role = "code"
add_module_names = False
maximum_signature_line_length = 88
python_use_unqualified_type_names = True
toc_object_entries = False

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
pygments_dark_style = "github-dark"

from docstrings import source_link as linkcode_resolve  # noqa: E402, F401
