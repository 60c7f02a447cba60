"""The evidence of speed: comparison of runs, goals, memory, instructions, and what is published."""

import copy
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

import pytest

ROOT = Path(__file__).parents[1]
if not (ROOT / "bench").is_dir():
    pytest.skip("the benchmark lives in the repository alone", allow_module_level=True)
# Behind the installed packages, lest the sources hide the built ones.
sys.path.append(str(ROOT))

from bench import cases, compare, goals, harness, instructions, machine, memory, peers, tables
from bench.cases import Case

STEADY = [1.0, 1.01, 0.99, 1.0, 1.01, 0.99, 1.0]
ROUGH = [1.0, 1.5, 0.7, 1.0, 1.4, 0.6, 1.0]
NOW = {"compiler": "GNU 12", "python": "3.11", "numpy": "2.4"}


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


def verdict(old, new):
    """Return the one word about the one case of two runs."""
    (judged,), others = compare.verdicts(run(old), run(new))
    assert others == []
    return judged.text


class TestCompare:
    OLD = case(cekernels=20.0, numpy=100.0)

    @pytest.mark.parametrize(
        ("ours", "floor", "numpy", "expected"),
        [
            (20, 10, 100, "same"),
            (40, 20, 200, "same"),  # a machine that is half as fast
            (24, 10, 100, "slower"),
            (48, 20, 200, "slower"),
            (16, 10, 100, "faster"),
            (24, 12, 100, "unclear"),  # memory alone was slower
            (24, 10, 120, "unclear"),
            (20.9, 10, 100, "same"),  # within the margin
            (16, 12, 70, "unclear"),
        ],
    )
    def test_both_witnesses_have_to_agree(self, ours, floor, numpy, expected):
        new = case(cekernels=ours, floor=floor, numpy=numpy)
        assert verdict(self.OLD, new) == expected

    def test_noise_widens_the_margin(self):
        noisy = case(floor=10.0, numpy=100.0)
        noisy["rows"].append(row("cekernels", 26.0, ROUGH))
        assert verdict(self.OLD, noisy) == "noisy"
        noisy["rows"][-1] = row("cekernels", 60.0, ROUGH)
        assert verdict(self.OLD, noisy) == "slower"

    def test_a_disturbance_of_whole_rounds_is_none(self):
        shaken = {"name": "bce", "title": "bce"}
        shaken["rows"] = [
            row(p, t, ROUGH) for p, t in [("cekernels", 23), ("floor", 10), ("numpy", 99)]
        ]
        assert verdict(self.OLD, shaken) == "slower"

    def test_two_samples_prove_nothing(self):
        few = case()
        few["rows"] = [
            row(p, t, [1, 1]) for p, t in [("cekernels", 90), ("floor", 10), ("numpy", 99)]
        ]
        assert verdict(self.OLD, few) == "noisy"

    def test_page_tells_of_noise(self):
        noisy = case(numpy=100.0)
        noisy["rows"].append(row("cekernels", 20.0, ROUGH))
        text, slower = compare.page(run(self.OLD), run(noisy))
        assert not slower
        assert "1 cases scatter too much" in text

    def test_margin_is_the_scatter_of_both_runs(self):
        quiet, loud = compare.Ratio(2.0, 0.01), compare.Ratio(2.0, 0.2)
        assert compare.Change(quiet, quiet).margin == compare.MIN_MARGIN
        assert compare.Change(quiet, loud).margin == pytest.approx(0.21)

    def test_ratio_is_taken_round_by_round(self):
        found = compare.ratio([2.0, 40.0, 6.0, 8.0, 10.0], [1.0, 20.0, 3.0, 4.0, 5.0])
        assert found == compare.Ratio(2.0, 0.0)
        assert compare.ratio([1.0, 2.0, 3.0, 4.0, 5.0], [1.0] * 5) == compare.Ratio(3.0, 2 / 3)

    @pytest.mark.parametrize(
        ("times", "witness"),
        [
            ({"torch": 50.0, "numpy": 60.0, peers.ONE_THREAD: 30.0}, "numpy"),
            ({"torch": 50.0, peers.ONE_THREAD: 30.0}, peers.ONE_THREAD),
            ({"torch": 50.0, peers.AVX2: 30.0, peers.FRESH: 30.0}, "torch"),
        ],
    )
    def test_the_second_witness(self, times, witness):
        record = case(cekernels=20.0, **times)
        ((judged,), _) = compare.verdicts(run(record), run(record))
        assert judged.peer == witness

    def test_what_nobody_can_judge_is_named(self):
        failed = {"peer": "numpy", "error": "loss 3 instead of 4"}
        lonely = case("lonely", cekernels=20.0)
        lonely["rows"].append(failed)
        old = run(self.OLD, lonely)
        new = run(case("new", cekernels=1.0, numpy=2.0), lonely)
        judged, others = compare.verdicts(old, new)
        assert judged == []
        assert others == ["new", "lonely"]
        text, slower = compare.page(old, new)
        assert "Not in both runs, or without a witness: new; lonely." in text
        assert not slower

    def test_page(self):
        new = run(case("b", cekernels=20.0, numpy=100.0), case("a", cekernels=30.0, numpy=100.0))
        old = run(case("b", cekernels=20.0, numpy=100.0), case("a", cekernels=20.0, numpy=100.0))
        text, slower = compare.page(old, new)
        assert slower
        assert "scatter too much" not in text
        assert text.splitlines()[-1] == "1 of 2 cases slower: a."
        cells = [cell.strip() for cell in text.splitlines()[5].strip("|").split("|")]
        assert cells == ["a", "3", "2", "0.3", "0.2", "numpy", "5%, 5%", "slower"]


