"""`cekernels score` of arrays without columns, and with targets that are NaN."""

import numpy as np
import pytest

from cekernels import _cli, _score


def test_no_class_has_no_table(tmp_path, capsys):
    names = [str(tmp_path / name) for name in ("logits.npy", "targets.npy")]
    np.save(names[0], np.zeros((3, 0)))
    np.save(names[1], np.zeros((3, 0), np.int8))
    assert _cli.main(["score", *names, "--per-class"]) == 0
    out, err = capsys.readouterr()
    assert out.split() == [
        *("loss_function", "binary_cross_entropy_with_logits", "loss", "nan", "accuracy", "nan"),
        *("n", "0", "ignored", "0", "weight", "0"),
    ]
    assert err == "cekernels: warning: there is nothing to average\n"


@pytest.mark.parametrize(
    ("loss", "logits", "targets", "right"),
    [
        ("bce", [-1.0, -1.0, 1.0], [np.nan, 0.0, np.nan], [False, True, False]),
        ("ce", [[1.0, 0.0], [1.0, 0.0]], [[np.nan, 0.5], [0.5, 0.25]], [False, True]),
    ],
)
def test_targets_of_nan_are_never_right(loss, logits, targets, right):
    assert _score._decide(loss, np.array(logits), np.array(targets))[1].tolist() == right
