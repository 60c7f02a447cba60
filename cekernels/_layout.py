"""Views that tell a kernel where elements are: never a copy, whatever the strides.

A kernel walks an array in C order.  The fewer axes it sees, the longer the runs at one stride that it
can take at once, so axes that follow each other in memory are merged.
"""

import numpy as np
from numpy.lib.stride_tricks import as_strided

from cekernels._validation import Array

__all__ = ["as_blocks", "as_operand", "as_rows", "as_vector"]


def as_operand(array: Array | None) -> Array | None:
    """Return `as_vector` of an array, but None and a value that stands for all as they are."""
    return array if array is None or array.ndim == 0 else as_vector(array)


def as_vector(array: Array) -> Array:
    """Return a view of all elements in C order, with as few axes as possible."""
    return array.reshape(-1) if array.flags.c_contiguous else _merged(array, array.ndim)


def as_rows(array: Array, axis: int) -> Array:
    """Return a view with this axis last, and the others merged as far as possible."""
    moved = array if axis == array.ndim - 1 else np.moveaxis(array, axis, -1)
    if moved.flags.c_contiguous and moved.shape[-1]:
        return moved.reshape(-1, moved.shape[-1])
    return _merged(moved, moved.ndim - 1)


def as_blocks(array: Array) -> Array:
    """Return a view with the last two axes as they are, and the others merged."""
    if array.flags.c_contiguous:
        return array.reshape(-1, *array.shape[-2:])
    return _merged(array, array.ndim - 2)


def _merged(array: Array, n_axes: int) -> Array:
    """Return a view whose first n_axes axes are merged where one continues the other."""
    shape: list[int] = []
    strides: list[int] = []
    for length, stride in zip(array.shape[:n_axes], array.strides[:n_axes], strict=True):
        if length == 1:
            continue
        if shape and strides[-1] == stride * length:
            shape[-1] *= length
            strides[-1] = stride
        else:
            shape.append(length)
            strides.append(stride)
    if not shape and n_axes == array.ndim:
        shape, strides = [1], [array.itemsize]
    return as_strided(array, (*shape, *array.shape[n_axes:]), (*strides, *array.strides[n_axes:]))