class TestComparability:
    def test_equal_runs_differ_in_nothing(self):
        other = run() | {"date": "2027-01-01", "versions": {"cekernels": "9", "numpy": "2.4"}}
        assert compare.differences(run(), other) == []

    @pytest.mark.parametrize(
        ("path", "value", "line"),
        [
            (("machine", "cpu"), "Abacus 4", "processor: Abacus 3000 then, Abacus 4 now"),
            (("machine", "cores"), 4, "cores: 2 then, 4 now"),
            (("machine", "python"), "PyPy 3", "Python: CPython 3.13 then, PyPy 3 now"),
            (("isa",), "avx512", "instruction set: avx2 then, avx512 now"),
            (("versions", "numpy"), "3.0", "NumPy: 2.4 then, 3.0 now"),
            (("config", "compiler"), "Clang 22", "compiler: GNU 12 then, Clang 22 now"),
        ],
    )
    def test_differences_are_named(self, path, value, line):
        other = copy.deepcopy(run())
        *parents, last = path
        target = other
        for name in parents:
            target = target[name]
        target[last] = value
        assert compare.differences(run(), other) == [line]

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"cases": 3}', "null"])
    def test_not_a_report(self, tmp_path, content):
        path = tmp_path / "old.json"
        path.write_text(content)
        with pytest.raises(ValueError, match=r"old\.json is not a report of python -m bench"):
            compare.read(path)
        with pytest.raises(ValueError, match="absent"):
            compare.read(tmp_path / "absent")

    def test_report_without_samples(self, tmp_path):
        old = copy.deepcopy(run(TestCompare.OLD))
        del old["cases"][0]["rows"][0]["samples_ns"]
        path = tmp_path / "old.json"
        path.write_text(json.dumps(old))
        with pytest.raises(ValueError, match="has no samples"):
            compare.read(path)

    def test_command(self, tmp_path, capsys):
        slow = run(case(cekernels=30.0, numpy=100.0))
        files = {"old": run(TestCompare.OLD), "slow": slow, "other": slow | {"isa": "neon"}}
        paths = {name: str(tmp_path / name) for name in files}
        for name, content in files.items():
            Path(paths[name]).write_text(json.dumps(content))
        assert compare.main([paths["old"], paths["old"]]) == 0
        assert compare.main([paths["old"], paths["slow"]]) == 1
        assert compare.main([paths["slow"], paths["old"]]) == 0
        assert capsys.readouterr().err == ""
        assert compare.main([paths["old"], paths["other"]]) == 2
        assert "  instruction set: avx2 then, neon now" in capsys.readouterr().err
        assert compare.main(["--force", paths["old"], paths["other"]]) == 1
        assert compare.main([paths["old"]]) == 2
        assert compare.main([paths["old"], str(ROOT / "absent")]) == 2


RUN_TWICE = """
import sys
sys.path.append(sys.argv[1])
from bench.__main__ import main

arguments = ["--quick", "--case=bce_grad-f32-100$", "--peer=numpy", "--rounds=3", *sys.argv[2:]]
print("forced:", main([*arguments, "--force"]) in (0, 1))
main(arguments)
"""


