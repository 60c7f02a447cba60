"""The benchmark: its list, its stopwatch, its judge and its report."""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
if not (ROOT / "bench").is_dir():
    pytest.skip("the benchmark lives in the repository alone", allow_module_level=True)
# Behind the installed packages, lest the sources hide the built ones.
sys.path.append(str(ROOT))

from bench import cases, checking, harness, layouts, machine, peers, report
from bench.__main__ import main
from bench.cases import Case

MS = 1_000_000
BCE = Case("bce_grad", "float32", 100)


class FakeClock:
    """Nanoseconds that pass only in fake calls."""

    def __init__(self):
        self.now = 0
        self.log = []

    def __call__(self):
        return self.now

    def call(self, name, *durations):
        """Return a call that takes these nanoseconds, the last one for ever."""
        queue = list(durations)

        def run():
            self.now += queue.pop(0) if len(queue) > 1 else queue[0]
            self.log.append(name)

        return run


class FakePeer(peers.Peer):
    """A system with a given answer that counts how often it was asked."""

    def __init__(self, name, answer):
        self.name = name
        self.answer = answer
        self.calls = 0

    def bce_grad(self, problem):
        def call():
            self.calls += 1
            return self.answer(problem)

        return call


class TestCases:
    @pytest.mark.parametrize("suite", cases.SUITES.values(), ids=cases.SUITES)
    def test_names_and_titles_are_unique(self, suite):
        assert len({case.name for case in suite.cases}) == len(suite.cases)
        assert len({case.title for case in suite.cases}) == len(suite.cases)

    @pytest.mark.parametrize("suite", cases.SUITES.values(), ids=cases.SUITES)
    def test_fields_are_possible(self, suite):
        for case in suite.cases:
            assert case.work in cases.FUNCTIONS
            assert case.dtype in cases.DTYPES
            assert case.n >= 1
            assert case.n_threads >= 1
            assert (case.n_classes is not None) == (case.work == "ce_grad")

    def test_several_threads_come_last(self):
        counts = [case.n_threads for case in cases.TABLE]
        assert counts == sorted(counts)

    def test_names(self):
        assert BCE.name == "bce_grad-f32-100"
        assert Case("ce_grad", "float64", 8192, 1000).name == "ce_grad-f64-8192x1000"
        assert Case("bce_grad", "float32", 7, n_threads=2).name == "bce_grad-f32-7-2threads"
        assert Case("ce_grad", "float64", 8192, 10).title == "CE f64 loss+grad, 8,192×10"

    @pytest.mark.parametrize(
        ("case", "shape", "nbytes"),
        [
            (BCE, (100,), 3 * 400),
            (Case("bce_loss", "float64", 10), (10,), 2 * 80),
            (Case("ce_grad", "float32", 6, 5), (6, 5), 2 * 120 + 48),
            (Case("log_loss", "float64", 10), (10,), 2 * 80),
        ],
    )
    def test_build(self, case, shape, nbytes):
        problem = cases.build(case)
        assert problem.inputs.shape == shape
        assert problem.inputs.dtype == case.dtype
        assert problem.targets.shape == shape[:1]
        assert problem.nbytes == nbytes
        assert np.array_equal(problem.inputs, cases.build(case).inputs)


