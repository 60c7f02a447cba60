"""The pictures of a report: cost against n and against classes, distance from the floor, threads."""

from collections.abc import Callable, Iterable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from PIL import Image

from bench.cases import FUNCTIONS
from bench.harness import FLOOR
from bench.peers import FRESH, OURS
from bench.report import Record, rows_by_peer
from bench.tables import number

# A system keeps its colour and its marker in every picture; the colours are told apart with any
# kind of colour vision, ours is black and the floor is grey.
STYLES: dict[str, dict[str, Any]] = {
    OURS: {"color": "black", "marker": "o", "linewidth": 2.2, "zorder": 5},
    FRESH: {"color": "black", "marker": "o", "fillstyle": "none", "linestyle": ":"},
    FLOOR: {"color": "0.55", "marker": "|", "markeredgewidth": 2.0, "linestyle": "--"},
    "numpy": {"color": "#4477aa", "marker": "s"},
    "scipy": {"color": "#44aacc", "marker": "D"},
    "scikit-learn": {"color": "#b8a020", "marker": "^"},
    "torch": {"color": "#ee6633", "marker": "v"},
    "jax": {"color": "#aa3377", "marker": "P"},
    "numba": {"color": "#228833", "marker": "X"},
    "numexpr": {"color": "#997755", "marker": "*"},
}
NAMES = {FRESH: "fresh gradient", FLOOR: "copy of the bytes"}
PICTURES = ("bce", "ce", "roofline", "threads")
WIDTH_INCHES = 9.0
BCE, CE = FUNCTIONS["bce_grad"], FUNCTIONS["ce_grad"]
MIN_LOGITS = 10_000  # below, the cost of a call hides the cost of a logit
LABEL_POINTS = 11.0  # from one label to the next
# Arrays in use: logits, targets and gradient; a row and its gradient.
ARRAYS = {"n": 3, "n_classes": 2}
CACHE_NOTE = {
    "n": "vertical lines: the three arrays fill a cache",
    "n_classes": "vertical lines: a row and its gradient fill a cache",
}
SETTINGS: dict[Any, Any] = {
    "figure.constrained_layout.use": True,
    "savefig.dpi": 150,
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "0.5",
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 14,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.5,
    "xtick.color": "0.3",
    "ytick.color": "0.3",
}


def plot_all(report: Record, path: Path, names: Iterable[str] = PICTURES) -> list[Path]:
    """Draw the named pictures that the report has data for, as ``path``-<picture>.png."""
    single = [case for case in report["cases"] if case["n_threads"] == 1]
    bce = [case for case in single if case["function"] == BCE and case["return_grad"]]
    ce = [case for case in single if case["function"] == CE and case["n_logits"] >= MIN_LOGITS]
    large = [case for case in single if case["n_logits"] >= MIN_LOGITS]
    if report["suite"] == "scaling":  # has too many cases to list
        large = []
    threads = [case for case in report["cases"] if case["thread_ratio"]]
    caches = report["machine"].get("caches", {})
    pictures: dict[str, tuple[list[Record], Callable[[list[Record]], Figure]]] = {
        "bce": (bce, partial(_curves, caches, key="n", label="logits n", title="Binary")),
        "ce": (ce, partial(_curves, caches, key="n_classes", label="classes C", title="Classes")),
        "roofline": (large, _distances),
        "threads": (threads if len(threads) > 1 else [], _threads),
    }
    written = []
    with plt.rc_context(SETTINGS):
        for name in names:
            data, draw = pictures[name]
            if not data:
                continue
            figure = draw(data)
            figure.supxlabel(_caption(report, name), x=0.01, ha="left", fontsize=7.5, color="0.4")
            written.append(path.with_name(f"{path.name}-{name}.png"))
            _save(figure, written[-1])
            plt.close(figure)
    return written


