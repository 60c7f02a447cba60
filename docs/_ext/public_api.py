"""The reference of what is public: its groups for autosummary's templates, and checks of its pages.

`reference/index.rst` names the modules; nothing else is listed by hand.
"""

import importlib
import pkgutil
from types import ModuleType

from numpydoc.validate import validate
from sphinx.util import logging

import cekernels

logger = logging.getLogger(__name__)

# Of numpydoc's checks of methods: their classes show them, and name what is related.
OF_CLASSES = {"ES01", "EX01", "GL01", "SA01"}

# Of a class, by the module that it names: what the module is there for. Others are results.
CLASSES = {
    "cekernels.estimators": "Estimators",
    "cekernels.objectives": "Losses",
    "cekernels.sklearn_losses": "Losses",
}
TITLES = {
    "_binary": "Linear models",
    "_by_group": "Metrics",
    "_classes": "Linear models",
    "_evaluate": "Metrics",
    "_log_loss": "Metrics",
    "_runtime": "Threads and configuration",
    "_scorer": "Scorers",
    "_stats": "Results",
    "_validation": "Errors",
    "divergence": "Divergences",
    "focal": "Focal losses",
    "nll": "Losses of log-probabilities",
    "robust": "Robust losses",
}


def setup(app):
    """Register the checks; ``-W`` makes their warnings errors."""
    app.connect("autodoc-skip-member", skip_foreign)
    app.connect("autodoc-process-docstring", check_method)
    app.connect("env-check-consistency", check_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def modules():
    """Return the names of the package and of its public modules."""
    names = [info.name for info in pkgutil.iter_modules(cekernels.__path__)]
    return ["cekernels", *(f"cekernels.{name}" for name in names if not name.startswith("_"))]


def groups(module_name):
    """Return the public objects of a module as {title: names}, by the modules that define them."""
    result = {}
    for name, value in _public(module_name).items():
        result.setdefault(_title(module_name, value), []).append(name)
    return {title: sorted(result[title]) for title in sorted(result, key=_rank)}


def skip_foreign(_app, _what, _name, obj, skip, _options):
    """Leave out what a class inherits from other packages."""
    module = getattr(getattr(obj, "__objclass__", obj), "__module__", None)
    return skip or (module is not None and not f"{module}.".startswith("cekernels."))


def check_method(_app, what, name, *_):
    """Warn of a method whose docstring is not complete, as numpydoc does of functions and classes."""
    if what == "method":
        for code, message in validate(name)["errors"]:
            if code not in OF_CLASSES:
                logger.warning("%s: %s: %s", name, code, message)


def check_pages(_app, env):
    """Warn of public objects that no module of the reference has."""
    shown = {
        id(value) for name in env.domains.python_domain.modules for value in _public(name).values()
    }
    for module in modules():
        missing = [name for name, value in _public(module).items() if id(value) not in shown]
        if missing:
            logger.warning("%s: no page of the reference has %s", module, ", ".join(missing))


def _public(module_name):
    """Return the public objects of a module by their names."""
    module = importlib.import_module(module_name)
    names = getattr(module, "__all__", None) or _own_functions(module)
    values = {name: getattr(module, name) for name in names if not name.startswith("_")}
    return {name: value for name, value in values.items() if not isinstance(value, ModuleType)}


def _own_functions(module):
    return [
        name
        for name, value in vars(module).items()
        if callable(value)
        and f"{getattr(value, '__module__', None)}.".startswith(f"{module.__name__}.")
        and not name.startswith("_")
    ]


def _title(module_name, value):
    if isinstance(value, type):
        default = "Errors" if issubclass(value, Exception) else "Results"
        return CLASSES.get(value.__module__, default)
    defined_in = getattr(value, "__module__", module_name)
    if defined_in == module_name:
        return "Functions"
    name = defined_in.rpartition(".")[2]
    return TITLES.get(name, name.strip("_").replace("_", " ").capitalize())


def _rank(title):
    order = ["Functions", "Losses", "Losses of log-probabilities", "Focal losses", "Robust losses"]
    order += ["Divergences", "Linear models", "Second order"]
    last = ["Metrics", "Scorers", "Results", "Errors", "Threads and configuration"]
    if title in order:
        return order.index(title)
    return len(order) + (last.index(title) + 1 if title in last else 0)
