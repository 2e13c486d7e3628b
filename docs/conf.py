"""The settings of Sphinx; ``python -m docs`` builds the site."""

import atexit
import importlib.util
import inspect
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import fastgd

project = "fastgd"
author = "the fastgd developers"
copyright = author
version = release = fastgd.__version__

_mathjax = importlib.util.find_spec("sphinx-mathjax-offline")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx.ext.mathjax",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]

# Pages: MyST Markdown, whose code cells run in the build.
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_in_temp = True  # pages write files
nb_execution_timeout = 300  # the first fit of a kind compiles
nb_execution_show_tb = True
nb_merge_streams = True

# API reference: from docstrings, one page per public name.
autosummary_generate = True
autodoc_typehints = "none"  # numpydoc's sections have the types
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

html_theme = "pydata_sphinx_theme"
html_title = f"fastgd {version}"
# Formulas need no network: the package holds MathJax. As an extension it would forbid parallel reading.
html_static_path = ["_static", *(f"{folder}/static" for folder in _mathjax.submodule_search_locations)]
mathjax_path = "mathjax/tex-chtml.js"
html_css_files = ["fastgd.css"]
html_show_sourcelink = False
html_copy_source = False
# Pages without others below them need no list of these.
html_sidebars = {name: [] for name in ("start", "command", "benchmarks", "decisions")}
html_theme_options = {
    "logo": {"text": "fastgd"},
    "show_prev_next": True,
    "header_links_before_dropdown": 10,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
}


def _kernel_settings() -> str:
    """Return a folder with the settings of the processes that run code cells: pictures are SVG, in one size."""
    folder = Path(tempfile.mkdtemp(prefix="fastgd-docs-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    profile = folder / "profile_default"
    (profile / "startup").mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("_kernel.py"), profile / "ipython_kernel_config.py")
    shutil.copy(Path(__file__).with_name("_startup.py"), profile / "startup")
    return str(folder)


os.environ["IPYTHONDIR"] = _kernel_settings()


def _signature(app: Any, what: str, name: str, obj: Any, options: Any, signature: str, returned: str) -> Any:
    """Return the signature of a class without types, where `__new__` takes any arguments to check their names."""
    if what != "class" or signature != "(*args, **kwargs)":
        return None
    parameters = inspect.signature(obj).parameters.values()
    plain = [each.replace(annotation=inspect.Parameter.empty) for each in parameters]
    return str(inspect.Signature(plain)), None


def setup(app: Any) -> None:
    """Connect the handlers of this file, as Sphinx asks."""
    app.connect("autodoc-process-signature", _signature)
