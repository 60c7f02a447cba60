"""What became slower since an earlier run, judged by what was measured beside it.

A busy, hot or throttled machine slows everything, so no time is compared with a time.  In each
round our time is divided by that of two witnesses in the same round: the floor, which is bound by
memory, and another system's formula, which is bound by arithmetic.  A case is slower when both
ratios have risen by more than their samples scatter in the two runs.
"""

import json
import math
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.harness import FLOOR
from bench.peers import ONE_THREAD, OURS
from bench.tables import aligned_table, number

Record = dict[str, Any]

# Code that moves in memory, or buffers that share a cache set with others, change by this much.
MIN_MARGIN = 0.05
# Beyond this scatter, no change of interest could be seen.
MAX_MARGIN = 0.25
MIN_SAMPLES = 3
HEAD = ["case", "to floor", "was", "to peer", "was", "peer", "margins", "verdict"]


@dataclass(frozen=True)
class Ratio:
    """Our time over a witness's, round by round."""

    median: float
    spread: float  # interquartile range over the median


@dataclass(frozen=True)
class Change:
    """How our ratio to one witness moved between two runs."""

    old: Ratio
    new: Ratio

    @property
    def margin(self) -> float:
        """Relative change that the scatter of both runs explains."""
        return max(MIN_MARGIN, self.old.spread + self.new.spread)

    @property
    def direction(self) -> int:
        """1 for slower, -1 for faster, 0 within the margin."""
        factor = self.new.median / self.old.median
        return int(factor > 1 + self.margin) - int(factor < 1 / (1 + self.margin))


@dataclass(frozen=True)
class Verdict:
    """What both witnesses say of one case."""

    title: str
    to_floor: Change
    to_peer: Change
    peer: str

    @property
    def text(self) -> str:
        """Return "slower" or "faster" where both agree, "noisy" where neither could know."""
        directions = self.to_floor.direction, self.to_peer.direction
        if directions in ((1, 1), (-1, -1)):
            return "slower" if directions[0] > 0 else "faster"
        if max(self.to_floor.margin, self.to_peer.margin) > MAX_MARGIN:
            return "noisy"
        return "unclear" if any(directions) else "same"


def read(path: Path) -> Record:
    """Return an earlier run; ValueError where the file is none, or too old to be compared."""
    try:
        report = json.loads(path.read_text())
        conditions(report)
        rows = [row for case in report["cases"] for row in case["rows"] if row["error"] is None]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a report of python -m bench: {error!r}") from None
    if not all("samples_ns" in row for row in rows):
        raise ValueError(f"{path} has no samples: it was written before runs could be compared")
    return report  # type: ignore[no-any-return]


def conditions(report: Record) -> dict[str, Any]:
    """Return what has to be equal for two runs to be compared."""
    machine = report["machine"]
    return {
        "processor": machine["cpu"],
        "cores": machine["cores"],
        "instruction set": report["isa"],
        "Python": machine["python"],
        "NumPy": report["versions"].get("numpy"),
        "compiler": report["config"]["compiler"],
    }


def differences(old: Record, new: Record) -> list[str]:
    """Return a line for each condition in which two runs differ."""
    before, after = conditions(old), conditions(new)
    return [
        f"{name}: {before[name]} then, {after[name]} now"
        for name in before
        if before[name] != after[name]
    ]


def verdicts(old: Record, new: Record) -> tuple[list[Verdict], list[str]]:
    """Return what became of the cases of both runs, and the titles of those that nobody can judge."""
    before = {case["name"]: case for case in old["cases"]}
    judged, others = [], []
    for case in new["cases"]:
        verdict = _verdict(before[case["name"]], case) if case["name"] in before else None
        if verdict is None:
            others.append(case["title"])
        else:
            judged.append(verdict)
    return judged, others


def _verdict(old: Record, new: Record) -> Verdict | None:
    samples = [
        {row["peer"]: row["samples_ns"] for row in case["rows"] if row["error"] is None}
        for case in (old, new)
    ]
    shared = [peer for peer in samples[0] if peer in samples[1]]
    # With several threads the other systems are few; one thread of our own is as steady.
    peers = [peer for peer in shared if peer == ONE_THREAD or not peer.startswith((OURS, FLOOR))]
    if OURS not in shared or FLOOR not in shared or not peers:
        return None
    peer = min(peers, key=lambda peer: (peer != "numpy", peer != ONE_THREAD))
    return Verdict(new["title"], _change(samples, FLOOR), _change(samples, peer), peer)


def _change(samples: list[dict[str, list[float]]], witness: str) -> Change:
    old, new = (ratio(run[OURS], run[witness]) for run in samples)
    return Change(old, new)


def ratio(ours: list[float], witness: list[float]) -> Ratio:
    """Return the median of the ratios of all rounds, and how far they scatter."""
    ratios = [a / b for a, b in zip(ours, witness, strict=True)]
    median = statistics.median(ratios)
    if len(ratios) < MIN_SAMPLES:
        return Ratio(median, math.inf)
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return Ratio(median, (high - low) / median)


def page(old: Record, new: Record) -> tuple[str, bool]:
    """Return the comparison as a page, and whether a case became slower."""
    judged, others = verdicts(old, new)
    slower = [verdict for verdict in judged if verdict.text == "slower"]
    lines = [f"Against {old['date']}, both times our time over the witness's:", ""]
    lines += [aligned_table(HEAD, map(_row, judged)), ""]
    if others:
        lines += [f"Not in both runs, or without a witness: {'; '.join(others)}.", ""]
    if noisy := sum(verdict.text == "noisy" for verdict in judged):
        lines += [f"{noisy} cases scatter too much: measure again, with more --rounds.", ""]
    lines.append(
        f"{len(slower)} of {len(judged)} cases slower"
        + (f": {'; '.join(verdict.title for verdict in slower)}." if slower else ".")
    )
    return "\n".join(lines), bool(slower)


def _row(verdict: Verdict) -> list[str]:
    floor, peer = verdict.to_floor, verdict.to_peer
    return [
        verdict.title,
        number(floor.new.median),
        number(floor.old.median),
        number(peer.new.median),
        number(peer.old.median),
        verdict.peer,
        f"{floor.margin:.0%}, {peer.margin:.0%}",
        verdict.text,
    ]


def main(arguments: list[str]) -> int:
    """Compare two files: ``python -m bench.compare [--force] OLD.json NEW.json``."""
    force = "--force" in arguments
    paths = [argument for argument in arguments if argument != "--force"]
    if len(paths) != 2:
        print("usage: python -m bench.compare [--force] OLD.json NEW.json", file=sys.stderr)
        return 2
    try:
        old, new = (read(Path(path)) for path in paths)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if (different := differences(old, new)) and not force:
        print(refusal(different), file=sys.stderr)
        return 2
    text, slower = page(old, new)
    print(text)
    return int(slower)


def refusal(different: list[str]) -> str:
    """Return why two runs are not compared."""
    lines = "\n".join(f"  {line}" for line in different)
    return f"these runs cannot be compared, unless with --force:\n{lines}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