def _save(figure: Figure, path: Path) -> None:
    """Write a PNG of a few colours: a third of the bytes, and the site needs no more."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    picture = Image.open(buffer).convert("RGB")
    # The median cut would sacrifice the colour of a few small markers.
    picture.quantize(96, method=Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


def _caption(report: Record, name: str) -> str:
    key = {"bce": "n", "ce": "n_classes"}.get(name)
    remarks = [
        "two threads" if name == "threads" else "one thread",
        f"{report['machine']['cpu']}, {report['isa']}, {report['date'][:10]}",
    ]
    if key and report["machine"].get("caches"):
        remarks.append(CACHE_NOTE[key])
    return "; ".join(remarks)


def _curves(
    caches: dict[str, int], cases: list[Record], key: str, label: str, title: str
) -> Figure:
    """Ns per logit against `key`, one panel a dtype, one line a system, named at its end."""
    dtypes = list(dict.fromkeys(case["dtype"] for case in cases))
    figure, panels = plt.subplots(
        1, len(dtypes), figsize=(WIDTH_INCHES, 4.8), sharex=True, sharey=True, squeeze=False
    )
    for axes, dtype in zip(panels[0], dtypes, strict=True):
        _curve_panel(axes, [case for case in cases if case["dtype"] == dtype], key)
        axes.set(title=f"{title}, loss and gradient, {dtype}", xlabel=label)
    panels[0, 0].set_ylabel("ns per logit")
    figure.draw_without_rendering()  # the limits are final
    for axes, dtype in zip(panels[0], dtypes, strict=True):
        unit = ARRAYS[key] * (4 if dtype == "float32" else 8)
        _mark(axes, {name: size / unit for name, size in caches.items()})
        _name_lines(axes)
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
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: _power(value))
        axis.set_minor_locator(NullLocator())
    axes.grid(axis="y", color="0.92")


def _power(value: float) -> str:
    """Return a tick: 0.1, 10, 1,000, 10⁴."""
    if value < 1e4:
        return f"{value:,g}"
    exponent = f"{value:.0e}".partition("e+")[2].lstrip("0")
    return f"$10^{exponent}$"


def _mark(axes: Axes, places: dict[str, float]) -> None:
    """Draw a thin line and a name over the panel at each place that it shows."""
    low, high = axes.get_xlim()
    for name, place in places.items():
        if low < place < high:
            axes.axvline(place, color="0.85", linewidth=0.8, zorder=0)
            axes.text(
                *(place, 1.01, name),
                transform=axes.get_xaxis_transform(),
                ha="center",
                color="0.5",
                fontsize=7.5,
            )


def _name_lines(axes: Axes) -> None:
    """Write its name at the right end of each line, moved apart where they would touch."""
    lines = [line for line in axes.get_lines() if line.get_label() in STYLES]
    ends = [tuple(np.asarray(line.get_xydata())[-1]) for line in lines]
    right = axes.transAxes.transform((1, 0))[0]
    scale = 72 / axes.figure.dpi
    heights = [axes.transData.transform(end)[1] * scale for end in ends]
    for line, end, height, place in zip(lines, ends, heights, _apart(heights), strict=True):
        peer = str(line.get_label())
        shift = (right - axes.transData.transform(end)[0]) * scale
        axes.annotate(
            NAMES.get(peer, peer),
            end,
            (shift + 8, place - height),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=line.get_color(),
            fontweight="bold" if peer == OURS else "normal",
            arrowprops={
                "arrowstyle": "-",
                "color": "0.8",
                "linewidth": 0.6,
                "shrinkB": 3,
                "relpos": (0, 0.5),
            },
        )


def _apart(heights: Iterable[float]) -> list[float]:
    """Return the places nearest to these heights that are a label from each other."""
    order = sorted(enumerate(heights), key=lambda item: item[1])
    # Groups of labels that touch: their middle is the middle of what they label.
    groups: list[list[float]] = []
    for _, height in order:
        groups.append([height])
        while len(groups) > 1 and _top(groups[-2]) + LABEL_POINTS > _bottom(groups[-1]):
            groups[-2:] = [groups[-2] + groups[-1]]
    places = [_bottom(group) + LABEL_POINTS * i for group in groups for i in range(len(group))]
    found = {index: place for (index, _), place in zip(order, places, strict=True)}
    return [found[index] for index in range(len(order))]


def _bottom(group: list[float]) -> float:
    return sum(group) / len(group) - LABEL_POINTS * (len(group) - 1) / 2


def _top(group: list[float]) -> float:
    return sum(group) / len(group) + LABEL_POINTS * (len(group) - 1) / 2


def _distances(cases: list[Record]) -> Figure:
    """Each case's way from the memory floor to cekernels, and from there to the best peer."""
    figure, axes = plt.subplots(figsize=(WIDTH_INCHES, 1.4 + 0.27 * len(cases)))
    positions = range(len(cases))
    times = [
        {peer: row["ns_per_logit"] for peer, row in rows_by_peer(case).items()} for case in cases
    ]
    floors = [time[FLOOR] for time in times]
    ours = [time.get(OURS, time[FLOOR]) for time in times]
    axes.hlines(positions, floors, ours, "0.88", linewidth=6)
    for peer, style in STYLES.items():
        points = [
            (time[peer], position)
            for position, time, case in zip(positions, times, cases, strict=True)
            if peer in time and peer in (FLOOR, OURS, case["best_peer"])
        ]
        if points:
            dots = style | {"linestyle": "", "markersize": 10 if peer == FLOOR else 7}
            axes.plot(*zip(*points, strict=True), label=NAMES.get(peer, peer), **dots)
    axes.set_yticks(positions, [case["title"] for case in cases])
    remarks = axes.twinx()
    remarks.set_yticks(positions, [_remark(case) for case in cases])
    for side in (axes, remarks):
        side.tick_params(axis="y", length=0, labelcolor="black", labelsize=8.5)
        side.spines["left"].set_visible(False)
        side.set_ylim(len(cases) - 0.4, -0.6)
    axes.set(xscale="log", xlabel="ns per logit; of the other systems, the best for the case")
    axes.xaxis.set_major_formatter(lambda value, _: _power(value))
    axes.grid(axis="x", color="0.92")
    axes.set_axisbelow(True)
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.02, 1),
        ncols=len(STYLES),
        columnspacing=1.2,
        handletextpad=0.2,
        frameon=False,
    )
    return figure


