"""Put the figures of a run on the site: ``python -m bench.publish [RESULTS]``.

Reads ``table.json``, ``scaling.json`` and ``memory.json`` of the directory, and the counts of
``instructions.json``.  Writes what ``docs/explanation/speed.rst`` includes: tables to
``docs/explanation/speed/`` and pictures to ``docs/_static/``.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from bench import instructions, memory
from bench.cases import SUITES
from bench.harness import FLOOR
from bench.peers import AVX2, FRESH, OURS
from bench.plots import plot_all
from bench.report import MIN_CPU_SHARE, Record, rows_by_peer
from bench.tables import number, ratio, rst_table

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
DOCS = ROOT / "docs"


def conditions(report: Record) -> str:
    """Return machine, compiler and versions as a sentence or two."""
    machine = report["machine"]
    caches = ", ".join(f"{size >> 10:,} KiB {name}" for name, size in machine["caches"].items())
    systems = ", ".join(
        f"{name} {version}" for name, version in report["versions"].items() if name != OURS
    )
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {caches or 'caches unknown'}, instruction set "
        f"``{report['isa']}``, {report['config']['compiler']}, {machine['python']}, "
        f"{report['date'][:10]}. Beside it: {systems}.{_trial(report)}"
    )


def _trial(report: Record) -> str:
    """Return a warning where the figures are not meant to last."""
    shares = [case["cpu_share"] for case in report["cases"] if case["cpu_share"] is not None]
    remarks = []
    if report["rounds"] < SUITES[report["suite"]].rounds:
        remarks.append(f"{report['rounds']} rounds alone")
    if disturbed := sum(share < MIN_CPU_SHARE for share in shares):
        remarks.append(f"{disturbed} of {len(report['cases'])} cases disturbed by other programs")
    return f"\n\n.. warning:: A trial run: {', '.join(remarks)}." if remarks else ""


def threads(drawn: list[str]) -> str:
    """Return the picture of two threads, where the run had two processors."""
    if "speed-threads.png" not in drawn:
        return "The run had one processor: nothing to show."
    return (
        ".. figure:: /_static/speed-threads.png\n"
        "   :alt: Speed-up of two threads over one against n."
    )


def table(report: Record) -> str:
    """Return ours, the best of the others and the floor, in ns per logit."""
    body = []
    for case in report["cases"]:
        times = {peer: row["ns_per_logit"] for peer, row in rows_by_peer(case).items()}
        best = case["best_peer"]
        if OURS not in times or best is None:
            continue
        ours = [times.get(peer) for peer in (OURS, FRESH, FLOOR)]
        body.append(
            [
                case["title"],
                *("" if time is None else number(time) for time in ours),
                f"{number(times[best])} {best}",
                ratio(case["best_peer_ratio"]),
            ]
        )
    return rst_table(["work", "cekernels", "fresh", "floor", "best of the others", ""], body)


def ahead(report: Record) -> str:
    """Return the cases in which another system is faster."""
    lines = [
        f"* {case['title']}: {case['best_peer']}, {number(1 / case['best_peer_ratio'])} times"
        for case in report["cases"]
        if case["best_peer_ratio"] and case["best_peer_ratio"] < 1
    ]
    return "\n".join(lines) or "In none of these rows is another system faster."


def isas(report: Record) -> str:
    """Return what AVX2 takes in place of the best instruction set."""
    body = []
    for case in report["cases"]:
        times = {peer: row["ns_per_logit"] for peer, row in rows_by_peer(case).items()}
        if AVX2 in times and OURS in times:
            ours, avx2 = times[OURS], times[AVX2]
            body.append([case["title"], number(ours), number(avx2), ratio(avx2 / ours)])
    return rst_table(["work", report["isa"], "avx2", ""], body)


def memory_table(records: list[Record]) -> str:
    """Return peak memory beside arguments and gradient."""
    return rst_table(memory.HEAD, memory.rows(records))


def instruction_table(record: Record) -> str:
    """Return the recorded counts."""
    head, body = instructions.head_and_body(record["instructions"])
    return f"{record['compiler']}, Python {record['python']}, NumPy {record['numpy']}:\n\n" + (
        rst_table(head, body)
    )


def main(arguments: list[str]) -> int:
    """Write everything that the results of a directory tell."""
    results = Path(arguments[0]) if arguments else RESULTS
    report, scaling = (_read(results / f"{suite}.json") for suite in ("table", "scaling"))
    counts, peaks = _read(instructions.RECORD), _read(results / memory.RESULTS.name)
    pages: dict[str, Callable[[], str]] = {
        "conditions": lambda: conditions(report),
        "table": lambda: table(report),
        "ahead": lambda: ahead(report),
        "isas": lambda: isas(report),
        "memory": lambda: memory_table(peaks["memory"]),
        "instructions": lambda: instruction_table(counts),
    }
    picture, drawn = DOCS / "_static" / "speed", []
    for run, names in ((report, ["roofline"]), (scaling, ["bce", "ce", "threads"])):
        drawn += plot_all(run, picture, names)
    pages["threads"] = lambda: threads([path.name for path in drawn])
    directory = DOCS / "explanation" / "speed"
    directory.mkdir(exist_ok=True)
    for name, write in pages.items():
        path = directory / f"{name}.inc"
        path.write_text(write() + "\n", encoding="utf-8")
        print(path.relative_to(ROOT))
    print(*(path.relative_to(ROOT) for path in drawn), sep="\n")
    return 0


def _read(path: Path) -> Record:
    return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
