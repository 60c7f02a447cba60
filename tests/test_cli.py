"""The `cekernels` command: its numbers, its choice of a loss, its errors, its use of memory."""

import io
import json
import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from numpy.lib.format import open_memmap

import cekernels
from cekernels import _cli

# Of a few float64 logarithms that NumPy adds up.
RELATIVE = 1e-14
# Of the same losses in chunks of other sizes.
CHUNKS_RELATIVE = {np.float32: 1e-7, np.float64: 1e-13}

# Logits that are logarithms of probabilities, so that losses are logarithms of known numbers.
CLASS_PROBA = np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [0.3, 0.3, 0.4]])
LABELS = np.array([0, 1, 1, 2])
BINARY_PROBA = np.array([0.25, 0.5, 0.75, 0.9])
BINARY_TARGETS = np.array([0, 1, 1, 0])


@pytest.fixture
def save(tmp_path, monkeypatch):
    """Save arrays as .npy files in an empty folder, and return their names."""
    monkeypatch.chdir(tmp_path)

    def save(**arrays):
        for name, array in arrays.items():
            np.save(f"{name}.npy", array)
        return [f"{name}.npy" for name in arrays]

    return save


@pytest.fixture
def run(capsys):
    """Run the command; return its exit status and what it wrote to stdout and stderr."""

    def run(*args):
        try:
            status = _cli.main(args)
        except SystemExit as exit:
            status = exit.code
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def score(run):
    """Score files and return the JSON object."""

    def score(*args):
        status, out, err = run("score", *args, "--json")
        assert (status, err) == (0, "")
        return json.loads(out)

    return score


@pytest.fixture
def error(run):
    """Score files that cannot be scored and return the message, without its beginning."""

    def error(*args):
        status, out, err = run("score", *args)
        assert (status, out) == (2, "")
        assert err.startswith("cekernels: error: ")
        assert err.endswith("\n")
        assert err.count("\n") == 1
        return err.removeprefix("cekernels: error: ").rstrip("\n")

    return error


def approx(expected, relative=RELATIVE):
    return pytest.approx(expected, rel=relative, abs=0.0)


def logit(p):
    return np.log(p) - np.log1p(-p)


