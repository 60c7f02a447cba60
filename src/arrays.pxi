# Arrays as C sees them, and what the checks and views of arrays ask first, and often.

cimport numpy as cnp

from cek cimport *


cdef inline void *data_of(object array) noexcept:
    return NULL if array is None else cnp.PyArray_DATA(<cnp.ndarray> array)


cdef cek_type type_of(cnp.ndarray array) noexcept:
    cdef int type_number = cnp.PyArray_TYPE(array)
    cdef cnp.npy_intp size = cnp.PyArray_ITEMSIZE(array)
    if cnp.PyTypeNum_ISUSERDEF(type_number):
        return CEK_BFLOAT16
    if cnp.PyTypeNum_ISFLOAT(type_number):
        return CEK_FLOAT16 if size == 2 else CEK_FLOAT32 if size == 4 else CEK_FLOAT64
    if cnp.PyTypeNum_ISBOOL(type_number):
        return CEK_BOOL
    if cnp.PyTypeNum_ISSIGNED(type_number):
        if size == 1:
            return CEK_INT8
        return CEK_INT16 if size == 2 else CEK_INT32 if size == 4 else CEK_INT64
    if size == 1:
        return CEK_UINT8
    return CEK_UINT16 if size == 2 else CEK_UINT32 if size == 4 else CEK_UINT64


cdef cek_array operand(object array) noexcept:
    """An array as C sees it, for as long as the array object lives."""
    cdef cek_array result
    result.data = data_of(array)
    result.shape = NULL
    result.strides = NULL
    result.ndim = 0
    result.type = CEK_FLOAT64
    if array is not None:
        result.type = type_of(<cnp.ndarray> array)
        result.ndim = cnp.PyArray_NDIM(<cnp.ndarray> array)
        result.shape = <const ptrdiff_t *> cnp.PyArray_DIMS(<cnp.ndarray> array)
        result.strides = <const ptrdiff_t *> cnp.PyArray_STRIDES(<cnp.ndarray> array)
    return result


cdef ptrdiff_t[9] item_strides
cdef int item_size
for item_size in range(9):
    item_strides[item_size] = item_size


cdef inline cek_array flat(cnp.ndarray array) noexcept:
    """A C-contiguous array of any shape as a vector."""
    cdef cek_array result
    result.data = cnp.PyArray_DATA(array)
    result.shape = NULL  # a single axis is as long as it has to be
    result.strides = &item_strides[cnp.PyArray_ITEMSIZE(array)]
    result.ndim = 1
    result.type = type_of(array)
    return result


cdef enum:
    MAX_AXES = 64  # of NumPy


cdef inline bint is_plain(object array) noexcept:
    """Exactly an ndarray, aligned and native."""
    return type(array) is cnp.ndarray and cnp.PyArray_ISBEHAVED_RO(<cnp.ndarray> array)


cdef inline bint is_plain_float(object array) noexcept:
    """The same of float32 or float64."""
    return is_plain(array) and cnp.PyArray_TYPE(<cnp.ndarray> array) in (
        cnp.NPY_FLOAT32, cnp.NPY_FLOAT64
    )


cdef inline bint is_plain_integer(object array) noexcept:
    """The same of integers or bool."""
    if not is_plain(array):
        return False
    cdef int type_number = cnp.PyArray_TYPE(<cnp.ndarray> array)
    return cnp.PyTypeNum_ISBOOL(type_number) or cnp.PyTypeNum_ISINTEGER(type_number)


def is_plain_number(array):
    """Exactly an ndarray of numbers that the kernels read, aligned and native."""
    return is_plain_float(array) or is_plain_integer(array)


cdef inline char *extent(cnp.ndarray array, char **high) noexcept:
    """First byte of an array that is not empty; high: the byte behind its last."""
    cdef char *low = cnp.PyArray_BYTES(array)
    cdef cnp.npy_intp reach
    cdef int axis
    high[0] = low + cnp.PyArray_ITEMSIZE(array)
    for axis in range(cnp.PyArray_NDIM(array)):
        reach = (cnp.PyArray_DIM(array, axis) - 1) * cnp.PyArray_STRIDE(array, axis)
        if reach < 0:
            low += reach
        else:
            high[0] += reach
    return low


cpdef bint are_apart(cnp.ndarray a, cnp.ndarray b) noexcept:
    """One array ends before the other begins."""
    cdef char *a_end
    cdef char *b_end
    cdef char *a_begin = extent(a, &a_end)
    cdef char *b_begin = extent(b, &b_end)
    return a_end <= b_begin or b_end <= a_begin


def merged(cnp.ndarray array not None, int n_axes):
    """A view whose first n_axes axes are merged where one continues the other."""
    cdef cnp.npy_intp[MAX_AXES] shape, strides
    cdef cnp.npy_intp length, stride
    cdef int axis, n = 0, ndim = cnp.PyArray_NDIM(array)
    for axis in range(ndim):
        length, stride = cnp.PyArray_DIM(array, axis), cnp.PyArray_STRIDE(array, axis)
        if axis < n_axes and length == 1:
            continue
        if 0 < n and axis < n_axes and strides[n - 1] == stride * length:
            shape[n - 1] *= length
            strides[n - 1] = stride
        else:
            shape[n], strides[n] = length, stride
            n += 1
    if n == 0:
        shape[0], strides[0], n = 1, cnp.PyArray_ITEMSIZE(array), 1
    view = cnp.PyArray_New(
        cnp.ndarray, n, shape, cnp.PyArray_TYPE(array), strides, cnp.PyArray_DATA(array), 0,
        cnp.PyArray_FLAGS(array) & cnp.NPY_ARRAY_WRITEABLE, None,
    )
    cnp.set_array_base(view, array)
    return view
