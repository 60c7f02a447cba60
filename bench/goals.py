"""What the project promises for some of the cases, and whether a run keeps it."""

from collections.abc import Callable
from dataclasses import dataclass

from bench.harness import FLOOR
from bench.peers import AVX2, OURS
from bench.report import Record, rows_by_peer
from bench.tables import number

Measure = Callable[[Record], float | None]


def _over(peer: str) -> Measure:
    """Return the measure: how many times our time another row of the case takes."""

    def measure(case: Record) -> float | None:
        rows = rows_by_peer(case)
        if peer not in rows or OURS not in rows:
            return None
        return float(rows[peer]["median_ns"] / rows[OURS]["median_ns"])

    return measure


def _below(peer: str) -> Measure:
    """Return the measure: our time over that of another row."""
    over = _over(peer)
    return lambda case: 1 / value if (value := over(case)) else None


def _microseconds(case: Record) -> float | None:
    row = rows_by_peer(case).get(OURS)
    return None if row is None else float(row["median_ns"]) / 1e3


# What is measured, and whether more of it is better.
MEASURES: dict[str, tuple[Measure, bool]] = {
    "× best peer": (lambda case: case["best_peer_ratio"], True),
    "× scikit-learn": (_over("scikit-learn"), True),
    "× one thread": (lambda case: case["thread_ratio"], True),
    "floors": (_below(FLOOR), False),
    "µs a call": (_microseconds, False),
    "AVX2 time": (_over(AVX2), False),
}


@dataclass(frozen=True)
class Goal:
    """A bound that a case has to keep, and one that it should."""

    case: str
    measure: str
    must: float
    wanted: float | None = None

    def verdict(self, value: float | None) -> str:
        """Return which of the two bounds `value` keeps."""
        if value is None:
            return "not measured"
        more_is_better = MEASURES[self.measure][1]
        kept = [
            bound is not None and (value >= bound if more_is_better else value <= bound)
            for bound in (self.must, self.wanted)
        ]
        return "wanted" if kept[1] else "met" if kept[0] else "missed"


GOALS = [
    Goal("bce_grad-f32-10000", "× best peer", 10, 20),
    Goal("bce_grad-f64-10000", "× best peer", 5, 8),
    Goal("bce_grad-f32-20000000", "floors", 1.6, 1.2),
    Goal("bce_grad-f64-20000000", "floors", 2.2, 1.5),
    Goal("bce_loss-f32-20000000", "× best peer", 12, 20),
    Goal("bce_loss-f64-20000000", "× best peer", 12, 25),
    Goal("ce_grad-f32-100000x3", "× best peer", 3, 6),
    Goal("ce_grad-f32-100000x10", "× best peer", 2.5, 5),
    Goal("ce_grad-f32-20000x100", "× best peer", 1.8, 2.5),
    Goal("ce_grad-f32-8192x1000", "× best peer", 4, 5.5),
    Goal("ce_grad-f32-512x32000", "× best peer", 4, 5.5),
    Goal("ce_grad-f32-128x128256", "× best peer", 4, 5.5),
    Goal("ce_grad-f64-100000x10", "× best peer", 3, 6),
    Goal("ce_grad-f64-8192x1000", "× best peer", 4, 6),
    Goal("ce_grad-f64-512x32000", "× best peer", 4, 6),
    Goal("bce_grad-f32-100", "µs a call", 0.8, 0.3),
    Goal("ce_grad-f32-32x10", "µs a call", 1.3, 0.6),
    Goal("log_loss-f64-100", "× scikit-learn", 50, 200),
    Goal("log_loss-f64-1000000", "× scikit-learn", 50, 100),
    Goal("bce_grad-f32-1000000-2threads", "× one thread", 1.4, 1.8),
    Goal("bce_grad-f32-20000000-2threads", "× one thread", 1.7, 1.9),
    # Half the lanes: nothing may cost more than that, and loads, stores and calls cost the same.
    *(
        Goal(case, "AVX2 time", 1.7)
        for case in (
            "bce_grad-f32-10000",
            "bce_grad-f64-10000",
            "ce_grad-f32-100000x10",
            "ce_grad-f32-8192x1000",
            "ce_grad-f64-8192x1000",
        )
    ),
]

HEAD = ["case", "ours", "best peer", "", "floor", "measure", "value", "must", "wanted", "verdict"]


def rows(cases: list[Record]) -> list[list[str]]:
    """Return a row for each goal of these cases, its times in ns per logit."""
    by_name = {case["name"]: case for case in cases}
    return [_row(goal, by_name[goal.case]) for goal in GOALS if goal.case in by_name]


def _row(goal: Goal, case: Record) -> list[str]:
    value = MEASURES[goal.measure][0](case)
    times = {peer: row["ns_per_logit"] for peer, row in rows_by_peer(case).items()}
    best = "scikit-learn" if goal.measure.endswith("scikit-learn") else case["best_peer"]
    return [
        case["title"],
        number(times[OURS]) if OURS in times else "",
        number(times[best]) if best in times else "",
        best if best in times else "",
        number(times[FLOOR]),
        goal.measure,
        "" if value is None else number(value),
        number(goal.must),
        "" if goal.wanted is None else number(goal.wanted),
        goal.verdict(value),
    ]
