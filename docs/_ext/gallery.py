"""The arguments that the examples are run with."""

from pathlib import Path


def arguments(_, script_vars):
    """Name the picture without the folder, so that no path of this machine is printed."""
    return ["--out", Path(script_vars["src_file"]).with_suffix(".png").name]
