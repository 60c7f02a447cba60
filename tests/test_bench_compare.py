"""Comparison of two reports of the benchmark: what has become slower, and what cannot be told."""

import copy
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
if not (ROOT / "bench").is_dir():
    pytest.skip("the benchmark lives in the repository alone", allow_module_level=True)
# Behind the installed packages, lest the sources hide the built ones.
sys.path.append(str(ROOT))

from bench import compare, peers

STEADY = [1.0, 1.01, 0.99, 1.0, 1.01, 0.99, 1.0]
ROUGH = [1.0, 1.5, 0.7, 1.0, 1.4, 0.6, 1.0]


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
