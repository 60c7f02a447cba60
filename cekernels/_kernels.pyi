"""Types of the Cython module src/_kernels.pyx."""

from typing import Any, Final, TypeAlias, TypeGuard

from numpy.typing import ArrayLike, NDArray
from typing_extensions import disjoint_base

_Array: TypeAlias = NDArray[Any]

COMPILER: Final[str]
FLAGS: Final[str]

EXPIT: Final[int]
LOG_EXPIT: Final[int]
SOFTPLUS: Final[int]
EXP_NONPOS: Final[int]
LOG1P_UNIT: Final[int]
LOG1P_NONNEG: Final[int]
LOG_UNIT: Final[int]

MIN_CHUNKS: Final[int]

OUTER_FOCAL: Final[int]
OUTER_POLY1: Final[int]
OUTER_POWER: Final[int]

def built_isas() -> tuple[str, ...]: ...
def supported_isas() -> tuple[str, ...]: ...
def active_isa() -> str: ...
def set_isa(name: str) -> None: ...
def cpus_allowed() -> int: ...
def pool_size() -> int: ...
def stop_pool() -> None: ...

@disjoint_base
class Job:
    @property
    def n_chunks(self) -> int: ...
    def run(self, n_threads: int) -> None: ...
    def scan(self, n_threads: int) -> tuple[float, int, int]: ...
    def total(self) -> float: ...

@disjoint_base
class Binary(Job):
    def __init__(
        self,
        input: _Array,
        targets: _Array,
        sample_weight: _Array | None,
        pos_weight: _Array | None,
        label_smoothing: float,
        ignore_value: float | None,
        loss: _Array | None,
        grad: _Array | None,
        hess: _Array | None,
        proba: _Array | None,
    ) -> None: ...
    def scale_grad(self, factor: float) -> None: ...
    def set_hess(self, factor: float, gauss_newton: bool) -> None: ...

@disjoint_base
class Probs(Binary):
    def __init__(
        self, complement: _Array | None, eps: float, log_min: float, *args: Any
    ) -> None: ...
    def scan_probs(self, n_threads: int) -> int: ...
    def scan_complement(self, n_threads: int) -> int: ...

class Focal(Binary):
    def __init__(self, gamma: float, neg_weight: float, *args: Any) -> None: ...

@disjoint_base
class BinaryHvp(Binary):
    def __init__(self, vector: _Array, out: _Array, *args: Any) -> None: ...

@disjoint_base
class CrossEntropy(Job):
    def __init__(
        self,
        logits: _Array,
        labels: _Array | None,
        target_proba: _Array | None,
        allowed: _Array | None,
        sample_weight: _Array | None,
        class_weight: _Array | None,
        label_smoothing: float,
        ignore_index: int | None,
        z_loss: float,
        softcap: float,
        logit_scale: float,
        loss: _Array | None,
        grad: _Array | None,
        hess: _Array | None,
        proba: _Array | None,
        lse: _Array | None,
        scale_grad: _Array | None,
        scale_hess: _Array | None,
    ) -> None: ...
    def scale_grad(self, factor: float) -> None: ...
    def set_hess(self, factor: float, gauss_newton: bool) -> None: ...

class OuterCrossEntropy(CrossEntropy):
    def __init__(self, outer: int, parameter: float, *args: Any) -> None: ...

class Nll(CrossEntropy): ...
class KlDivergence(CrossEntropy): ...
class JsDivergence(CrossEntropy): ...

@disjoint_base
class CrossEntropyHvp(CrossEntropy):
    def __init__(self, vector: _Array | None, out: _Array, *args: Any) -> None: ...

@disjoint_base
class Softmax(Job):
    def __init__(
        self,
        logits: _Array,
        proba: _Array | None,
        log_proba: _Array | None,
        lse: _Array | None,
    ) -> None: ...

@disjoint_base
class LogLoss(Job):
    def __init__(
        self,
        proba: _Array,
        labels: _Array,
        sample_weight: _Array | None,
        eps: float,
        tolerance: float,
    ) -> None: ...

@disjoint_base
class Unary(Job):
    def __init__(self, function: int, input: _Array, out: _Array) -> None: ...

def is_plain_number(array: object) -> TypeGuard[_Array]: ...
def are_apart(a: _Array, b: _Array) -> bool: ...
def merged(array: _Array, n_axes: int) -> _Array: ...
def plain_binary(
    logits: ArrayLike,
    targets: ArrayLike,
    sample_weight: ArrayLike | None,
    label_smoothing: float,
    reduction: str,
    return_grad: bool,
    return_hess: bool,
    return_proba: bool,
    grad_out: _Array | None,
) -> Any: ...
def plain_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    axis: int,
    sample_weight: ArrayLike | None,
    label_smoothing: float,
    reduction: str,
    return_grad: bool,
    return_hess: bool,
    return_proba: bool,
    return_lse: bool,
    grad_out: _Array | None,
) -> Any: ...
