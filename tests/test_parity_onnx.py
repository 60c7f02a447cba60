"""Where the results differ from those of ONNX on purpose; each test is a row of the page.

`test_parity.py` has the calls that agree, and says how to install the other systems.
"""

import math

import numpy as np
import pytest

import cekernels as ck

onnx = pytest.importorskip("onnx")
reference = pytest.importorskip("onnx.reference")
pytestmark = pytest.mark.usefixtures("isa")

X = np.array([[1.0, -0.5, 0.25]], np.float32)


def model(n_rows):
    """Return a model of one SoftmaxCrossEntropyLoss of three classes."""
    helper, kinds = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        [helper.make_node("SoftmaxCrossEntropyLoss", ["x", "y"], ["loss"])],
        "one",
        [
            helper.make_tensor_value_info("x", kinds.FLOAT, [n_rows, 3]),
            helper.make_tensor_value_info("y", kinds.INT64, [n_rows]),
        ],
        [helper.make_tensor_value_info("loss", kinds.FLOAT, None)],
    )
    opset = helper.make_opsetid("", 13)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8)


def in_runtime(x, y):
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    session = runtime.InferenceSession(
        model(len(x)).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return float(session.run(None, {"x": x, "y": np.asarray(y, np.int64)})[0])


def test_negative_label():
    """label -1 in ONNX Runtime"""
    with pytest.raises(ck.LabelError, match="-1"):
        ck.cross_entropy(X, [-1])
    assert in_runtime(X, [-1]) == pytest.approx(ck.cross_entropy(X, [2]), rel=1e-6)


def test_empty_batch():
    """an empty batch in ONNX Runtime"""
    with pytest.warns(RuntimeWarning, match="mean"):
        assert math.isnan(ck.cross_entropy(X[:0], np.zeros(0, int)))
    with pytest.raises(Exception, match=r"(?i)fail|invalid|error"):
        in_runtime(X[:0], [])


def test_sure_logits():
    """logits 1000, 0, 0 with label 1 in the reference evaluator"""
    x = np.array([[1000.0, 0.0, 0.0]], np.float32)
    with np.errstate(divide="ignore"):
        (loss,) = reference.ReferenceEvaluator(model(1)).run(None, {"x": x, "y": np.array([1])})
    assert loss == math.inf
    assert ck.cross_entropy(x, [1]) == 1000.0
