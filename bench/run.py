"""From a suite of cases to the files of a report."""

import os
import re
import sys
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from tqdm import tqdm

import cekernels
from bench import harness, machine, report
from bench.cases import SUITES, Case
from bench.peers import OURS, Peer, load
from bench.report import Record


def select(suite: str, pattern: re.Pattern[str], allowed: list[int]) -> list[Case]:
    """Return the cases of a suite whose name matches and whose threads this machine has."""
    n_processors = len(allowed) or os.cpu_count() or 1
    return [
        case
        for case in SUITES[suite].cases
        if pattern.search(case.name) and case.n_threads <= n_processors
    ]


def prepare(
    suite: str,
    *,
    names: list[str],
    rounds: int | None,
    budget: float | None,
    allowed: list[int],
) -> tuple[list[Peer], Record]:
    """Import the systems, and begin the record of a run.

    Parameters
    ----------
    suite : str
        Key of `bench.cases.SUITES`.
    names : list of str
        Systems beside cekernels.
    rounds, budget : int, float, optional
        As in `bench.harness.run_case`; by default those of the suite.
    allowed : list of int
        Processors of this process before it was tied to one of them.

    Returns
    -------
    peers : list of Peer
        The systems that are installed.
    record : dict
        Everything but the cases.
    """
    peers, missing = load(dict.fromkeys([OURS, *names]))
    config = cekernels.show_config(mode="dict")
    return peers, {
        "suite": suite,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(allowed),
        "isa": config["isa"]["active"],
        "config": config,
        "versions": {name: text for peer in peers for name, text in peer.versions().items()},
        "missing": missing,
        "rounds": rounds or SUITES[suite].rounds,
        "budget_s": budget or SUITES[suite].budget,
        "call_overhead_ns": harness.call_overhead_ns(),
        "cases": [],
    }


def measure(cases: list[Case], peers: list[Peer], record: Record, allowed: list[int]) -> None:
    """Measure the cases, show them one by one, and add them to the record."""
    tqdm.monitor_interval = 0  # no thread of its own beside the measurements
    with tqdm(cases, unit="case", disable=None) as bar:
        for case in bar:
            bar.set_description_str(case.name)
            with machine.processors(case.n_threads, allowed):
                result = harness.run_case(
                    case,
                    peers,
                    rounds=record["rounds"],
                    budget=record["budget_s"],
                    progress=bar.set_postfix_str,
                )
            record["cases"].append(report.case_record(result))
            bar.write(report.summary_line(record["cases"][-1]))


def write(record: Record, out: Path) -> list[Path]:
    """Write the record, its page and its pictures to a directory; return what is for a reader."""
    path = out / record["suite"]
    report.write(record, path)
    page = path.with_suffix(".md")
    if find_spec("matplotlib") is None:
        print("no plots: matplotlib is not installed", file=sys.stderr)
        return [page]
    from bench.plots import plot_all

    return [page, *plot_all(record, path)]
