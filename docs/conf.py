"""Configuration of the documentation: ``sphinx-build -n -W -b html docs docs/_build/html``."""

import os
import shutil
import sys
from pathlib import Path

import cekernels

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

import public_api

project = "cekernels"
author = "The cekernels developers"
copyright = author
version = release = cekernels.__version__

extensions = [
    "mathml",
    "numpydoc",
    "public_api",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
default_role = "autolink"
exclude_patterns = ["_build", "_examples"]
nitpicky = True
html_math_renderer = "mathml"

# Signatures as they are called; the docstrings tell the types.
autodoc_typehints = "none"
autosummary_ignore_module_all = False
toc_object_entries_show_parents = "hide"
autosummary_context = {
    "groups": {module: public_api.groups(module) for module in public_api.modules()}
}
# Docstrings may name what has no page here.
nitpick_ignore_regex = [("py:obj", r"_\w+|(numpy|scipy|sklearn)\..*")]

numpydoc_show_class_members = False
numpydoc_validation_checks = {
    "all",  # except:
    "ES01",  # one line and its formula can be enough
    "GL01",  # numpydoc 1.8 wants the summary on the second line
}
# The functions of cekernels.reference have one line each, the fields of named tuples none; public_api
# checks the methods.
numpydoc_validation_exclude = {r"^cekernels\.reference\.", r"\.[A-Z]\w*\."}

# A page would show a progress bar line by line.
os.environ["TQDM_DISABLE"] = "1"

# sphinx-gallery wants the scripts beside a header, and writes their pictures there.
for script in (HERE / "_examples").glob("*.py"):
    script.unlink()
for script in (HERE.parent / "examples").glob("*.py"):
    shutil.copy(script, HERE / "_examples")
sphinx_gallery_conf = {
    "examples_dirs": "_examples",
    "gallery_dirs": "examples",
    "filename_pattern": r"\.py$",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "min_reported_time": 1e9,
    "reset_argv": "gallery.arguments",
    "show_signature": False,
    "write_computation_times": False,
}

templates_path = ["_templates"]
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_theme = "pydata_sphinx_theme"
html_title = project
html_copy_source = False
html_use_index = False
html_domain_indices = False
html_show_sourcelink = False
html_theme_options = {
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": True,
    "use_edit_page_button": False,
}
