"""What other libraries are written: any float dtype and memory order, a factor, no negative curvature."""

import ml_dtypes
import numpy as np
import pytest

from cekernels import _kernels, special
from cekernels._derivatives import OUTPUTS, binary_job, class_job, write

# Of a result to what is computed of other results in numpy.
DERIVED = {"rtol": 1e-14, "atol": 1e-300}

DTYPES = [np.float32, np.float64]
# Few classes, a batch, more than a batch; whole tiles and a part.
SHAPES = [(70, 2), (70, 3), (70, 10), (45, 100), (41, 300)]


def class_problem(rng, shape, **options):
    margins, labels = 3 * rng.normal(size=shape), rng.integers(0, shape[1], shape[0])
    weights = rng.random(shape[0])
    weights[::7] = 0.0
    return margins, lambda x: class_job(x, labels, weights, **options)


def binary_problem(rng, n, **options):
    margins, labels, weights = 3 * rng.normal(size=n), rng.integers(0, 2, n), rng.random(n)
    weights[::7] = 0.0
    return margins, lambda x: binary_job(x, labels, weights, **options)


def results(make_job, shape, dtype, order="C", names=OUTPUTS, **options):
    """Return what `write` makes, by name."""
    sizes = {name: shape[:1] if name == "loss" else shape for name in names}
    outputs = {name: np.full(size, 7, dtype, order) for name, size in sizes.items()}
    write(make_job, outputs, **options)
    return outputs


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_classes_of_any_dtype(rng, dtype, order, shape):
    margins, job_of = class_problem(rng, shape)
    margins = np.asarray(margins, order=order)
    want = results(job_of(margins), shape, np.float64, order)
    for out_order in "CF":
        got = results(job_of(margins), shape, dtype, out_order)
        for name in OUTPUTS:
            np.testing.assert_array_equal(got[name], want[name].astype(dtype), err_msg=name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", [{}, {"gamma": 2.0}, {"alpha": 0.3}], ids=str)
def test_binary_of_any_dtype(rng, dtype, options):
    margins, job_of = binary_problem(rng, 700, **options)
    want = results(job_of(margins), margins.shape, np.float64)
    for step in (1, 2):
        strided = np.repeat(margins, step)[::step]
        got = results(job_of(strided), margins.shape, dtype)
        for name in OUTPUTS:
            np.testing.assert_array_equal(got[name], want[name].astype(dtype), err_msg=name)


@pytest.mark.parametrize("half", [np.float16, ml_dtypes.bfloat16])
def test_wider_than_the_margins(rng, half):
    margins, job_of = class_problem(rng, (70, 5))
    margins = margins.astype(half)
    want = results(job_of(margins.astype(np.float32)), margins.shape, np.float32)
    for dtype in DTYPES:
        got = results(job_of(margins), margins.shape, dtype)
        for name in OUTPUTS:
            np.testing.assert_array_equal(got[name], want[name], err_msg=name)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_factor_of_the_hessian(rng, shape):
    margins, job_of = class_problem(rng, shape)
    for order in "CF":
        job = job_of(np.asarray(margins, order=order))
        want = results(job, shape, np.float64, order, scale=-0.5)
        got = results(job, shape, np.float64, order, scale=-0.5, hess_factor=4.0)
        np.testing.assert_array_equal(got.pop("hess"), 4.0 * want.pop("hess"))
        np.testing.assert_equal(got, want)


@pytest.mark.parametrize("names", [OUTPUTS, ("grad", "hess"), ("hess",)], ids=str)
def test_factor_of_the_binary_hessian(rng, names):
    margins = 3 * rng.normal(size=700)
    job = binary_job(margins, rng.random(700), None)
    want = results(job, margins.shape, np.float64, names=names)
    got = results(job, margins.shape, np.float64, names=names, hess_factor=4.0)
    np.testing.assert_array_equal(got.pop("hess"), 4.0 * want.pop("hess"))
    np.testing.assert_equal(got, want)


def test_factor_of_a_capped_hessian(rng):
    """The chain rule adds a term of the gradient, which the factor multiplies too."""
    for n_classes in (5, 300):
        margins, labels = rng.normal(size=(40, n_classes)), rng.integers(0, n_classes, 40)
        hess = {factor: np.empty_like(margins) for factor in (1.0, 4.0)}
        for factor, out in hess.items():
            inputs = margins, labels, None, None, None, None, 0.0, None, 0.0, 2.0, 1.5
            job = _kernels.CrossEntropy(*inputs, None, None, out, None, None, None, None)
            job.set_hess(factor, False)
            job.run(1)
        np.testing.assert_array_equal(hess[4.0], 4.0 * hess[1.0])


@pytest.mark.parametrize("gamma", [0.5, 2.0, 7.0])
def test_no_negative_curvature_of_classes(rng, gamma):
    """Of phi(l), with grad = phi' (p - y), it is phi' p (1 - p)."""
    for shape in SHAPES:
        margins, job_of = class_problem(rng, shape, gamma=gamma)
        got = results(job_of(margins), shape, np.float64)
        assert (got["hess"] >= 0.0).all()
        others = got["proba"] @ (1.0 - np.eye(shape[1]))
        spread = np.where(got["grad"] < 0.0, got["proba"], others)
        np.testing.assert_allclose(got["hess"], np.abs(got["grad"]) * spread, **DERIVED)


@pytest.mark.parametrize("options", [{"gamma": 0.5}, {"gamma": 3.0, "alpha": 0.2}], ids=str)
def test_no_negative_curvature_of_two_classes(rng, options):
    margins, job_of = binary_problem(rng, 700, **options)
    got = results(job_of(margins), margins.shape, np.float64)
    assert (got["hess"] >= 0.0).all()
    spread = special.expit(np.where(got["grad"] < 0.0, margins, -margins))
    np.testing.assert_allclose(got["hess"], np.abs(got["grad"]) * spread, **DERIVED)


def test_least_hessian():
    margins = np.array([0.0, 50.0, 0.0])
    job = binary_job(margins, np.ones(3), np.array([1.0, 1.0, 0.0]))
    got = results(job, margins.shape, np.float32, names=("grad", "hess"), hess_min=0.01)
    np.testing.assert_array_equal(got["hess"], np.float32([0.25, 0.01, 0.01]))
