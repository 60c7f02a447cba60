"""Pages of the benchmark: goals, tables, plots, and what the documentation shows."""

import json
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

import pytest

ROOT = Path(__file__).parents[1]
if not (ROOT / "bench").is_dir():
    pytest.skip("the benchmark lives in the repository alone", allow_module_level=True)
# Behind the installed packages, lest the sources hide the built ones.
sys.path.append(str(ROOT))

from bench import cases, goals, harness, peers, tables
from bench.cases import Case

STEADY = [1.0, 1.01, 0.99, 1.0, 1.01, 0.99, 1.0]


def row(peer, time, shape=STEADY):
    return {"peer": peer, "error": None, "samples_ns": [time * part for part in shape]}


def case(name="bce", **times):
    rows = [row(peer, time) for peer, time in ({"floor": 10.0} | times).items()]
    return {"name": name, "title": name, "rows": rows}


def run(*records):
    return {
        "date": "2026-01-02",
        "machine": {"cpu": "Abacus 3000", "cores": 2, "python": "CPython 3.13"},
        "isa": "avx2",
        "versions": {"cekernels": "0.1", "numpy": "2.4"},
        "config": {"compiler": "GNU 12"},
        "cases": list(records),
    }


class TestGoals:
    def test_every_goal_has_its_case(self):
        names = {case.name for case in cases.TABLE}
        assert {goal.case for goal in goals.GOALS} <= names
        assert {goal.measure for goal in goals.GOALS} == set(goals.MEASURES)

    def test_what_is_wanted_is_more_than_what_must_be(self):
        for goal in goals.GOALS:
            more = goals.MEASURES[goal.measure][1]
            if goal.wanted is not None:
                assert (goal.wanted > goal.must) == more

    @pytest.mark.parametrize(
        ("measure", "values"),
        [
            ("× best peer", {9.9: "missed", 10: "met", 19: "met", 20: "wanted"}),
            ("µs a call", {20.1: "missed", 20: "missed", 10: "met", 5: "met", 4: "met"}),
        ],
    )
    def test_verdict(self, measure, values):
        wanted = 20 if goals.MEASURES[measure][1] else 1
        goal = goals.Goal("a", measure, 10, wanted)
        assert {value: goal.verdict(value) for value in values} == values
        assert goal.verdict(None) == "not measured"
        assert replace(goal, wanted=None).verdict(wanted) == "met"

    def test_rows(self):
        medians = {"cekernels": 200.0, "floor": 100.0, "numpy": 900.0, "scikit-learn": 5e4}
        rows = [
            {"peer": peer, "error": None, "median_ns": time, "ns_per_logit": time / 100}
            for peer, time in medians.items()
        ]
        record = {"title": "", "rows": rows, "best_peer": "numpy", "best_peer_ratio": 4.5}
        record |= {"thread_ratio": None}
        records = [
            record | {"name": name} for name in ("bce_grad-f32-20000000", "log_loss-f64-100", "x")
        ]
        assert goals.rows(records) == [
            ["", "2", "9", "numpy", "1", "floors", "2", "1.6", "1.2", "missed"],
            *[
                [
                    "",
                    "2",
                    "500",
                    "scikit-learn",
                    "1",
                    "× scikit-learn",
                    "250",
                    "50",
                    "200",
                    "wanted",
                ]
            ],
        ]
        values = {name: measure(record) for name, (measure, _) in goals.MEASURES.items()}
        assert values == {
            "× best peer": 4.5,
            "× scikit-learn": 250.0,
            "× one thread": None,
            "floors": 0.5 / 0.25,
            "µs a call": 0.2,
            "AVX2 time": None,
        }


class TestTables:
    HEAD, BODY = ["case", "time"], [["a", "1.5"], ["long name", ""]]

    def test_markdown(self):
        assert tables.markdown_table(self.HEAD, self.BODY).splitlines() == [
            "| case | time |",
            "| --- | ---: |",
            "| a | 1.5 |",
            "| long name |  |",
        ]

    def test_aligned(self):
        assert tables.aligned_table(self.HEAD, self.BODY).splitlines() == [
            "| case      | time |",
            "| --------- | ---: |",
            "| a         |  1.5 |",
            "| long name |      |",
        ]

    def test_rst(self):
        assert tables.rst_table(self.HEAD, self.BODY).splitlines() == [
            ".. list-table::",
            "   :header-rows: 1",
            "",
            "   * - case",
            "     - time",
            "   * - a",
            "     - 1.5",
            "   * - long name",
            "     -",
        ]

    def test_numbers(self):
        assert [tables.number(x) for x in (0.1234, 12.34, 99.95, 1234.5)] == [
            *("0.123", "12.3", "100", "1,234"),
        ]
        assert tables.duration(1.5e6) == "1.5 ms"
        assert tables.ratio(None) == ""


