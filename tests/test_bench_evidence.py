"""Evidence of the benchmark beside times: memory and instructions."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
if not (ROOT / "bench").is_dir():
    pytest.skip("the benchmark lives in the repository alone", allow_module_level=True)
# Behind the installed packages, lest the sources hide the built ones.
sys.path.append(str(ROOT))

from bench import cases, harness, instructions, machine, memory
from bench.cases import Case

NOW = {"compiler": "GNU 12", "python": "3.11", "numpy": "2.4"}


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
