"""From a suite of cases to the files of a report."""

import os
import re
import sys
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tqdm import tqdm

import cekernels
from bench import harness, machine, report
from bench.cases import SUITES
from bench.peers import OURS, load


def run(
    suite: str,
    *,
    pattern: re.Pattern[str],
    names: list[str],
    rounds: int | None,
    budget: float | None,
    out: Path,
    allowed: list[int],
) -> list[Path]:
    """Measure the cases that match, show them one by one, and write the report.

    Parameters
    ----------
    suite : str
        Key of `bench.cases.SUITES`.
    pattern : re.Pattern
        What a case's name must contain.
    names : list of str
        Systems beside cekernels.
    rounds, budget : int, float, optional
        As in `bench.harness.run_case`; by default those of the suite.
    out : Path
        Directory to write to.
    allowed : list of int
        Processors of this process before it was tied to one of them.

    Returns
    -------
    list of Path
        The files for a reader; empty when no case matches.
    """
    n_processors = len(allowed) or os.cpu_count() or 1
    cases = [
        case
        for case in SUITES[suite].cases
        if pattern.search(case.name) and case.n_threads <= n_processors
    ]
    if not cases:
        return []
    rounds, budget = rounds or SUITES[suite].rounds, budget or SUITES[suite].budget
    peers, missing = load(dict.fromkeys([OURS, *names]))
    config = cekernels.show_config(mode="dict")
    records: list[report.Record] = []
    content = {
        "suite": suite,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(allowed),
        "isa": config["isa"]["active"],
        "config": config,
        "versions": {name: text for peer in peers for name, text in peer.versions().items()},
        "missing": missing,
        "rounds": rounds,
        "budget_s": budget,
        "call_overhead_ns": harness.call_overhead_ns(),
        "cases": records,
    }
    tqdm.monitor_interval = 0  # no thread of its own beside the measurements
    with tqdm(cases, unit="case", disable=None) as bar:
        for case in bar:
            bar.set_description_str(case.name)
            with machine.processors(case.n_threads, allowed):
                result = harness.run_case(
                    case, peers, rounds=rounds, budget=budget, progress=bar.set_postfix_str
                )
            records.append(report.case_record(result))
            bar.write(report.summary_line(records[-1]))
    return _write(content, out / suite)


def _write(content: dict[str, Any], path: Path) -> list[Path]:
    report.write(content, path)
    page = path.with_suffix(".md")
    if find_spec("matplotlib") is None:
        print("no plots: matplotlib is not installed", file=sys.stderr)
        return [page]
    from bench.plots import plot_all

    return [page, *plot_all(content, path)]
