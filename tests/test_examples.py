"""The examples run as a newcomer would run them, and print the numbers that they should."""

import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"

pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="tests without the repository")

FIRST = [
    *("0.498", "0.506", "0.515", "0.524", "0.533", "0.542", "0.551", "0.560", "0.569", "0.578"),
    *("0.587", "0.596", "0.605", "0.614", "0.622", "0.631", "0.640", "0.648", "0.656", "0.664"),
    *("0.672", "0.680", "0.687", "0.695", "0.702", "0.709", "0.715", "0.722", "0.728", "0.734"),
]
SECOND = [
    *("0.806", "0.781", "0.755", "0.728", "0.700", "0.672", "0.644", "0.617", "0.590", "0.564"),
    *("0.539", "0.515", "0.492", "0.470", "0.450", "0.431", "0.412", "0.396", "0.380", "0.365"),
    *("0.351", "0.337", "0.325", "0.313", "0.302", "0.292", "0.282", "0.273", "0.265", "0.256"),
]


# The examples that draw, with what is replaced lest they take long.
SHORTER = {
    "digits.py": {},
    "calibration.py": {},
    "imbalanced_boosting.py": {"n_repeats=2": "n_repeats=1", "max_iter=60": "max_iter=30"},
    "text_classification.py": {
        "np.logspace(-1, 3, 5)": "np.logspace(1, 1, 1)",
        "ngram_range=(3, 4)": "ngram_range=(3, 3)",
    },
}
# Imports take as long as most examples: one process runs all.
PROGRAM = """
import contextlib, io, json, runpy, sys, traceback
done = {}
for name in sys.argv[1:]:
    sys.argv = [name, "--out", name + ".png"]
    out, error = io.StringIO(), ""
    try:
        with contextlib.redirect_stdout(out):
            runpy.run_path(name, run_name="__main__")
    except BaseException:
        error = traceback.format_exc()
    done[name] = out.getvalue(), error
print(json.dumps(done))
"""


def run(folder, *command):
    """Run Python in a folder and return what it prints."""
    command = [sys.executable, *command]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Run the examples that draw, made shorter, and return their folder and what they print."""
    folder = tmp_path_factory.mktemp("examples")
    for name, changes in SHORTER.items():
        source = (EXAMPLES / name).read_text(encoding="utf-8")
        for old, new in changes.items():
            assert source.count(old) == 1, f"{name} has not one {old}"
            source = source.replace(old, new)
        (folder / name).write_text(source, encoding="utf-8")
    return folder, json.loads(run(folder, "-c", PROGRAM, *SHORTER))


@pytest.fixture(params=["together", pytest.param("alone", marks=pytest.mark.slow)])
def run_example(request, tmp_path):
    """Return what an example prints that draws a plot: as it is, or made shorter."""
    for package in ("sklearn", "matplotlib", "tqdm"):
        pytest.importorskip(package)

    def run_example(name):
        if request.param == "alone":
            output, plot = (
                run(tmp_path, EXAMPLES / name, "--out", "plot.png"),
                tmp_path / "plot.png",
            )
        else:
            folder, done = request.getfixturevalue("together")
            (output, error), plot = done[name], folder / f"{name}.png"
            assert not error, error
        assert plot.read_bytes().startswith(b"\x89PNG")
        return output

    return run_example


def find_number(output, pattern):
    return float(re.search(pattern + r"\s+([\d.]+)", output)[1])


def test_thirty_steps(tmp_path):
    output = run(tmp_path, EXAMPLES / "thirty_steps.py")
    header, *rows = [line.split() for line in output.splitlines()]
    assert header == ["step", "first", "second", "loss"]
    assert [row[:3] for row in rows] == [
        [str(step), first, second]
        for step, (first, second) in enumerate(zip(FIRST, SECOND, strict=True))
    ]


def test_digits(run_example):
    output = run_example("digits.py")
    number = partial(find_number, output)
    log_loss = number("held-out log loss")
    assert log_loss == pytest.approx(number("by scikit-learn"), rel=0, abs=1e-12)
    assert log_loss < 0.15
    assert number("held-out accuracy") >= 0.95
    assert 0 < number("cekernels") < 100
    assert re.search(r"% of that, \d+\.\d ns a logit", output)


def test_imbalanced_boosting(run_example):
    output = run_example("imbalanced_boosting.py")
    rows = re.findall(r"^(log loss|focal, gamma \d) +(0\.\d+) +(0\.\d+)$", output, re.MULTILINE)
    plain, *focal = [(float(precision), float(loss)) for _, precision, loss in rows]
    assert len(focal) == 2
    for precision, loss in focal:
        assert precision > plain[0]
        assert loss < plain[1]


def test_calibration(run_example):
    number = partial(find_number, run_example("calibration.py"))
    assert number("temperature") == pytest.approx(3.76, abs=0.01)
    assert number("log loss after") < 0.5 * number("log loss before")


def test_text_classification(run_example):
    number = partial(find_number, run_example("text_classification.py"))
    assert number("held-out log loss") == pytest.approx(number("by scikit-learn"), rel=1e-3)
    assert number("held-out log loss") < 1.6
    assert number("held-out accuracy") > 0.55