class TestTiming:
    def test_calibrate_doubles_until_the_clock_can_tell(self):
        clock = FakeClock()
        assert harness.calibrate(clock.call("a", MS // 10), clock) == 32

    def test_calibrate_is_not_fooled_by_one_interruption(self):
        clock = FakeClock()
        assert harness.calibrate(clock.call("a", 9 * MS, MS // 10), clock) == 32

    def test_calibrate_leaves_long_calls_alone(self):
        clock = FakeClock()
        assert harness.calibrate(clock.call("a", 3 * MS), clock) == 1
        assert len(clock.log) == 2

    def test_systems_take_turns(self):
        clock = FakeClock()
        calls = {name: clock.call(name, 3 * MS) for name in "abc"}
        rows = harness.interleave(calls, rounds=4, budget=9.0, clock=clock)
        assert clock.log == list("aabbcc" + 4 * "abc")
        assert [row.peer for row in rows] == list("abc")
        assert all(row.samples_ns == 4 * [3 * MS] for row in rows)

    def test_a_short_call_is_repeated_after_one_untimed_call(self):
        clock = FakeClock()
        (row,) = harness.interleave({"a": clock.call("a", MS)}, rounds=3, budget=9.0, clock=clock)
        assert row.repetitions == 2
        assert row.samples_ns == 3 * [MS]
        assert len(clock.log) == 1 + 2 * 2 + 3 * (1 + 2)

    def test_budget_ends_the_rounds_but_not_before_three(self):
        clock = FakeClock()
        (row,) = harness.interleave(
            {"a": clock.call("a", 1000 * MS)}, rounds=9, budget=1.0, clock=clock
        )
        assert len(row.samples_ns) == 3

    def test_floor_moves_the_bytes_of_the_problem(self):
        copy = harness.floor(cases.build(BCE))
        target, source = copy.args
        assert source.nbytes + target.nbytes == 1200
        copy()
        assert np.array_equal(target, source)


class TestChecking:
    LOSS, GRAD = 0.5, np.full(100, 0.01)

    def verdict(self, loss, grad):
        return checking.check((loss, grad), (self.LOSS, self.GRAD), BCE)

    def test_right(self):
        assert self.verdict(np.float32(0.5), self.GRAD.astype(np.float32)) is None

    def test_wrong_loss(self):
        assert self.verdict(0.501, self.GRAD.astype(np.float32)) == "loss 0.501 instead of 0.5"
        assert self.verdict(np.nan, self.GRAD.astype(np.float32)) == "loss nan instead of 0.5"

    def test_wrong_gradient(self):
        wrong = self.GRAD.astype(np.float32)
        wrong[-1] += 1e-6
        assert self.verdict(0.5, wrong) == "gradient of one sample off by 1.0e-04"
        wrong[-1] = np.nan
        assert self.verdict(0.5, wrong) == "gradient of one sample off by nan"

    def test_wrong_kind_of_gradient(self):
        message = "gradient of dtype float64 and shape (100,)"
        assert self.verdict(0.5, self.GRAD) == message

    def test_reference_in_blocks_is_the_reference(self, monkeypatch):
        case = Case("ce_grad", "float64", 10, 3)
        loss, grad = checking.reference_answer(cases.build(case))
        monkeypatch.setattr(checking, "BLOCK_LOGITS", 9)
        blocked_loss, blocked_grad = checking.reference_answer(cases.build(case))
        assert blocked_loss == pytest.approx(loss, rel=1e-15)
        assert np.array_equal(blocked_grad, grad)
        assert np.abs(grad.sum(axis=1)).max() < 1e-16

    def test_wrong_system_is_reported_and_not_timed(self):
        def right(problem):
            loss, grad = checking.reference_answer(problem)
            return loss, grad.astype(problem.inputs.dtype)

        def failing(_problem):
            raise RuntimeError("out of order\nsince Tuesday")

        systems = [
            FakePeer("wrong", lambda problem: (0.0, problem.inputs)),
            FakePeer("right", right),
            FakePeer("failing", failing),
        ]
        result = harness.run_case(BCE, systems, rounds=3, budget=0.0)
        rows = {row.peer: row for row in result.rows}
        assert [row.peer for row in result.rows if row.error is None] == ["right", "floor"]
        assert len(rows["right"].samples_ns) == len(rows["floor"].samples_ns) == 3
        assert rows["wrong"].error.startswith("loss 0 instead of ")
        assert rows["failing"].error == "RuntimeError: out of order"
        assert systems[0].calls == systems[2].calls == 1
        assert systems[1].calls > 3

    def test_system_without_the_work_is_left_out(self):
        silent = FakePeer("silent", None)
        result = harness.run_case(Case("log_loss", "float64", 100), [silent], rounds=3, budget=0.0)
        assert [row.peer for row in result.rows] == ["floor"]


def result(case, **samples):
    """Return a canned result; nanoseconds of one call, or a message, for each system."""
    rows = [
        harness.Row(peer, error=value) if isinstance(value, str) else harness.Row(peer, value, 4)
        for peer, value in samples.items()
    ]
    return harness.Result(case, cases.build(case).nbytes, rows, cpu_share=0.5)


@pytest.fixture
def canned():
    records = [
        report.case_record(canned_result)
        for canned_result in [
            result(
                BCE,
                cekernels=[400.0, 300.0, 900.0],
                numpy=[8_000.0, 8_000.0, 8_100.0],
                torch=[20_000.0, 20_000.0, 20_000.0],
                numexpr="loss 3 instead of 4",
                floor=[200.0, 200.0, 200.0],
            ),
            result(
                Case("bce_grad", "float32", 20_000),
                cekernels=[12_000.0],
                numpy=[160_000.0],
                floor=[4_000.0],
            ),
            result(
                Case("ce_grad", "float32", 2_000, 10), cekernels="MemoryError: ", floor=[4_000.0]
            ),
            result(
                Case("bce_grad", "float32", 100, n_threads=2),
                **{"cekernels": [250.0], "cekernels (1 thread)": [400.0], "floor": [200.0]},
            ),
        ]
    ]
    return {
        "suite": "table",
        "date": "2026-01-02T03:04:05+00:00",
        "machine": {
            "cpu": "Abacus 3000",
            "cores": 2,
            "memory_gb": 24.0,
            "os": "Linux",
            "python": "CPython 3.13",
            "pinned_to_cpu": 1,
        },
        "isa": "avx2",
        "versions": {"cekernels": "0.1", "numpy": "2.4"},
        "missing": {"jax": "No module named 'jax'"},
        "cases": records,
    }


class TestReport:
    def test_figures_of_a_case(self, canned):
        record = canned["cases"][0]
        ours, numpy_row = record["rows"][:2]
        assert ours["median_ns"] == 400.0
        assert ours["min_ns"] == 300.0
        assert ours["max_ns"] == 900.0
        assert ours["ns_per_logit"] == 4.0
        assert ours["gb_per_s"] == 3.0
        assert ours["ratio_to_floor"] == 2.0
        assert ours["rounds"] == 3
        assert ours["repetitions"] == 4
        assert numpy_row["ratio_to_floor"] == 40.0
        assert record["best_peer"] == "numpy"
        assert record["best_peer_ratio"] == 20.0
        assert record["thread_ratio"] is None

    def test_threads_are_compared_with_one(self, canned):
        assert canned["cases"][-1]["thread_ratio"] == 1.6
        assert canned["cases"][-1]["best_peer"] is None

    def test_summary_line(self, canned):
        assert re.sub(" +", " ", report.summary_line(canned["cases"][0])) == (
            "BCE f32 loss+grad, n = 100 cekernels 4 floor 2 numpy 80 speed-up 20× "
            "numexpr: loss 3 instead of 4"
        )

    def test_written_files(self, canned, tmp_path):
        report.write(canned, tmp_path / "new" / "table")
        assert json.loads((tmp_path / "new" / "table.json").read_text()) == canned
        page = (tmp_path / "new" / "table.md").read_text(encoding="utf-8")
        assert "Abacus 3000, 2 cores" in page
        assert (
            "| BCE f32 loss+grad, n = 100 | 400 ns | 4 |  | 2 | 2× | 3.0 | numpy 80 | 20× |" in page
        )
        assert "| BCE f32 loss+grad, n = 100, 2 threads | 1.6× |" in page
        assert "- numexpr, BCE f32 loss+grad, n = 100: loss 3 instead of 4" in page
        assert "n = 20,000: this process had the processor for 50% of the time" in page
        assert "- jax: No module named 'jax'" in page

    def test_plots(self, canned, tmp_path):
        pytest.importorskip("matplotlib")
        from bench import plots

        written = plots.plot_all(canned, tmp_path / "table")
        assert [path.name for path in written] == [
            "table-bce.png",
            "table-ce.png",
            "table-roofline.png",
        ]
        assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)

    def test_every_system_has_its_own_look(self):
        pytest.importorskip("matplotlib")
        from bench import plots

        looks = {
            (style["color"], style["marker"], style.get("linestyle"))
            for style in plots.STYLES.values()
        }
        assert len(looks) == len(plots.STYLES)
        assert set(peers.MODULES) <= set(plots.STYLES)


class TestMachine:
    def test_describe(self):
        described = machine.describe([0, 1])
        assert described["cores"] == 2
        assert described["pinned_to_cpu"] == 1
        assert described["cpu"]

    def test_processors_are_given_back(self):
        if not hasattr(os, "sched_setaffinity"):
            pytest.skip("no processor affinity here")
        before = os.sched_getaffinity(0)
        with machine.processors(2, sorted(before)):
            assert len(os.sched_getaffinity(0)) == min(2, len(before))
        assert os.sched_getaffinity(0) == before


class TestCommand:
    """In a process of its own: the command ties its process to one processor."""

    def run(self, *arguments, first=""):
        start = (
            f"import sys; {first} sys.path.append({str(ROOT)!r}); from bench.__main__ import main"
        )
        return subprocess.run(
            [sys.executable, "-P", "-c", f"{start}; sys.exit(main())", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )

    def test_quick_run(self, tmp_path):
        pytest.importorskip("tqdm")
        done = self.run(
            *("--quick", "--case=-100$|x10$", "--peer=numpy", "--rounds=3", f"--out={tmp_path}"),
            first="sys.modules['matplotlib'] = None;",
        )
        assert done.returncode == 0, done.stderr
        written = json.loads((tmp_path / "quick.json").read_text())
        assert [case["name"] for case in written["cases"]] == [
            "bce_grad-f32-100",
            "bce_grad-f64-100",
            "ce_grad-f32-32x10",
            "log_loss-f64-100",
        ]
        for case in written["cases"]:
            assert {"cekernels", "numpy", "floor"} <= set(report.rows_by_peer(case))
        assert (tmp_path / "quick.md").exists()
        assert not (tmp_path / "quick-bce.png").exists()
        assert "no plots: matplotlib is not installed" in done.stderr

    @pytest.mark.slow
    def test_every_installed_system_gives_the_right_answer(self, tmp_path):
        pytest.importorskip("tqdm")
        without_plots = "sys.modules['matplotlib'] = None;"
        done = self.run("--quick", "--rounds=1", f"--out={tmp_path}", first=without_plots)
        assert done.returncode == 0, done.stderr
        written = json.loads((tmp_path / "quick.json").read_text())
        rows = [row for case in written["cases"] for row in case["rows"]]
        installed = {name for name, module in peers.MODULES.items() if find_spec(module)}
        assert [row for row in rows if row["error"]] == []
        assert installed - set(written["missing"]) <= {row["peer"] for row in rows}

    def test_no_such_case(self):
        done = self.run("--case", "nothing")
        assert done.returncode == 2
        assert "no case matches 'nothing'" in done.stderr

    @pytest.mark.parametrize(
        ("option", "value"),
        [("--rounds", "0"), ("--budget", "-1"), ("--peer", "fortran"), ("--case", "(")],
    )
    def test_bad_options(self, option, value, capsys):
        """In this process, since they are read before it is tied."""
        with pytest.raises(SystemExit) as ended:
            main([option, value])
        assert ended.value.code == 2
        error = capsys.readouterr().err
        assert error.startswith("usage: python -m bench ")
        assert option.strip("-") in error.lower().splitlines()[-1]

    def test_no_such_instruction_set(self):
        done = self.run("--isa", "abacus")
        assert done.returncode == 2
        assert done.stderr.startswith("usage: python -m bench ")
        assert "isa" in done.stderr.lower().splitlines()[-1]
        assert "Traceback" not in done.stderr


class TestLayouts:
    """Every layout that is compared gives the same result."""

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_losses(self, dtype):
        for calls in (
            layouts.binary_calls(100, dtype),
            layouts.matrix_calls(20, 7, dtype),
            layouts.class_calls(49, 70, dtype),
        ):
            losses = {name: call()[0] for name, call in calls.items()}
            assert len(losses) >= 4
            assert set(losses.values()) == {losses["contiguous"]}

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_relatives(self, dtype):
        for calls in layouts.relative_calls(20, 150, dtype).values():
            contiguous, fortran = (call() for call in calls.values())
            np.testing.assert_array_equal(contiguous[-1], fortran[-1])
