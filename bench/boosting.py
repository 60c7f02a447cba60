"""Measure boosting: the gradient step, and whole fits, against the formulas in NumPy and the built-ins.

Run as ``python -m bench.boosting``; ``--quick`` leaves out the fits.  All systems of a case are called
in turn, on one processor and one thread.  The clock counts this process's processor time, so that other
processes disturb little; libraries that are not installed are left out.
"""

import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import machine

Array = NDArray[Any]
Calls = dict[str, Callable[[], Any]]

ROUNDS, BUDGET = 25, 10.0
FIT_ROUNDS, FIT_BUDGET = 7, 60.0
SHAPES = [(1_000_000, 1), (100_000, 3), (100_000, 10), (10_000, 100)]
FIT_ROWS, FIT_FEATURES, FIT_CLASSES, FIT_TREES = 20_000, 20, 10, 10


def main() -> int:
    """Print two tables: milliseconds of a step and of a fit, and their ratio to cekernels."""
    machine.isolate(None)
    print(f"{'gradient step':40} {'system':24} {'ms':>9}  ratio")
    for library, make in STEPS.items():
        for n, n_classes in SHAPES:
            report(f"{library}, {n:,} x {n_classes}", make(n, n_classes), ROUNDS, BUDGET)
    if "--quick" in sys.argv:
        return 0
    print(f"\n{'fit':40} {'system':24} {'ms':>9}  ratio")
    for library, (package, make_fits) in FITS.items():
        if find_spec(package) is None:
            print(f"{library:40} not installed")
            continue
        for n_classes in (2, FIT_CLASSES):
            calls = make_fits(n_classes)
            report(f"{library}, {n_classes} classes", calls, FIT_ROUNDS, FIT_BUDGET)
    return 0


def report(title: str, calls: Calls, rounds: int, budget: float) -> None:
    """Time the calls in turn and print a line for each."""
    from bench.harness import interleave

    rows = interleave(calls, rounds=rounds, budget=budget, clock=time.process_time_ns)
    times = {row.peer: median(row.samples_ns) / 1e6 for row in rows}
    for name, milliseconds in times.items():
        ratio = milliseconds / times["cekernels"]
        print(f"{title:40} {name:24} {milliseconds:9.3f}  {ratio:.2f}", flush=True)


def margins_and_labels(n: int, n_classes: int, dtype: Any, order: Any) -> tuple[Array, Array]:
    """Return the arguments of an objective; one class stands for binary labels."""
    rng = np.random.default_rng(0)
    if n_classes == 1:
        return rng.normal(size=n).astype(dtype), (rng.random(n) < 0.3).astype(np.float32)
    margins = rng.normal(size=(n, n_classes))
    return np.asarray(margins, dtype, order), rng.integers(0, n_classes, n).astype(np.float32)


