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
    """Run the benchmark, write what it found, and compare it where that is asked for."""
    parser = _parser()
    options = parser.parse_args(argv)
    allowed = machine.isolate(options.isa)
    # Not before: what is imported here looks at the processors and the environment.
    try:
        from bench import compare, goals, run
        from bench.tables import aligned_table

        old = options.compare and compare.read(options.compare)
    except ValueError as error:  # no such instruction set, or no such report
        parser.error(str(error))
    cases = run.select(options.suite, options.case, allowed)
    if not cases:
        parser.error(f"no case matches {options.case.pattern!r}")
    peers, record = run.prepare(
        options.suite,
        names=options.peer or list(MODULES),
        rounds=options.rounds,
        budget=options.budget,
        allowed=allowed,
    )
    if old and not options.force and (different := compare.differences(old, record)):
        parser.exit(2, compare.refusal(different) + "\n")
    run.measure(cases, peers, record, allowed)
    if promised := goals.rows(record["cases"]):
        print("", aligned_table(goals.HEAD, promised), "", sep="\n")
    print(*run.write(record, options.out), sep="\n")
    if not old:
        return 0
    page, slower = compare.page(old, record)
    print("", page, sep="\n")
    return int(slower)


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
    add(
        "--compare",
        type=Path,
        metavar="OLD.json",
        help="an earlier report; exit status 1 where a case has become slower",
    )
    add(
        "--force",
        action="store_true",
        help="compare also with another machine, instruction set or version",
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