class TestPublish:
    TIMES = MappingProxyType(
        {"cekernels": 900.0, peers.AVX2: 1800.0, "floor": 300.0, "numpy": 600.0}
    )

    def record(self, suite):
        """Return a made run of two cases."""
        from bench import report

        records = []
        for n in (20_000, 40_000):
            work = Case("bce_grad", "float32", n)
            rows = [harness.Row(peer, 3 * [time], 1) for peer, time in self.TIMES.items()]
            result = harness.Result(work, 12 * n, rows, cpu_share=0.99)
            records.append(report.case_record(result))
        content = run() | {"suite": suite, "rounds": 25, "cases": records}
        content["machine"] |= {"caches": {"L1": 32768}}
        return content

    def test_pages(self, tmp_path, monkeypatch):
        pytest.importorskip("matplotlib")
        from bench import publish

        docs = tmp_path / "docs"
        for path in (docs / "explanation", docs / "_static"):
            path.mkdir(parents=True)
        monkeypatch.setattr(publish, "ROOT", tmp_path)
        monkeypatch.setattr(publish, "DOCS", docs)
        for suite in ("table", "scaling"):
            (tmp_path / f"{suite}.json").write_text(json.dumps(self.record(suite)))
        (tmp_path / "memory.json").write_text('{"memory": []}')
        assert publish.main([str(tmp_path)]) == 0
        written = (docs / "explanation" / "speed").glob("*.inc")
        pages = {path.stem: path.read_text(encoding="utf-8") for path in written}

        pictures = {path.name for path in (docs / "_static").iterdir()}
        assert pictures == {"speed-bce.png", "speed-roofline.png"}
        assert (
            "     - 0.045\n     -\n     - 0.015\n     - 0.03 numpy\n     - 0.667×" in pages["table"]
        )
        ahead = "* BCE f32 loss+grad, n = 20,000: numpy, 1.5 times"
        assert pages["ahead"].splitlines()[0] == ahead
        assert "     - 0.045\n     - 0.09\n     - 2×" in pages["isas"]
        assert pages["conditions"].startswith("Abacus 3000, 2 cores, 32 KiB L1, instruction set")
        assert "trial" not in pages["conditions"]
        assert pages["threads"] == "The run had one processor: nothing to show.\n"

        site = (ROOT / "docs" / "explanation" / "speed.rst").read_text(encoding="utf-8")
        included = {line.split("/")[1] for line in site.splitlines() if "include::" in line}
        assert included == {f"{name}.inc" for name in pages}

    def test_a_trial_is_called_so(self):
        pytest.importorskip("matplotlib")
        from bench import publish

        content = self.record("table") | {"rounds": 3}
        content["cases"][0]["cpu_share"] = 0.5
        warning = (
            ".. warning:: A trial run: 3 rounds alone, 1 of 2 cases disturbed by other programs."
        )
        assert publish.conditions(content).splitlines()[-1] == warning


class TestPlots:
    def test_labels_are_moved_apart(self):
        pytest.importorskip("matplotlib")
        from bench import plots

        gap = plots.LABEL_POINTS
        assert plots._apart([100.0, 0.0, 50.0]) == [100.0, 0.0, 50.0]
        assert plots._apart([10.0, 10.0]) == [10.0 - gap / 2, 10.0 + gap / 2]
        crowded = [10.0, 12.0, 11.0, 30.0, 300.0]
        places = plots._apart(crowded)
        assert sorted(range(5), key=places.__getitem__) == [0, 2, 1, 3, 4]
        ordered = sorted(places)
        assert all(b - a >= gap - 1e-9 for a, b in pairwise(ordered))
        assert places[-1] == 300.0

    def test_ticks(self):
        pytest.importorskip("matplotlib")
        from bench import plots

        ticks = [plots._power(value) for value in (0.1, 10, 1000, 1e4, 1e7)]
        assert ticks == ["0.1", "10", "1,000", "$10^4$", "$10^7$"]

    def test_threads(self, tmp_path):
        pytest.importorskip("matplotlib")
        from bench import plots

        records = [
            {"n": n, "n_threads": 2, "thread_ratio": ratio, "function": "", "n_logits": n}
            for n, ratio in [(1e5, 1.1), (1e6, 1.8)]
        ]
        report = run(*records) | {"suite": "scaling"}
        written = plots.plot_all(report, tmp_path / "speed")
        assert [path.name for path in written] == ["speed-threads.png"]
        assert written[0].stat().st_size < 100_000
