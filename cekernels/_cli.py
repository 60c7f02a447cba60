"""The `cekernels` command."""

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from cekernels import __version__, show_config
from cekernels._score import LOSSES, Options, Score, ScoreError, open_array, pick_loss, score

SCORE_DESCRIPTION = """\
Print loss, perplexity and accuracy of logits against targets, two arrays in .npy files.

The loss is chosen by shape and dtype, never by values: integer targets without the last axis of
the logits are class labels (ce), targets of the logits' shape are binary (bce) if they are integers
or a vector, and anything else has to be settled by --loss."""

SCORE_EPILOG = """\
Cross-entropy (ce) also takes floating targets of the logits' shape, as class probabilities.

Accuracy is the share, by weight, of targets whose class is that of the largest logit (ce; the class
of probabilities is the most probable one), or that are above 0.5 where the logit is above 0 (bce).
NaN is never right.

Files are mapped into memory and read a chunk of rows at a time: memory does not grow with the
files, whatever their size and order. Files in Fortran order are copied chunk by chunk, which takes
longer. Pickled objects are never loaded. The size of the chunks changes the loss by rounding alone:
by less than 1e-7 of it for float32 logits, 1e-12 for float64 ones.

In JSON, numbers that are not finite are the strings "nan", "inf" and "-inf". With nothing to
average, loss and accuracy are nan, with a warning.

Exit status: 0 for a result, 2 for an error (one line on stderr, nothing on stdout), 130 after
Ctrl-C, 141 when the reader of the output has gone."""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"cekernels: error: {' '.join(message.splitlines())}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, without any with those of the process."""
    parser = _parser()
    try:
        try:
            args = parser.parse_args(argv)
            args.run(args)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _drop_stdout()
        return 141
    except ScoreError as error:
        parser.error(str(error))
    except MemoryError:
        parser.error("out of memory: try fewer --chunk-rows")
    except OSError as error:
        _drop_stdout()
        parser.error(f"cannot write the output: {error.strerror}")
    return 0


def _drop_stdout() -> None:
    """Send what is still buffered nowhere, or Python complains about it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="cekernels", description="Exact, fused cross-entropy for NumPy.")
    parser.add_argument("--version", action="version", version=f"cekernels {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    info = commands.add_parser("info", help="show how cekernels was built and what it uses here")
    info.set_defaults(run=lambda _: show_config())
    _add_score(commands)
    return parser


def _add_score(commands: Any) -> None:
    parser = commands.add_parser(
        "score",
        help="loss, perplexity and accuracy of logits against targets in .npy files",
        description=SCORE_DESCRIPTION,
        epilog=SCORE_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=_run_score)
    add = parser.add_argument
    add("logits", metavar="LOGITS.npy", help="logits, with the classes on the last axis")
    add("targets", metavar="TARGETS.npy", help="class labels, binary targets or probabilities")
    add("--loss", choices=("auto", "bce", "ce"), default="auto", help="the loss (default: auto)")
    add("--weights", metavar="FILE.npy", help="sample weights, one a row, or (bce) one a logit")
    add("--ignore-index", type=_number, metavar="K", help="leave out targets equal to K (or nan)")
    add("--per-class", action="store_true", help="also show each class (or column of bce)")
    add("--json", action="store_true", help="print one JSON object, in full precision")
    add("--chunk-rows", type=_positive, metavar="N", help="rows to read at a time")
    add("--n-threads", type=int, metavar="N", help="threads (default: 1; -1: all CPUs)")


def _number(text: str) -> float:
    """Parse a number, and integers exactly."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, got {text!r}") from None


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a positive integer, got {text!r}")
    return int(text)


def _run_score(args: argparse.Namespace) -> None:
    logits, targets = open_array(args.logits), open_array(args.targets)
    weights = open_array(args.weights) if args.weights else None
    loss = pick_loss(logits, targets) if args.loss == "auto" else args.loss
    options = Options(loss, args.ignore_index, args.per_class, args.chunk_rows, args.n_threads)
    result = score(logits, targets, weights, options, _progress)
    if not result.stats.weight:
        print("cekernels: warning: there is nothing to average", file=sys.stderr)
    summary = {"loss_function": LOSSES[loss][0].__name__, **_summary(loss, result)}
    classes = _classes(result) if args.per_class else None
    print(_as_json(summary, classes) if args.json else _as_table(summary, classes))


@contextmanager
def _progress(n_rows: int) -> Iterator[Callable[[int], object]]:
    """Yield a function to call with the number of rows done, which shows them on a terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda _: None
        return
    try:
        from tqdm import tqdm  # type: ignore[import-untyped]
    except ImportError:
        yield from _percentage(n_rows)
        return
    with tqdm(total=n_rows, unit="row", unit_scale=True, leave=False, delay=0.5) as bar:
        yield bar.update


def _percentage(n_rows: int) -> Iterator[Callable[[int], object]]:
    """Show the progress without tqdm."""
    done = 0

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        print(f"\r{done / n_rows:4.0%}", end="", file=sys.stderr, flush=True)

    try:
        yield advance
    finally:
        print("\r    \r", end="", file=sys.stderr, flush=True)


def _summary(loss: str, result: Score) -> dict[str, float]:
    summary = {"loss": result.stats.mean}
    if loss == "ce":
        summary["perplexity"] = result.perplexity
    return summary | {
        "accuracy": _ratio(result.correct, result.weight),
        "n": result.stats.count,
        "ignored": result.n_ignored,
        "weight": result.stats.weight,
    }


def _classes(result: Score) -> list[dict[str, float]]:
    return [
        {
            "class": label,
            "loss": _ratio(loss, weight),
            "accuracy": _ratio(correct, weight),
            "n": int(count),
            "weight": weight,
        }
        for label, (count, weight, correct, loss) in enumerate(result.classes.tolist())
    ]


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _as_json(summary: dict[str, Any], classes: list[dict[str, float]] | None) -> str:
    document = _finite(summary)
    if classes is not None:
        document["classes"] = [_finite(row) for row in classes]
    return json.dumps(document, allow_nan=False)


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """Replace what JSON has no numbers for by strings."""
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }


def _as_table(summary: dict[str, Any], classes: list[dict[str, float]] | None) -> str:
    width = max(map(len, summary))
    lines = [f"{name:{width}}  {_cell(value)}" for name, value in summary.items()]
    if classes:
        rows = [list(classes[0]), *([_cell(value) for value in row.values()] for row in classes)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines += ["", *("  ".join(map(str.rjust, row, widths)) for row in rows)]
    return "\n".join(lines)


def _cell(value: str | float) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() else f"{value:.7g}"
    return str(value)
