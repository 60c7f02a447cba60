"""What a run leaves behind: a JSON record, and the tables that are read off it."""

import json
import statistics
from pathlib import Path
from typing import Any

from bench.harness import FLOOR, Result, Row
from bench.peers import AVX2, FRESH, ONE_THREAD, OURS
from bench.tables import duration, markdown_table, number, ratio

Record = dict[str, Any]
LEGEND = (
    "Medians. Times are ns per logit where nothing else is said; `fresh` makes a new gradient "
    "array in each call; the floor is `np.copyto` moving the same bytes."
)
MIN_CPU_SHARE = 0.95


def case_record(result: Result) -> Record:
    """Return the figures of one case, all of them derived from its samples."""
    case = result.case
    medians = {row.peer: statistics.median(row.samples_ns) for row in result.rows if not row.error}
    others = {
        peer: time for peer, time in medians.items() if peer != FLOOR and not peer.startswith(OURS)
    }
    best = min(others, key=others.__getitem__, default=None)
    ours = medians.get(OURS)
    one_thread = medians.get(ONE_THREAD)
    return {
        "name": case.name,
        "title": case.title,
        "function": case.function,
        "dtype": case.dtype,
        "n": case.n,
        "n_classes": case.n_classes,
        "n_threads": case.n_threads,
        "return_grad": case.return_grad,
        "n_logits": case.n_logits,
        "nbytes": result.nbytes,
        "best_peer": best,
        "best_peer_ratio": others[best] / ours if best and ours else None,
        "thread_ratio": one_thread / ours if one_thread and ours else None,
        "cpu_share": result.cpu_share,
        "rows": [_row_record(row, result, medians.get(FLOOR)) for row in result.rows],
    }


def _row_record(row: Row, result: Result, floor: float | None) -> Record:
    if row.error is not None:
        return {"peer": row.peer, "error": row.error}
    median = statistics.median(row.samples_ns)
    return {
        "peer": row.peer,
        "error": None,
        "median_ns": median,
        "min_ns": min(row.samples_ns),
        "max_ns": max(row.samples_ns),
        "ns_per_logit": median / result.case.n_logits,
        "gb_per_s": result.nbytes / median,
        "ratio_to_floor": median / floor if floor else None,
        "rounds": len(row.samples_ns),
        "repetitions": row.repetitions,
        "samples_ns": [round(sample, 1) for sample in row.samples_ns],
    }


def rows_by_peer(record: Record) -> dict[str, Record]:
    """Return the rows of one case that have times."""
    return {row["peer"]: row for row in record["rows"] if row["error"] is None}


def summary_line(record: Record) -> str:
    """Return one case in one line, for the terminal."""
    rows = rows_by_peer(record)
    parts = [f"{record['title']:<44}"]
    for peer in (OURS, FLOOR, record["best_peer"]):
        if peer in rows:
            parts.append(f"{peer} {number(rows[peer]['ns_per_logit'])}")
    if record["best_peer_ratio"]:
        parts.append(f"speed-up {ratio(record['best_peer_ratio'])}")
    parts += [f"{row['peer']}: {row['error']}" for row in record["rows"] if row["error"]]
    return "   ".join(parts)


def markdown(report: Record) -> str:
    """Return the report as a Markdown page."""
    sections = [
        "# How fast is cekernels?",
        _conditions(report),
        LEGEND,
        _summary_table(report["cases"]),
    ]
    if any(record["thread_ratio"] for record in report["cases"]):
        sections += ["## Threads", _thread_table(report["cases"])]
    if any(AVX2 in rows_by_peer(record) for record in report["cases"]):
        sections += ["## Instruction sets", _isa_table(report)]
    sections += ["## Every system, ns per logit", _peer_table(report["cases"])]
    for title, remarks in {
        "Disturbed": _disturbed(report),
        "Not measured": _failed(report),
    }.items():
        if remarks:
            sections += [f"## {title}", "\n".join(f"- {remark}" for remark in remarks)]
    return "\n\n".join(sections) + "\n"


def write(report: Record, path: Path) -> None:
    """Write ``path``.json and ``path``.md."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    path.with_suffix(".md").write_text(markdown(report))


def _conditions(report: Record) -> str:
    machine = report["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    pinned = machine["pinned_to_cpu"]
    pinning = "not pinned" if pinned is None else f"pinned to processor {pinned}"
    hardware = f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB"
    lines = [
        f"{report['date']}, ISA `{report['isa']}`",
        f"{hardware}, {machine['os']}, {machine['python']}; {pinning}",
        versions,
    ]
    return "\n".join(f"- {line}" for line in lines)


def _summary_table(cases: list[Record]) -> str:
    body = []
    for record in cases:
        rows = rows_by_peer(record)
        ours, best = rows.get(OURS), rows.get(record["best_peer"])
        body.append(
            [
                record["title"],
                duration(ours["median_ns"]) if ours else "",
                number(ours["ns_per_logit"]) if ours else "",
                _cell(rows, FRESH),
                _cell(rows, FLOOR),
                ratio(ours["ratio_to_floor"]) if ours else "",
                f"{ours['gb_per_s']:.1f}" if ours else "",
                f"{record['best_peer']} {number(best['ns_per_logit'])}" if best else "",
                ratio(record["best_peer_ratio"]),
            ]
        )
    head = ["case", "a call", "cekernels", "fresh", "floor", "to floor", "GB/s", "best peer"]
    return markdown_table([*head, "speed-up"], body)


def _thread_table(cases: list[Record]) -> str:
    body = [
        [record["title"], ratio(record["thread_ratio"])]
        for record in cases
        if record["thread_ratio"]
    ]
    return markdown_table(["case", "speed-up over one thread"], body)


def _isa_table(report: Record) -> str:
    body = []
    for record in report["cases"]:
        rows = rows_by_peer(record)
        if AVX2 in rows and OURS in rows:
            times = [rows[peer]["median_ns"] / record["n_logits"] for peer in (OURS, AVX2)]
            body.append([record["title"], *map(number, times), ratio(times[1] / times[0])])
    return markdown_table(["case", report["isa"], "avx2", "ratio"], body)


def _peer_table(cases: list[Record]) -> str:
    peers = list(dict.fromkeys(row["peer"] for record in cases for row in record["rows"]))
    # A wrong answer puts a system at the end of its case; the order of the columns is fixed.
    peers.sort(key=lambda peer: (not peer.startswith(OURS), peer == FLOOR))
    body = [
        [record["title"], *(_cell(rows_by_peer(record), peer) for peer in peers)]
        for record in cases
    ]
    return markdown_table(["case", *peers], body)


def _disturbed(report: Record) -> list[str]:
    return [
        f"{record['title']}: this process had the processor for {share:.0%} of the time"
        for record in report["cases"]
        if (share := record["cpu_share"]) is not None and share < MIN_CPU_SHARE
    ]


def _failed(report: Record) -> list[str]:
    missing = [f"{peer}: {reason}" for peer, reason in report["missing"].items()]
    return missing + [
        f"{row['peer']}, {record['title']}: {row['error']}"
        for record in report["cases"]
        for row in record["rows"]
        if row["error"]
    ]


def _cell(rows: dict[str, Record], peer: str) -> str:
    return number(rows[peer]["ns_per_logit"]) if peer in rows else ""