def command(*args, **options):
    """Start the command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "cekernels", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


# The commands


def test_module_runs_as_command():
    process = command("--version")
    assert process.communicate() == (f"cekernels {cekernels.__version__}\n", "")
    assert process.returncode == 0


def test_info_shows_configuration(run, capsys):
    cekernels.show_config()
    expected = capsys.readouterr().out
    assert run("info") == (0, expected, "")


def test_help_states_the_rule(run):
    status, out, _ = run("score", "--help")
    assert status == 0
    assert "The loss is chosen by shape and dtype, never by values" in out
    assert "memory does not grow" in out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["score", "x.npy"], "the following arguments are required: TARGETS.npy"),
        (["score", "x.npy", "y.npy", "--chunk-rows", "0"], "must be a positive integer, got '0'"),
        (["score", "x.npy", "y.npy", "--ignore-index", "all"], "must be a number, got 'all'"),
        (["score", "x.npy", "y.npy", "--n-threads", "two"], "invalid int value: 'two'"),
        (["score", "x.npy", "y.npy", "--loss", "mse"], "invalid choice: 'mse'"),
    ],
)
def test_usage_error_is_one_line(run, args, message):
    status, out, err = run(*args)
    assert (status, out) == (2, "")
    assert err.startswith("cekernels: error: ")
    assert err.count("\n") == 1
    assert message in err


# The numbers


def test_cross_entropy_of_labels(save, score):
    files = save(x=np.log(CLASS_PROBA), y=LABELS)
    result = score(*files, "--per-class")
    loss = -(np.log(0.5) + np.log(0.8) + np.log(0.2) + np.log(0.4)) / 4
    assert result.pop("loss") == approx(loss)
    assert result.pop("perplexity") == approx(np.exp(loss))
    classes = result.pop("classes")
    assert result == {
        "loss_function": "cross_entropy",
        "accuracy": 0.75,
        "n": 4,
        "ignored": 0,
        "weight": 4.0,
    }
    losses = [-np.log(0.5), -(np.log(0.8) + np.log(0.2)) / 2, -np.log(0.4)]
    assert [row.pop("loss") for row in classes] == approx(losses)
    assert classes == [
        {"class": 0, "accuracy": 1.0, "n": 1, "weight": 1.0},
        {"class": 1, "accuracy": 0.5, "n": 2, "weight": 2.0},
        {"class": 2, "accuracy": 1.0, "n": 1, "weight": 1.0},
    ]


def test_cross_entropy_of_probabilities(save, score):
    targets = np.array([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.6, 0.4]])
    result = score(*save(x=np.log(CLASS_PROBA), y=targets), "--loss", "ce", "--per-class")
    loss = -np.sum(targets * np.log(CLASS_PROBA)) / 4
    assert result["loss"] == approx(loss)
    assert result["accuracy"] == 0.75
    assert [row["n"] for row in result["classes"]] == [1, 2, 1]


def test_binary_vector(save, score):
    result = score(*save(x=logit(BINARY_PROBA), y=BINARY_TARGETS), "--per-class")
    loss = -(np.log(0.75) + np.log(0.5) + np.log(0.75) + np.log(0.1)) / 4
    assert result["loss_function"] == "binary_cross_entropy_with_logits"
    assert result["loss"] == approx(loss)
    assert "perplexity" not in result
    assert result["accuracy"] == 0.5
    classes = [(row["class"], row["n"], row["accuracy"]) for row in result["classes"]]
    assert classes == [(0, 2, 0.5), (1, 2, 0.5)]


def test_binary_columns(save, score):
    files = save(x=logit(CLASS_PROBA), y=np.eye(3, dtype=bool)[LABELS])
    result = score(*files, "--per-class")
    losses = -np.log(np.where(np.eye(3)[LABELS], CLASS_PROBA, 1 - CLASS_PROBA))
    assert result["loss"] == approx(np.mean(losses))
    assert (result["n"], result["accuracy"]) == (12, 8 / 12)
    by_column = [row["loss"] for row in result["classes"]]
    assert by_column == approx(np.mean(losses, axis=0).tolist())
    assert [row["n"] for row in result["classes"]] == [4, 4, 4]


def test_weights(save, score):
    weights = np.array([1.0, 2.0, 0.0, 0.5])
    files = save(x=np.log(CLASS_PROBA), y=LABELS, w=weights)
    result = score(*files[:2], "--weights", files[2], "--per-class")
    loss = -(np.log(0.5) + 2 * np.log(0.8) + 0.5 * np.log(0.4)) / 3.5
    assert result["loss"] == approx(loss)
    assert (result["n"], result["weight"], result["accuracy"]) == (4, 3.5, 1.0)
    assert [row["weight"] for row in result["classes"]] == [1.0, 2.0, 0.5]


def test_weights_of_rows_and_of_logits_of_binary_columns(save, score):
    weights = np.array([1.0, 2.0, 0.0, 0.5])
    grid = np.repeat(weights[:, np.newaxis], 3, axis=1)
    x, y, w, g = save(x=logit(CLASS_PROBA), y=np.eye(3, dtype=int)[LABELS], w=weights, g=grid)
    result = score(x, y, "--weights", w, "--per-class")
    assert result["weight"] == 10.5
    assert result == score(x, y, "--weights", g, "--per-class")


def test_ignored_targets(save, score):
    x, y, b, t = save(
        x=np.log(CLASS_PROBA),
        y=np.array([0, -100, 1, 2]),
        b=logit(BINARY_PROBA),
        t=np.array([0, 1, np.nan, 0]),
    )
    result = score(x, y, "--ignore-index", "-100", "--per-class")
    loss = -(np.log(0.5) + np.log(0.2) + np.log(0.4)) / 3
    assert result["loss"] == approx(loss)
    assert (result["n"], result["ignored"], result["accuracy"]) == (3, 1, 2 / 3)
    assert [row["n"] for row in result["classes"]] == [1, 1, 1]
    result = score(b, t, "--ignore-index", "nan")
    loss = -(np.log(0.75) + np.log(0.5) + np.log(0.1)) / 3
    assert result["loss"] == approx(loss)
    assert (result["n"], result["ignored"]) == (3, 1)


def test_numbers_that_json_has_not_are_strings(save, score):
    x, y = save(x=np.array([[0.0, -np.inf], [0.0, np.nan]]), y=np.array([1, 0]))
    assert score(x, y, "--per-class")["loss"] == "nan"
    x, y = save(x=np.array([[0.0, -np.inf], [0.0, 1.0]]), y=np.array([1, 0]))
    result = score(x, y)
    assert (result["loss"], result["perplexity"]) == ("inf", "inf")
    x, y = save(x=np.array([[0.0, 1e4]]), y=np.array([0]))
    assert score(x, y)["perplexity"] == "inf"


def test_nan_is_never_right(save, score):
    x, y = save(x=np.array([[np.nan, 0.0], [1.0, 0.0]]), y=np.array([0, 0]))
    assert score(x, y)["accuracy"] == 0.5
    x, y = save(x=np.array([np.nan, -1.0]), y=np.array([0, 0]))
    assert score(x, y)["accuracy"] == 0.5


def test_table(save, run):
    files = save(x=np.zeros((4, 2), np.float32), y=np.array([0, 0, 1, 0], np.uint8))
    status, out, err = run("score", *files, "--per-class")
    assert (status, err) == (0, "")
    assert out == (
        "loss_function  cross_entropy\n"
        "loss           0.6931472\n"
        "perplexity     2\n"
        "accuracy       0.75\n"
        "n              4\n"
        "ignored        0\n"
        "weight         4\n"
        "\n"
        "class       loss  accuracy  n  weight\n"
        "    0  0.6931472         1  3       3\n"
        "    1  0.6931472         0  1       1\n"
    )


def test_nothing_to_average_is_nan_with_a_warning(save, run):
    files = save(x=np.zeros((0, 3)), y=np.zeros(0, int))
    status, out, err = run("score", *files, "--json")
    result = json.loads(out)
    assert (status, err) == (0, "cekernels: warning: there is nothing to average\n")
    assert (result["loss"], result["accuracy"], result["n"]) == ("nan", "nan", 0)


# The choice of the loss


@pytest.mark.parametrize(
    ("logits", "targets", "dtype", "loss"),
    [
        ((6,), (6,), int, "bce"),
        ((6,), (6,), float, "bce"),
        ((), (), bool, "bce"),
        ((6, 3), (6, 3), bool, "bce"),
        ((6, 1), (6, 1), np.uint8, "bce"),
        ((6, 3), (6,), int, "ce"),
        ((6, 3), (6,), bool, "ce"),
        ((2, 6, 3), (2, 6), np.int8, "ce"),
        ((3,), (), int, "ce"),
    ],
)
def test_loss_is_chosen_by_shape_and_dtype(save, score, logits, targets, dtype, loss):
    names = {"bce": "binary_cross_entropy_with_logits", "ce": "cross_entropy"}
    files = save(x=np.zeros(logits), y=np.zeros(targets, dtype))
    assert score(*files)["loss_function"] == names[loss]
    assert score(*files, "--loss", loss)["n"] == np.prod(targets)


def test_doubt_about_the_loss_is_an_error(save, error):
    files = save(x=np.zeros((4, 3)), y=np.full((4, 3), 1 / 3))
    assert error(*files).endswith("choose --loss ce or --loss bce")
    files = save(x=np.zeros((4, 1)), y=np.zeros(4, int))
    assert "single class" in error(*files)


# Errors


@pytest.mark.parametrize(
    ("logits", "targets", "options", "message"),
    [
        (np.zeros((4, 3)), np.zeros(5, int), [], "targets for logits of shape (4, 3) must be "),
        (np.zeros((4, 3)), np.zeros(4), [], "got float64 of shape (4,)"),
        (np.zeros((4, 3)), np.zeros((4, 2), int), ["--loss", "bce"], "of shape (4, 3), got int64"),
        (np.zeros(()), np.zeros(3, int), [], "logits must have an axis of classes"),
        (np.zeros((4, 0)), np.zeros(4, int), [], "at least one class"),
        (np.zeros((4, 3), np.longdouble), np.zeros(4, int), [], "up to 64 bits"),
        (np.zeros((4, 3), complex), np.zeros(4, int), [], "complex128"),
        (np.zeros((4, 3), ">f8"), np.zeros(4, int), [], "byte order"),
        (np.zeros((4, 3)), np.array(["a", "b", "c", "d"]), [], "got <U1"),
        (np.zeros(4), np.array(["a", "b", "c", "d"]), [], "<U1"),
        (np.zeros((4, 3)), np.zeros(4, int), ["--n-threads", "0"], "n_threads"),
        (np.zeros((4, 3)), np.zeros(4, int), ["--ignore-index", "0.5"], "ignore_index"),
        (np.zeros((4, 3)), np.zeros(4, int), ["--weights", "x.npy"], "weights must have shape"),
    ],
)
def test_arrays_that_do_not_fit(save, error, logits, targets, options, message):
    assert message in error(*save(x=logits, y=targets), *options)


def test_dtype_of_an_empty_file_is_checked(save, error):
    assert "complex64" in error(*save(x=np.zeros((0, 3), np.complex64), y=np.zeros(0, int)))


@pytest.mark.parametrize("chunk_rows", [[], ["--chunk-rows", "10"], ["--chunk-rows", "7"]])
def test_label_error_counts_rows_of_the_whole_file(save, error, chunk_rows):
    labels = np.zeros(1000, int)
    labels[777] = 3
    message = error(*save(x=np.zeros((1000, 3), np.float32), y=labels), *chunk_rows)
    assert message.startswith("targets[777] is 3, but labels are integers from 0 to 2")
    labels = np.zeros((20, 50), np.int16)
    labels[15, 27] = -1
    message = error(*save(x=np.zeros((20, 50, 3)), y=labels), *chunk_rows)
    assert message.startswith("targets[15, 27] is -1, but labels are integers from 0 to 2")


@pytest.mark.parametrize("chunk_rows", [[], ["--chunk-rows", "10"]])
def test_binary_target_error_counts_rows_of_the_whole_file(save, error, chunk_rows):
    targets = np.zeros((100, 2))
    targets[57, 1] = 1.5
    files = save(x=np.zeros((100, 2)), y=targets)
    message = error(*files, "--loss", "bce", *chunk_rows)
    assert message.startswith("targets[57, 1] is 1.5, but binary targets are from 0 to 1")


def test_first_invalid_label_is_not_one_that_is_ignored(save, error):
    files = save(x=np.zeros((4, 3)), y=np.array([0, -100, 9, 0]))
    assert error(*files, "--ignore-index", "-100").startswith("targets[2] is 9")


def write_pickle():
    np.save("bad.npy", np.array([{}, None], dtype=object), allow_pickle=True)


def write_truncated():
    np.save("bad.npy", np.zeros((100, 3)))
    os.truncate("bad.npy", 1000)


def write_truncated_header():
    np.save("bad.npy", np.zeros((100, 3)))
    os.truncate("bad.npy", 40)


def write_archive():
    with open("bad.npy", "wb") as file:
        np.savez(file, x=np.zeros(3))


def write_text():
    with open("bad.npy", "w") as file:
        file.write("1.0, 2.0\n")


def write_nothing():
    open("bad.npy", "w").close()


def write_directory():
    os.mkdir("bad.npy")


def write_no_file():
    pass


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (write_pickle, "bad.npy: not an .npy array of numbers, or a damaged one (Array can't be "),
        (write_truncated, "bad.npy: not an .npy array of numbers, or a damaged one (mmap length"),
        (write_truncated_header, "bad.npy: not an .npy array of numbers, or a damaged one (EOF"),
        (write_archive, "bad.npy: not an .npy array of numbers, or a damaged one (the magic"),
        (write_text, "bad.npy: not an .npy array of numbers, or a damaged one (the magic"),
        (write_nothing, "bad.npy: not an .npy array of numbers, or a damaged one (EOF"),
        (write_directory, "bad.npy: "),
        (write_no_file, "bad.npy: No such file or directory"),
    ],
)
def test_file_that_cannot_be_read(save, error, write, message):
    x, y = save(x=np.zeros((4, 3)), y=np.zeros(4, int))
    write()
    assert error("bad.npy", y).startswith(message)
    assert error(x, "bad.npy").startswith(message)
    assert error(x, y, "--weights", "bad.npy").startswith(message)


def test_lack_of_memory_is_one_line(save, error, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(_cli, "score", fail)
    assert error(*save(x=np.zeros(1), y=np.zeros(1))) == "out of memory: try fewer --chunk-rows"


def test_ctrl_c_is_silent(save, run, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_cli, "score", interrupt)
    assert run("score", *save(x=np.zeros(1), y=np.zeros(1))) == (130, "", "")


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_nobody_reads(save, unbuffered):
    files = save(x=np.zeros(1), y=np.zeros(1))
    process = command("score", *files, env={**os.environ, "PYTHONUNBUFFERED": unbuffered})
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 141
    process.stderr.close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_output_that_cannot_be_written(save):
    files = save(x=np.zeros(1), y=np.zeros(1))
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "cekernels", "score", *files],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == "cekernels: error: cannot write the output: No space left on device\n"


# Chunks


@pytest.fixture
def big(save, rng, dtype):
    """Logits and labels of several chunks."""
    shape = (2**18 + 12345, 10)
    labels = rng.integers(0, shape[1], shape[0])
    return save(x=rng.normal(size=shape).astype(dtype), y=labels)


def test_whole_file_is_scored_as_by_the_library(big, score):
    x, y = map(np.load, big)
    result = score(*big)
    assert result["loss"] == approx(cekernels.cross_entropy(x, y), 1e-15)
    assert result["accuracy"] == np.mean(np.argmax(x, axis=1) == y)
    assert result["n"] == len(y)


def test_size_of_chunks_changes_rounding_only(big, score, dtype):
    want = score(*big, "--per-class")
    relative = CHUNKS_RELATIVE[dtype]
    for chunk_rows in ("1000", "4321", "1000000"):
        got = score(*big, "--per-class", "--chunk-rows", chunk_rows)
        assert got["loss"] == approx(want["loss"], relative), chunk_rows
        for name in ("accuracy", "n", "ignored", "weight"):
            assert got[name] == want[name], (chunk_rows, name)
        for got_class, want_class in zip(got["classes"], want["classes"], strict=True):
            assert got_class == approx(want_class, relative), chunk_rows


def test_threads_do_not_change_a_bit(big, score):
    assert score(*big, "--n-threads", "2") == score(*big)


@pytest.mark.parametrize("chunk_rows", ["64", "999"])
@pytest.mark.parametrize("fortran_order", ["x", "y", "xy"])
@pytest.mark.parametrize("shape", [(2000, 37), (20, 50, 7)])
def test_fortran_order(save, score, rng, shape, fortran_order, chunk_rows):
    arrays = {"x": rng.normal(size=shape), "y": rng.integers(0, shape[-1], shape[:-1])}
    options = ["--chunk-rows", chunk_rows, "--per-class"]
    want = score(*save(**arrays), *options)
    for name in fortran_order:
        arrays[name] = np.asfortranarray(arrays[name])
    got = score(*save(**arrays), *options)
    assert got["loss"] == approx(want["loss"])
    for got_class, want_class in zip(got["classes"], want["classes"], strict=True):
        assert got_class == approx(want_class)


def test_fortran_order_does_not_change_a_place(save, error):
    labels = np.zeros((20, 50), int)
    labels[15, 27] = 3
    for y in (labels, np.asfortranarray(labels)):
        files = save(x=np.asfortranarray(np.zeros((20, 50, 3))), y=y)
        assert error(*files, "--chunk-rows", "10").startswith("targets[15, 27] is 3")


def save_zeros(name, n_rows, fortran_order):
    """Write an .npy file of 1 kB a row without its content."""
    open_memmap(name, "w+", np.float32, (n_rows, 256), fortran_order=fortran_order)


@pytest.mark.parametrize("fortran_order", [False, True])
def test_heap_does_not_grow_with_the_files(save, score, fortran_order):
    peaks = []
    for n_rows in (2**15, 2**17):
        save_zeros("x.npy", n_rows, fortran_order)
        (targets,) = save(y=np.zeros(n_rows, np.int8))
        tracemalloc.start()
        score("x.npy", targets)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 2**25
    assert peaks[1] < 1.1 * peaks[0]


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux")
@pytest.mark.parametrize("fortran_order", [False, True])
def test_resident_memory_does_not_grow_with_the_files(save, fortran_order):
    program = (
        "import sys; from cekernels import _cli\n"
        "for files in (sys.argv[1:3], sys.argv[3:]):\n"
        "    _cli.main(['score', *files])\n"
        "    print(*[line for line in open('/proc/self/status') if line.startswith('VmHWM')])"
    )
    files = []
    for n_rows in (2**15, 2**17):
        save_zeros(f"x{n_rows}.npy", n_rows, fortran_order)
        files += [f"x{n_rows}.npy", *save(**{f"y{n_rows}": np.zeros(n_rows, np.int8)})]
    args = [sys.executable, "-c", program, *files]
    output = subprocess.run(args, capture_output=True, text=True, check=True).stdout
    peaks = [int(line.split()[1]) for line in output.splitlines() if line.startswith("VmHWM")]
    # The larger file has 96 MB more. What is mapped for a moment depends on the page cache.
    assert peaks[1] - peaks[0] < 64_000


# Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(params=["tqdm", "own"])
def terminal(request, monkeypatch):
    """A terminal as stderr, with a progress bar that shows every chunk."""
    if request.param == "own":
        monkeypatch.setitem(sys.modules, "tqdm", None)
    else:
        tqdm = pytest.importorskip("tqdm").tqdm
        eager = {"delay": 0, "mininterval": 0}
        monkeypatch.setattr("tqdm.tqdm", lambda **options: tqdm(**options | eager))
    return Terminal()


def test_progress_is_shown_and_wiped(save, run, terminal, monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal)
    files = save(x=np.zeros(4), y=np.zeros(4))
    status, out, _ = run("score", *files, "--chunk-rows", "1")
    assert status == 0
    assert "25%" in terminal.getvalue()
    assert "25%" not in out
    assert terminal.getvalue().rstrip("\r").endswith(" ")


def test_progress_is_wiped_before_an_error(save, run, terminal, monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal)
    files = save(x=np.zeros(4), y=np.array([0.0, 0.0, 0.0, 2.0]))
    status, out, _ = run("score", *files, "--chunk-rows", "1")
    assert (status, out) == (2, "")
    assert "75%" in terminal.getvalue()
    assert " \rcekernels: error: targets[3]" in terminal.getvalue()
