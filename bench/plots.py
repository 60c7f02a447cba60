"""The pictures of a report: cost against n, cost against classes, and distance from the floor."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.cases import FUNCTIONS
from bench.harness import FLOOR
from bench.peers import OURS
from bench.report import FRESH, Record, rows_by_peer

# A system keeps its colour and its marker in every picture; the colours are told apart with any
# kind of colour vision, ours is black and the floor is grey.
STYLES: dict[str, dict[str, Any]] = {
    OURS: {"color": "black", "marker": "o", "linewidth": 2.5, "zorder": 5},
    FRESH: {"color": "black", "marker": "o", "fillstyle": "none", "linestyle": "--"},
    FLOOR: {
        "color": "0.5",
        "marker": "|",
        "markeredgewidth": 2.5,
        "linewidth": 2.5,
        "linestyle": ":",
    },
    "numpy": {"color": "#4477aa", "marker": "s"},
    "scipy": {"color": "#66ccee", "marker": "D"},
    "scikit-learn": {"color": "#ccbb44", "marker": "^"},
    "torch": {"color": "#ee6633", "marker": "v"},
    "jax": {"color": "#aa3377", "marker": "P"},
    "numba": {"color": "#228833", "marker": "X"},
    "numexpr": {"color": "#997755", "marker": "*"},
}
WIDTH_INCHES = 9.0  # shown at about 100 dots an inch in a README
BCE, CE = FUNCTIONS["bce_grad"], FUNCTIONS["ce_grad"]
MIN_LOGITS = 10_000  # below, the cost of a call hides the cost of a logit
SETTINGS: dict[Any, Any] = {
    "figure.constrained_layout.use": True,
    "savefig.dpi": 160,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 5,
}


def plot_all(report: Record, path: Path) -> list[Path]:
    """Draw every picture that the report has data for, as ``path``-<picture>.png."""
    cases = [case for case in report["cases"] if case["n_threads"] == 1]
    bce = [case for case in cases if case["function"] == BCE and case["return_grad"]]
    ce = [case for case in cases if case["function"] == CE and case["n_logits"] >= MIN_LOGITS]
    large = [case for case in cases if case["n_logits"] >= MIN_LOGITS]
    if report["suite"] == "scaling":  # has too many cases to list
        large = []
    pictures: dict[str, tuple[list[Record], Callable[[list[Record]], Figure]]] = {
        "bce": (bce, partial(_curves, key="n", label="logits n", title="BCE")),
        "ce": (ce, partial(_curves, key="n_classes", label="classes C", title="CE")),
        "roofline": (large, _distances),
    }
    written = []
    with plt.rc_context(SETTINGS):
        for name, (data, draw) in pictures.items():
            if not data:
                continue
            figure = draw(data)
            figure.supxlabel(_caption(report), x=0.01, ha="left", fontsize=8, color="0.4")
            written.append(path.with_name(f"{path.name}-{name}.png"))
            figure.savefig(written[-1])
            plt.close(figure)
    return written


def _caption(report: Record) -> str:
    machine = report["machine"]
    return f"one thread, {machine['cpu']}, ISA {report['isa']}, {report['date'][:10]}"


def _curves(cases: list[Record], key: str, label: str, title: str) -> Figure:
    """Ns per logit against `key`, one panel a dtype, one line a system."""
    dtypes = list(dict.fromkeys(case["dtype"] for case in cases))
    figure, panels = plt.subplots(
        1, len(dtypes), figsize=(WIDTH_INCHES, 4.6), sharex=True, sharey=True, squeeze=False
    )
    for axes, dtype in zip(panels[0], dtypes, strict=True):
        _curve_panel(axes, [case for case in cases if case["dtype"] == dtype], key)
        axes.set(title=f"{title} loss and gradient, {dtype}", xlabel=label)
    panels[0, 0].set_ylabel("ns per logit")
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center")
    return figure


def _curve_panel(axes: Axes, cases: list[Record], key: str) -> None:
    for peer, style in STYLES.items():
        points = sorted(
            (case[key], rows_by_peer(case)[peer]["ns_per_logit"])
            for case in cases
            if peer in rows_by_peer(case)
        )
        if points:
            axes.plot(*zip(*points, strict=True), label=peer, **style)
    axes.set(xscale="log", yscale="log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.grid(axis="y", color="0.9")


def _distances(cases: list[Record]) -> Figure:
    """Each case's way from the memory floor to cekernels, and from there to the best peer."""
    figure, axes = plt.subplots(figsize=(WIDTH_INCHES, 1.2 + 0.32 * len(cases)))
    positions = range(len(cases))
    times = [
        {peer: row["ns_per_logit"] for peer, row in rows_by_peer(case).items()} for case in cases
    ]
    floors = [time[FLOOR] for time in times]
    ours = [time.get(OURS, time[FLOOR]) for time in times]
    axes.hlines(positions, floors, ours, "0.85", linewidth=8)
    for peer, style in STYLES.items():
        points = [
            (time[peer], position)
            for position, time, case in zip(positions, times, cases, strict=True)
            if peer in time and peer in (FLOOR, OURS, case["best_peer"])
        ]
        if points:
            dots = style | {"linestyle": "", "markersize": 8}
            axes.plot(*zip(*points, strict=True), label=peer, **dots)
    axes.set_yticks(positions, [case["title"] for case in cases])
    remarks = axes.twinx()
    remarks.set_yticks(positions, [_remark(case) for case in cases])
    for side in (axes, remarks):
        side.tick_params(axis="y", length=0)
        side.set_ylim(len(cases) - 0.5, -0.5)
    axes.set(xscale="log", xlabel="ns per logit; of the other systems, the best for the case")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(STYLES), columnspacing=1.2)
    return figure


def _remark(case: Record) -> str:
    rows = rows_by_peer(case)
    if OURS not in rows:
        return ""
    remark = f"{rows[OURS]['ratio_to_floor']:.1f}× floor time"
    if case["best_peer"] is None:
        return remark
    return f"{remark}, {case['best_peer_ratio']:.1f}× {case['best_peer']} speed"