def numpy_objective(margins: Array, labels: Array, factor: float) -> tuple[Array, Array]:
    """Return gradient and Hessian by the usual formulas."""
    if margins.ndim == 1:
        p = 1.0 / (1.0 + np.exp(-margins))
        return p - labels, np.maximum(p * (1.0 - p), 1e-16)
    e = np.exp(margins - margins.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    grad = p.copy()
    grad[np.arange(len(labels)), labels.astype(np.intp)] -= 1.0
    return grad, np.maximum(factor * p * (1.0 - p), 1e-16)


def xgboost_step(n: int, n_classes: int) -> Calls:
    """Return an objective's calls as XGBoost makes them."""
    from cekernels.objectives import Binary, Softmax

    margins, labels = margins_and_labels(n, n_classes, np.float32, "C")
    ours = (Binary() if n_classes == 1 else Softmax()).for_xgboost()
    return {
        "cekernels": lambda: ours(labels, margins),
        "NumPy": lambda: numpy_objective(margins, labels, 2.0),
    }


def lightgbm_step(n: int, n_classes: int) -> Calls:
    """Return the same for LightGBM, which wants float32 of margins in float64."""
    from cekernels.objectives import Binary, Softmax

    margins, labels = margins_and_labels(n, n_classes, np.float64, "F")
    ours = (Binary() if n_classes == 1 else Softmax()).for_lightgbm()
    factor = n_classes / max(1, n_classes - 1)

    def by_formula() -> list[Array]:
        results = numpy_objective(margins, labels, factor)
        return [result.ravel(order="F").astype(np.float32) for result in results]

    return {"cekernels": lambda: ours(labels, margins), "NumPy": by_formula}


def sklearn_step(n: int, n_classes: int) -> Calls:
    """Return the same for histogram boosting: float64 in Fortran order to float32 in Fortran order."""
    import sklearn._loss.loss as theirs

    from cekernels import sklearn_losses as ours

    margins, labels = margins_and_labels(n, n_classes, np.float64, "F")
    labels = labels.astype(np.float64)
    losses = (
        [module.HalfBinomialLoss() for module in (ours, theirs)]
        if n_classes == 1
        else [module.HalfMultinomialLoss(n_classes=n_classes) for module in (ours, theirs)]
    )
    grad, hess = losses[0].init_gradient_and_hessian(n, np.float32)

    def by_formula() -> None:
        grad[...], hess[...] = numpy_objective(margins, labels, 1.0)

    return {
        "cekernels": lambda: losses[0].gradient_hessian(labels, margins, None, grad, hess),
        "scikit-learn": lambda: losses[1].gradient_hessian(labels, margins, None, grad, hess),
        "NumPy": by_formula,
    }


def fit_data(n_classes: int) -> tuple[Array, Array]:
    """Return features, and labels that depend on them."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(FIT_ROWS, FIT_FEATURES))
    scores = X[:, :n_classes] + rng.normal(size=(FIT_ROWS, n_classes))
    return X, scores.argmax(axis=1)


def loss_and_formula(n_classes: int, factor: float) -> tuple[Any, Callable[..., Any]]:
    """Return the loss of cekernels, and the objective by the formulas for margins and data sets."""
    from cekernels.objectives import Binary, Softmax

    def by_formula(margins: Array, data: Any) -> tuple[Array, Array]:
        return numpy_objective(margins, data.get_label(), factor)

    return (Binary() if n_classes == 2 else Softmax()), by_formula


def xgboost_fits(n_classes: int) -> Calls:
    """Return fits by the built-in objective, by ours, and by the formulas."""
    import xgboost

    X, y = fit_data(n_classes)
    data = xgboost.DMatrix(X, y, nthread=1)
    params = {"nthread": 1, "max_depth": 6, "base_score": 0.5}
    params |= {} if n_classes == 2 else {"num_class": n_classes}
    name = "binary:logistic" if n_classes == 2 else "multi:softprob"
    loss, by_formula = loss_and_formula(n_classes, 2.0)

    def fit(objective: Any) -> Callable[[], Any]:
        options = {"base_score": 0.0}
        return lambda: xgboost.train(params | options, data, FIT_TREES, obj=objective)

    return {
        "cekernels": fit(loss.for_xgboost()),
        "built-in": lambda: xgboost.train(params | {"objective": name}, data, FIT_TREES),
        "NumPy": fit(by_formula),
    }


def lightgbm_fits(n_classes: int) -> Calls:
    """Return the same for LightGBM."""
    import lightgbm

    X, y = fit_data(n_classes)
    params = {"num_threads": 1, "verbose": -1, "boost_from_average": False}
    params |= {} if n_classes == 2 else {"num_class": n_classes}
    loss, by_formula = loss_and_formula(n_classes, n_classes / (n_classes - 1))
    data = lightgbm.Dataset(X, y, params={"num_threads": 1, "verbose": -1}, free_raw_data=False)
    data.construct()

    def fit(objective: Any) -> Callable[[], Any]:
        return lambda: lightgbm.train(params | {"objective": objective}, data, FIT_TREES)

    return {
        "cekernels": fit(loss.for_lightgbm()),
        "built-in": fit("binary" if n_classes == 2 else "multiclass"),
        "NumPy": fit(by_formula),
    }


def catboost_fits(n_classes: int) -> Calls:
    """Return the same for CatBoost; for several classes a tenth of the rows, one call for each."""
    import catboost

    X, y = fit_data(n_classes)
    rows = slice(None) if n_classes == 2 else slice(0, FIT_ROWS // 10)
    data = catboost.Pool(X[rows], y[rows], thread_count=1)
    params = {
        "iterations": FIT_TREES,
        "thread_count": 1,
        "verbose": False,
        "allow_writing_files": False,
        "leaf_estimation_iterations": 1,
        "boosting_type": "Plain",
    }
    loss, _ = loss_and_formula(n_classes, 1.0)
    name = "Logloss" if n_classes == 2 else "MultiClass"
    own = {"loss_function": loss.for_catboost(), "eval_metric": loss.metric_for_catboost()}
    own |= {} if n_classes == 2 else {"classes_count": n_classes}
    return {
        "cekernels": lambda: catboost.CatBoost(params | own).fit(data),
        "built-in": lambda: catboost.CatBoost(params | {"loss_function": name}).fit(data),
    }


def sklearn_fits(n_classes: int) -> Calls:
    """Return the same for scikit-learn's histogram boosting."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    from cekernels.sklearn_losses import HalfBinomialLoss, HalfMultinomialLoss

    X, y = fit_data(n_classes)
    ours = HalfBinomialLoss() if n_classes == 2 else HalfMultinomialLoss(n_classes=n_classes)

    def fit(loss: Any) -> Callable[[], Any]:
        options = {"max_iter": FIT_TREES, "early_stopping": False}
        return lambda: HistGradientBoostingClassifier(loss=loss, **options).fit(X, y)

    return {"cekernels": fit(ours), "built-in": fit("log_loss")}


STEPS = {"XGBoost": xgboost_step, "LightGBM": lightgbm_step, "scikit-learn": sklearn_step}
FITS = {
    "XGBoost": ("xgboost", xgboost_fits),
    "LightGBM": ("lightgbm", lightgbm_fits),
    "CatBoost": ("catboost", catboost_fits),
    "scikit-learn": ("sklearn", sklearn_fits),
}

if __name__ == "__main__":
    sys.exit(main())
