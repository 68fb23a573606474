"""How Sphinx builds these pages: MyST Markdown, API pages from the docstrings."""

from importlib import metadata

project = "jepakit"
author = "The jepakit authors"
release = metadata.version("jepakit")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

# In docstrings single backticks stand around names, of which some are fields or options and no Python objects.
default_role = "literal"
# Systems have classes of the same names, such as ViewConfig.
suppress_warnings = ["ref.python"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Source"]

html_theme = "furo"
html_title = f"jepakit {release}"
