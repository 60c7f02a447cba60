"""Measure cekernels, the memory floor and every other system that is installed."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import machine
from bench.peers import MODULES, OURS

RESULTS = Path(__file__).parent / "results"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and write what it found."""
    parser = _parser()
    options = parser.parse_args(argv)
    allowed = machine.isolate(options.isa)
    # Not before: what is imported here looks at the processors and the environment.
    try:
        from bench.run import run
    except ValueError as error:  # cekernels has no such instruction set
        parser.error(str(error))
    written = run(
        options.suite,
        pattern=options.case,
        names=options.peer or list(MODULES),
        rounds=options.rounds,
        budget=options.budget,
        out=options.out,
        allowed=allowed,
    )
    if not written:
        parser.error(f"no case matches {options.case.pattern!r}")
    print(*written, sep="\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    add = parser.add_argument
    suite = parser.add_mutually_exclusive_group()
    for name, text in (
        ("quick", "small cases, few rounds"),
        ("scaling", "sweeps over n and over the number of classes"),
    ):
        suite.add_argument(f"--{name}", action="store_const", dest="suite", const=name, help=text)
    parser.set_defaults(suite="table")
    add("--case", type=_pattern, default="", metavar="REGEX", help="only cases of such a name")
    add(
        "--peer",
        action="append",
        choices=MODULES,
        help=f"only this system (repeatable); {OURS} and the floor are always measured",
    )
    add("--isa", metavar="NAME", help="instruction set that cekernels is to use")
    add(
        "--rounds",
        type=_positive(int),
        metavar="N",
        help="samples of each system (default 25, with --quick 5)",
    )
    add(
        "--budget",
        type=_positive(float),
        metavar="SECONDS",
        help="time for a case, all systems together (default 20, with --quick 1)",
    )
    add("--out", type=Path, default=RESULTS, metavar="DIR", help="where to write")
    return parser


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"not a regular expression: {error}") from None


def _positive(kind: type[float]) -> Any:
    def convert(text: str) -> float:
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"must be positive, got {text}")
        return value

    convert.__name__ = kind.__name__
    return convert


if __name__ == "__main__":
    sys.exit(main())
