"""Time and memory of fits, beside scikit-learn's: ``python -m bench.estimators``.

scikit-learn fits with its default tolerance; cekernels goes on until its gradient is no larger than
the smallest of scikit-learn's.  Times are of the processor, one thread, medians of fits in turn.
Memory is the peak of what NumPy allocates during a fit.  Beside it stand the size of X, and the time
of the two products that a gradient takes: a fit needs a few.
"""

import argparse
import os
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import process_time
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
import scipy.sparse
import sklearn
from sklearn.datasets import load_digits
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression

import cekernels
from cekernels import estimators

Problem = tuple[Any, Any]
Fit = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    make: Callable[[], Problem]
    solvers: tuple[str, ...]  # of scikit-learn
    rounds: int


def correlated(n: int, p: int, n_classes: int, dtype: type, seed: int = 0) -> Problem:
    """Return mixed normal features of different scales, and labels that follow the model."""
    rng = np.random.default_rng(seed)
    mixing = (np.eye(p) + 0.3 * rng.standard_normal((p, p))) * np.geomspace(0.5, 2.0, p)
    X = rng.standard_normal((n, p), np.float32).astype(dtype) @ mixing.astype(dtype)
    n_logits = 1 if n_classes == 2 else n_classes
    logits = X @ (rng.standard_normal((p, n_logits)) / np.sqrt(p)).astype(dtype)
    if n_classes == 2:
        return X, (logits[:, 0] + rng.logistic(size=n) > 0.5).astype(int)
    return X, (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)


def digits(n: int, seed: int = 0) -> Problem:
    """Return scikit-learn's digits enlarged, moved about and noisy, as 28 by 28 pixels."""
    rng = np.random.default_rng(seed)
    images, labels = load_digits(return_X_y=True)
    large = np.kron(images.reshape(-1, 8, 8) / 16.0, np.ones((3, 3)))
    source = rng.integers(0, len(images), n)
    X = np.zeros((n, 28, 28), np.float32)
    for image, k, (dx, dy) in zip(X, source, rng.integers(0, 5, (n, 2)), strict=True):
        image[dx : dx + 24, dy : dy + 24] = large[k]
    X += (X > 0.0) * rng.normal(0.0, 0.1, X.shape).astype(np.float32)
    return X.clip(0.0, 1.0).reshape(n, -1), labels[source]


def text(n: int, p: int, n_classes: int, seed: int = 0) -> Problem:
    """Return weighted word counts: word frequencies by Zipf, a part of each text from its class."""
    rng = np.random.default_rng(seed)
    cumulative = np.cumsum(np.arange(1, p + 1) ** -1.05)
    cumulative /= cumulative[-1]
    words_of_class = [rng.permutation(p) for _ in range(n_classes)]
    y = rng.integers(0, n_classes, n)
    lengths = rng.lognormal(4.6, 0.7, n).astype(int) + 1
    rows = np.repeat(np.arange(n), lengths)
    words = np.minimum(np.searchsorted(cumulative, rng.random(len(rows))), p - 1)
    for label in range(n_classes):
        is_topic = (y[rows] == label) & (rng.random(len(rows)) < 0.15)
        words[is_topic] = words_of_class[label][words[is_topic]]
    counts = scipy.sparse.csr_array((np.ones(len(rows)), (rows, words)), shape=(n, p))
    counts.sum_duplicates()
    return TfidfTransformer(sublinear_tf=True).fit_transform(counts), y


BOTH = ("lbfgs", "newton-cholesky")
CASES = {
    "1000000x20, 2 classes, float64": Case(lambda: correlated(10**6, 20, 2, np.float64), BOTH, 3),
    "1000000x20, 2 classes, float32": Case(lambda: correlated(10**6, 20, 2, np.float32), BOTH, 3),
    "200000x50, 10 classes, float64": Case(
        lambda: correlated(200_000, 50, 10, np.float64), BOTH, 1
    ),
    "60000x784, 10 classes, float32": Case(lambda: digits(60_000), ("lbfgs",), 1),
    "11000x130000 sparse, 20 classes": Case(lambda: text(11_000, 130_000, 20), ("lbfgs",), 1),
}


def gradient_size(model: Any, X: Any, y: Any) -> float:
    """Return the largest element of the gradient of the mean loss and penalty, in float64."""
    X = X.astype(np.float64)
    coef, intercept = model.coef_.astype(np.float64), model.intercept_.astype(np.float64)
    loss = (
        cekernels.linear_cross_entropy
        if len(coef) > 1
        else lambda X, coef, *args, intercept, **options: cekernels.linear_binary_cross_entropy(
            X, coef[0], *args, intercept=intercept[0], **options
        )
    )
    _, grad = loss(X, coef, y, intercept=intercept, return_grad=True)
    by_coef = grad.coef + coef / (model.C * X.shape[0])
    return float(max(np.abs(by_coef).max(), np.abs(grad.intercept).max()))


def seconds(fit: Fit) -> float:
    start = process_time()
    fit()
    return process_time() - start


def megabytes(fit: Fit) -> float:
    tracemalloc.start()
    fit()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 1e6


def products(X: Any, n_outputs: int) -> float:
    """Return the seconds of X @ W and X.T @ G, by blocks of the best of some numbers of rows."""
    rng = np.random.default_rng(0)
    W = rng.standard_normal((X.shape[1], n_outputs)).astype(X.dtype)

    def multiply(step: int) -> None:
        for begin in range(0, X.shape[0], step):
            block = X[begin : begin + step]
            (block @ W).T @ block if isinstance(X, np.ndarray) else block.T @ (block @ W)

    steps = (64, 128, 512, 2048) if isinstance(X, np.ndarray) else (X.shape[0],)
    return min(seconds(lambda step=step: multiply(step)) for step in steps * 3)


def measure(name: str, case: Case) -> None:
    X, y = case.make()
    peers = {solver: LogisticRegression(solver=solver, max_iter=100_000) for solver in case.solvers}
    sizes = {solver: gradient_size(model.fit(X, y), X, y) for solver, model in peers.items()}
    target = min(sizes.values())
    ours = estimators.LogisticRegression(tol=target, max_iter=1000).fit(X, y)
    size = gradient_size(ours, X, y)
    models = {"cekernels": ours, **peers}
    times: dict[str, list[float]] = {key: [] for key in models}
    for _ in range(case.rounds):
        for key, model in models.items():
            times[key].append(seconds(lambda model=model: model.fit(X, y)))
    memory = {key: megabytes(lambda model=model: model.fit(X, y)) for key, model in models.items()}
    megabytes_of_X, floor = X.data.nbytes / 1e6, products(X, len(ours.coef_))
    print(f"\n{name}: X {megabytes_of_X:.0f} MB, products of a gradient {floor:.3f} s")
    print(f"  {'':24}{'gradient':>10}{'iterations':>12}{'seconds':>10}{'MB':>9}{'times ours':>12}")
    for key, model in models.items():
        label = key if key == "cekernels" else f"scikit-learn {key}"
        spent, ratio = median(times[key]), median(times[key]) / median(times["cekernels"])
        print(
            f"  {label:24}{sizes.get(key, size):10.1e}{int(model.n_iter_[0]):12}"
            f"{spent:10.3f}{memory[key]:9.1f}{ratio:12.1f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.estimators", description=__doc__)
    parser.add_argument("--case", default="", help="only cases whose name contains this")
    wanted = parser.parse_args().case
    print(f"cekernels {cekernels.__version__}, scikit-learn {sklearn.__version__}")
    for name, case in CASES.items():
        if wanted in name:
            measure(name, case)


if __name__ == "__main__":
    main()
