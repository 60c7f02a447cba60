"""Views that tell a kernel where elements are: never a copy, whatever the strides.

A kernel walks an array in C order.  The fewer axes it sees, the longer the runs at one stride that it
can take at once, so axes that follow each other in memory are merged.
"""

from cekernels import _kernels
from cekernels._validation import Array

__all__ = ["as_blocks", "as_operand", "as_rows", "as_vector"]


def as_operand(array: Array | None) -> Array | None:
    """Return `as_vector` of an array, but None and a value that stands for all as they are."""
    return array if array is None or array.ndim == 0 else as_vector(array)


def as_vector(array: Array) -> Array:
    """Return a view of all elements in C order, with as few axes as possible."""
    return array if array.ndim == 1 else _kernels.merged(array, array.ndim)


def as_rows(array: Array, axis: int) -> Array:
    """Return a view with this axis last, and the others merged as far as possible."""
    last = array.ndim - 1
    if axis != last:
        array = array.transpose(*range(axis), *range(axis + 1, last + 1), axis)
    return array if last == 1 else _kernels.merged(array, last)


def as_blocks(array: Array) -> Array:
    """Return a view with the last two axes as they are, and the others merged."""
    return _kernels.merged(array, array.ndim - 2)
