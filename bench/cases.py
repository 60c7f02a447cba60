"""What is measured: the list of cases, and the data of one of them."""

from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Dtype = Literal["float32", "float64"]
Work = Literal["bce_grad", "bce_loss", "ce_grad", "log_loss"]

FUNCTIONS: dict[Work, str] = {
    "bce_grad": "binary_cross_entropy_with_logits",
    "bce_loss": "binary_cross_entropy_with_logits",
    "ce_grad": "cross_entropy",
    "log_loss": "log_loss",
}
TITLES: dict[Work, str] = {
    "bce_grad": "BCE {} loss+grad",
    "bce_loss": "BCE {} loss",
    "ce_grad": "CE {} loss+grad",
    "log_loss": "log_loss {}",
}
SHORT_DTYPE: dict[Dtype, str] = {"float32": "f32", "float64": "f64"}
SEED = 20
LOGIT_SCALE = 3.0


@dataclass(frozen=True)
class Case:
    """One kind of work on one shape."""

    work: Work
    dtype: Dtype
    n: int
    n_classes: int | None = None
    n_threads: int = 1

    @property
    def function(self) -> str:
        """The public function that does the work."""
        return FUNCTIONS[self.work]

    @property
    def return_grad(self) -> bool:
        """Whether the gradient is asked for."""
        return self.work.endswith("_grad")

    @property
    def n_logits(self) -> int:
        """What every time is divided by."""
        return self.n * (self.n_classes or 1)

    @property
    def name(self) -> str:
        """Identifier that `--case` matches, such as ``ce_grad-f32-8192x1000``."""
        shape = str(self.n) if self.n_classes is None else f"{self.n}x{self.n_classes}"
        threads = f"-{self.n_threads}threads" if self.n_threads > 1 else ""
        return f"{self.work}-{SHORT_DTYPE[self.dtype]}-{shape}{threads}"

    @property
    def title(self) -> str:
        """Name for tables and plots."""
        work = TITLES[self.work].format(SHORT_DTYPE[self.dtype])
        shape = f"n = {self.n:,}" if self.n_classes is None else f"{self.n:,}×{self.n_classes:,}"
        threads = f", {self.n_threads} threads" if self.n_threads > 1 else ""
        return f"{work}, {shape}{threads}"


@dataclass(frozen=True)
class Problem:
    """A case with its data."""

    case: Case
    inputs: NDArray[Any]  # logits; for log_loss the probabilities of class 1
    targets: NDArray[Any]

    @property
    def nbytes(self) -> int:
        """Bytes that have to move: what is read and, with a gradient, what is written."""
        written = self.inputs.nbytes if self.case.return_grad else 0
        return self.inputs.nbytes + self.targets.nbytes + written


def build(case: Case) -> Problem:
    """Draw the data of a case, the same in every run."""
    rng = np.random.default_rng(SEED)
    dtype = np.dtype(case.dtype)
    if case.work == "log_loss":
        probs = rng.random(case.n, dtype)
        return Problem(case, probs, (rng.random(case.n) < probs).astype(np.int64))
    shape = case.n if case.n_classes is None else (case.n, case.n_classes)
    logits = rng.standard_normal(shape, dtype)
    logits *= dtype.type(LOGIT_SCALE)
    if case.n_classes is None:
        return Problem(case, logits, (rng.random(case.n, np.float32) < 0.5).astype(dtype))
    return Problem(case, logits, rng.integers(case.n_classes, size=case.n))


BCE_SIZES = (100, 10_000, 1_000_000, 20_000_000)
CE_SHAPES = (
    (32, 10),
    (100_000, 3),
    (100_000, 10),
    (20_000, 100),
    (8_192, 1_000),
    (512, 32_000),
    (128, 128_256),
)
DTYPES: tuple[Dtype, ...] = ("float32", "float64")

TABLE = [
    *(Case("bce_grad", dtype, n) for dtype, n in product(DTYPES, BCE_SIZES)),
    *(Case("bce_loss", dtype, 20_000_000) for dtype in DTYPES),
    *(Case("ce_grad", dtype, *shape) for dtype, shape in product(DTYPES, CE_SHAPES)),
    *(Case("log_loss", "float64", n) for n in (100, 1_000_000)),
    # Last: a thread inherits the processors of its maker, who is tied to one until here.
    *(Case("bce_grad", "float32", n, n_threads=2) for n in (1_000_000, 20_000_000)),
]

QUICK = [
    *(Case("bce_grad", dtype, n) for dtype, n in product(DTYPES, (100, 10_000))),
    Case("bce_loss", "float32", 10_000),
    *(Case("ce_grad", "float32", n, n_classes) for n, n_classes in ((32, 10), (100, 100))),
    Case("log_loss", "float64", 100),
]

SWEEP_N = (
    100,
    300,
    1_000,
    3_000,
    10_000,
    30_000,
    100_000,
    300_000,
    1_000_000,
    3_000_000,
    20_000_000,
)
SWEEP_CLASSES = (
    2,
    3,
    4,
    6,
    8,
    10,
    16,
    24,
    32,
    48,
    64,
    100,
    200,
    500,
    1_000,
    4_000,
    32_000,
    128_256,
)
SWEEP_LOGITS = 1_000_000
SWEEP_THREADS = (30_000, 100_000, 300_000, 1_000_000, 3_000_000, 20_000_000)

SCALING = [
    *(Case("bce_grad", dtype, n) for dtype, n in product(DTYPES, SWEEP_N)),
    *(
        Case("ce_grad", dtype, SWEEP_LOGITS // n_classes, n_classes)
        for dtype, n_classes in product(DTYPES, SWEEP_CLASSES)
    ),
    *(Case("bce_grad", "float32", n, n_threads=2) for n in SWEEP_THREADS),
]


@dataclass(frozen=True)
class Suite:
    """Cases with the rounds and the seconds that each may take."""

    cases: list[Case]
    rounds: int = 25
    budget: float = 20.0


SUITES = {
    "table": Suite(TABLE),
    "quick": Suite(QUICK, rounds=5, budget=1.0),
    "scaling": Suite(SCALING, budget=10.0),
}