def test_compare_of_the_benchmark(tmp_path):
    """In a process of its own, which is tied to one processor."""
    pytest.importorskip("tqdm")
    old = tmp_path / "old.json"
    old.write_text(json.dumps(run(case("bce_grad-f32-100", cekernels=20.0, numpy=100.0))))
    command = [sys.executable, "-P", "-c", RUN_TWICE, str(ROOT)]
    command += [f"--compare={old}", f"--out={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert " of 1 cases slower" in done.stdout
    assert done.stdout.splitlines()[-1] == "forced: True"
    refusal = done.stderr.partition("these runs cannot be compared, unless with --force:\n")[2]
    assert refusal.startswith("  processor: Abacus 3000 then, ")
    assert (tmp_path / "quick-bce.png").exists() == (find_spec("matplotlib") is not None)


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


class TestCases:
    def test_sweeps_reach_from_end_to_end(self):
        single = [case for case in cases.SCALING if case.n_threads == 1]
        for dtype in cases.DTYPES:
            binary = [c.n for c in single if c.dtype == dtype and c.n_classes is None]
            classes = [c for c in single if c.dtype == dtype and c.n_classes is not None]
            assert (min(binary), max(binary)) == (100, 20_000_000)
            assert {2, 3, 10, 100, 128_256} <= {c.n_classes for c in classes}
            assert all(0.85e6 < c.n_logits <= 1e6 for c in classes)

    def test_avx2_beside_a_better_set(self):
        from bench.peers.cekernels import CekernelsAVX2
        from cekernels import _kernels

        large, small = Case("bce_grad", "float32", 10_000), Case("bce_grad", "float32", 100)
        call = CekernelsAVX2().prepare(cases.build(large))
        assert (call is not None) == (_kernels.active_isa() == "avx512")
        assert CekernelsAVX2().prepare(cases.build(small)) is None
        if "avx2" in _kernels.supported_isas():
            with CekernelsAVX2().context():
                assert _kernels.active_isa() == "avx2"

    def test_a_call_is_timed_in_its_context(self):
        entered = []

        class Context:
            def __enter__(self):
                entered.append("in")

            def __exit__(self, *_):
                entered.append("out")

        calls = {"a": lambda: entered.append("call")}
        harness.interleave(calls, {"a": Context}, rounds=3, budget=0.0)
        assert entered[0] == "in"
        assert entered[-1] == "out"
        assert entered.count("in") == 4  # calibration, and three rounds
        assert "call" not in [
            entered[i + 1] for i, what in enumerate(entered[:-1]) if what == "out"
        ]

    def test_caches(self):
        caches = machine.describe([])["caches"]
        assert all(name in ("L1", "L2", "L3", "L4") for name in caches)
        assert all(size >= 4096 for size in caches.values())


class TestMemory:
    SIZE = 1 << 26

    def test_peaks_of_a_known_allocation(self):
        def work():
            return bytearray(b"x") * self.SIZE

        assert self.SIZE <= memory.traced_peak(work) < 1.01 * self.SIZE
        resident = memory.resident_peak(work)
        if resident is not None:
            assert 0.95 * self.SIZE < resident < 1.05 * self.SIZE

    def test_ours_needs_no_array(self):
        for n_threads in (1, 2):
            case = Case("bce_grad", "float32", 300_000, n_threads=n_threads)
            record = memory.measure(case, "cekernels")[0]
            assert record["logits_bytes"] == 1_200_000
            assert record["traced_bytes"] < 20_000
            assert (record["peak_bytes"] or 0) < 900_000  # pages are counted in batches
        assert memory.measure(replace(case, n_threads=1), "numpy")[0]["traced_bytes"] > 2_400_000

    def test_command(self, tmp_path, monkeypatch, capsys):
        def ask(case, system):
            common = {"title": case.title, "system": system, "logits_bytes": 4_000_000}
            return [common | {"peak_bytes": 9_000_000, "traced_bytes": 51_000}]

        monkeypatch.setattr(memory, "ask", ask)
        path = tmp_path / "new" / "memory.json"
        assert memory.main(["--quick", "--peer=numpy", f"--out={path}"]) == 0
        printed = capsys.readouterr().out
        assert " numpy |        9 |     2.25 |          0.1 |" in printed
        assert len(json.loads(path.read_text())["memory"]) == 2 * 2 * 2
        assert memory.rows(ask(memory.QUICK[0], "a"))[0][2:] == ["9", "2.25", "0.1"]
        nobody = ask(memory.QUICK[0], "a")[0] | {"peak_bytes": None}
        assert memory.rows([nobody])[0][2:] == ["", "", "0.1"]


class TestInstructions:
    CALL = "a call, 100 binary logits"

    def counts(self, kernel, call):
        return {"avx2": {"float32": {"expit": kernel, self.CALL: call}}}

    def check(self, counts, now=None):
        recorded = NOW | {"instructions": self.counts(4.0, 9000.0)}
        return instructions.check(recorded, counts, now or NOW)

    def test_a_rise_within_the_tolerance(self):
        assert self.check(self.counts(4.1, 9200.0)) == ([], "")
        assert self.check(self.counts(1.0, 1.0)) == ([], "")

    def test_a_rise_beyond_it(self):
        assert self.check(self.counts(4.2, 9900.0)) == (
            [
                "avx2, float32, expit: 4.2 instead of 4.0, 5.0% more",
                f"avx2, float32, {self.CALL}: 9900.0 instead of 9000.0, 10.0% more",
            ],
            "",
        )

    def test_another_compiler_is_not_compared(self):
        now = NOW | {"compiler": "Clang 22"}
        skipped = "all: recorded with GNU 12, built with Clang 22"
        assert self.check(self.counts(99.0, 99999.0), now) == ([], skipped)

    @pytest.mark.parametrize("other", [{"python": "3.14"}, {"numpy": "3.0"}])
    def test_small_calls_need_the_same_interpreter(self, other):
        risen, skipped = self.check(self.counts(5.0, 99999.0), NOW | other)
        assert [line.partition(":")[0] for line in risen] == ["avx2, float32, expit"]
        assert skipped == "small calls: recorded with Python 3.11 and NumPy 2.4"

    def test_unknown_work_is_not_compared(self):
        assert self.check({"neon": {"float32": {"expit": 99.0}}}) == ([], "")
        assert self.check({"avx2": {"float32": {"new": 99.0}}}) == ([], "")

    def test_every_kernel_can_be_counted(self):
        pairs = list(instructions._pairs("float32"))
        assert [name for name, *_ in pairs] == [*instructions.KERNELS, *instructions.SMALL_CALLS]
        for _name, units, small, large in pairs:
            assert units > 0
            small()
            large()

    def test_table(self):
        counts = {"avx2": {"float32": {"a": 1.5, "b": 2000.0}, "float64": {"a": 3.0, "b": 1.0}}}
        head, body = instructions.head_and_body(counts)
        assert head[1:] == ["avx2, float32", "avx2, float64"]
        assert body == [["a", "1.5", "3"], ["b", "2,000", "1"]]

    def test_record_is_of_these_kernels(self):
        recorded = json.loads(instructions.RECORD.read_text())
        assert set(recorded) == {"compiler", "python", "numpy", "instructions"}
        names = [*instructions.KERNELS, *instructions.SMALL_CALLS]
        for isa, dtypes in recorded["instructions"].items():
            assert isa in instructions.ISAS
            assert list(dtypes) == list(instructions.DTYPES)
            assert all(list(values) == names for values in dtypes.values())

    def test_callgrind_file(self, tmp_path):
        path = tmp_path / "out.1"
        path.write_text("version: 1\nevents: Ir\nsummary: 1234\nfn=(1)\n")
        assert instructions._total(path) == 1234
        path.write_text("")
        with pytest.raises(ValueError, match=r"out\.1 has no summary"):
            instructions._total(path)

    def test_without_valgrind(self, monkeypatch, capsys):
        monkeypatch.setattr(shutil, "which", lambda _name: None)
        assert instructions.main(["--check"]) == 0
        assert capsys.readouterr().out == "skipped: valgrind is not installed\n"

    @pytest.mark.slow
    def test_count(self):
        if shutil.which("valgrind") is None:
            pytest.skip("valgrind is not installed")
        once, again = (instructions.count("baseline")["float32"] for _ in range(2))
        for name, value in once.items():
            assert value == pytest.approx(again[name], rel=0.01)
        assert 5 < once["expit"] < 40


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