def _remark(case: Record) -> str:
    rows = rows_by_peer(case)
    if OURS not in rows:
        return ""
    remark = f"{rows[OURS]['ratio_to_floor']:.1f} floors"
    if case["best_peer"] is None:
        return remark
    return f"{remark}, {number(case['best_peer_ratio'])}× {case['best_peer']}"


def _threads(cases: list[Record]) -> Figure:
    """Speed-up of two threads over one, against n."""
    figure, axes = plt.subplots(figsize=(WIDTH_INCHES * 0.62, 3.2))
    points = sorted((case["n"], case["thread_ratio"]) for case in cases)
    axes.axhline(cases[0]["n_threads"], color="0.55", linestyle="--")
    axes.text(points[0][0], cases[0]["n_threads"], "ideal", color="0.4", va="bottom")
    axes.axhline(1, color="0.85")
    axes.plot(*zip(*points, strict=True), **STYLES[OURS])
    for n, speed_up in points:
        axes.annotate(
            f"{speed_up:.2f}", (n, speed_up), (0, 8), textcoords="offset points", ha="center"
        )
    axes.set(xscale="log", xlabel="logits n", ylabel="times one thread's speed")
    axes.set_ylim(0, 1.15 * cases[0]["n_threads"])
    axes.margins(x=0.08)
    axes.set_title("Binary, loss and gradient, float32")
    axes.xaxis.set_major_formatter(lambda value, _: _power(value))
    axes.xaxis.set_minor_locator(NullLocator())
    return figure
