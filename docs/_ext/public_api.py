"""Lists the public functions for the templates of autosummary, so that no page has to."""

import importlib
from types import ModuleType

TITLES = {
    "_by_group": "Metrics",
    "_evaluate": "Metrics",
    "_log_loss": "Metrics",
    "_runtime": "Threads and configuration",
    "_scorer": "Scorers",
    "_stats": "Results",
    "_validation": "Errors",
}


def groups(module_name):
    """Return the public objects of a module as {title: names}, by the modules that define them."""
    module = importlib.import_module(module_name)
    names = getattr(module, "__all__", None) or _own_functions(module)
    result = {}
    for name in names:
        value = getattr(module, name)
        if not name.startswith("_") and not isinstance(value, ModuleType):
            result.setdefault(_title(module_name, value), []).append(name)
    return {title: sorted(result[title]) for title in sorted(result, key=_rank)}


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
        if module_name == "cekernels.estimators":
            return "Estimators"
        return "Errors" if issubclass(value, Exception) else "Results"
    defined_in = getattr(value, "__module__", module_name)
    if defined_in == module_name:
        return "Functions"
    name = defined_in.rpartition(".")[2]
    return TITLES.get(name, name.strip("_").replace("_", " ").capitalize())


def _rank(title):
    order = ["Functions", "Losses"]
    last = ["Metrics", "Scorers", "Results", "Errors", "Threads and configuration"]
    if title in order:
        return order.index(title)
    return len(order) + (last.index(title) + 1 if title in last else 0)
