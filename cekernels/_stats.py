"""The mergeable summary of a loss."""

import math
from typing import NamedTuple


class LossStats(NamedTuple):
    """Sum of weighted losses with the weight and the number of entries behind it.

    Chunks of a data set that does not fit in memory, or that lives on several machines, are
    evaluated with ``reduction="stats"``; the results add up to the statistics of the whole.

    Parameters
    ----------
    total : float
        Sum of the weighted losses.
    weight : float
        Sum of the weights of the entries that were not ignored.
    count : int
        Number of entries that were not ignored.

    See Also
    --------
    cross_entropy : Returns one with ``reduction="stats"``, as every loss does.

    Examples
    --------
    >>> from cekernels import LossStats
    >>> whole = LossStats(3.0, 4.0, 2) + LossStats(1.0, 4.0, 3)
    >>> whole
    LossStats(total=4.0, weight=8.0, count=5)
    >>> whole.mean
    0.5
    >>> sum([LossStats(3.0, 4.0, 2), LossStats(1.0, 4.0, 3)]) == whole
    True
    """

    total: float
    weight: float
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs here

    @property
    def mean(self) -> float:
        """Weighted mean of the losses, nan when there is no weight."""
        return self.total / self.weight if self.weight else math.nan

    def __add__(self, other: object) -> "LossStats":
        # A NotImplemented would fall back to the concatenation of tuples.
        if not isinstance(other, LossStats):
            raise TypeError(f"a LossStats adds to a LossStats, got {type(other).__name__}")
        return LossStats(
            self.total + other.total, self.weight + other.weight, self.count + other.count
        )

    def __radd__(self, other: object) -> "LossStats":
        """Accept the 0 that `sum` starts from."""
        if isinstance(other, int) and other == 0:
            return self
        raise TypeError(f"a LossStats adds to a LossStats, got {type(other).__name__}")
