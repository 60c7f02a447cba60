"""Disassembles the kernels: their loops compute on whole vectors, and they call nothing.

A kernel is a function that src/kernels/ marks NOINLINE.  A compiler leaves a scalar loop behind a
vector loop, for a rest that fills no vector; ours has none, but the compiler does not know.  So a
scalar loop passes where it may be such a rest: one element a turn, no more arithmetic than in a
vector loop of its own, and not on every way through it.
"""

import functools
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from cekernels import _kernels

ROOT = Path(__file__).parents[1]
BUILD = f"build/cp{sys.version_info.major}{sys.version_info.minor}-*"
OBJECTS = sorted(ROOT.glob(f"{BUILD}/CMakeFiles/*.dir/**/*.o"))
IS_X86 = platform.machine() in {"x86_64", "AMD64"}
IS_ARM = platform.machine() in {"aarch64", "arm64"}

pytestmark = [
    pytest.mark.skipif(not (IS_X86 or IS_ARM), reason=f"no rules for {platform.machine()}"),
    pytest.mark.skipif(shutil.which("objdump") is None, reason="no objdump on this machine"),
]
needs_build = pytest.mark.skipif(
    not OBJECTS, reason=f"no objects in {BUILD}: not installed from this checkout"
)

# What compilers make of memcpy, memset and arrays on the stack; and the sum that all share.
MAY_CALL = {"memcpy", "memmove", "memset", "bzero", "memset_pattern16", "stack_chk_fail"}
MAY_CALL |= {"memcpy_chk", "memmove_chk", "memset_chk", "GLOBAL_OFFSET_TABLE", "cek_tree_sum"}

X86_REGISTERS = {"baseline": "%xmm", "avx2": "%ymm", "avx512": "%zmm"}
X86_ARITHMETIC = r"v?(add|sub|mul|div|sqrt|min|max|cmp\w*|fn?m(add|sub)\d+)"
X86_SCALAR = re.compile(rf"({X86_ARITHMETIC}|v?u?comi)s[sd]$")
X86_PACKED = re.compile(rf"({X86_ARITHMETIC}p[sd]|v?p(add|sub|min|max|cmp|sll|srl|sra)\w+)$")
ARM_SCALAR = re.compile(r"f(add|sub|n?mul|div|sqrt|min\w*|max\w*|n?m(add|sub)|c?cmpe?)$")
ARM_PACKED = re.compile(r"(f(?!mov|csel)|cm|add|sub|[su](min|max)|s?shl|[su]shr)\w*$")
ARM_VECTOR = re.compile(r"\.(4s|2d)\b")


class Instruction(NamedTuple):
    """One line of a disassembly; the operand of a call is the name of what it calls."""

    address: int
    mnemonic: str
    operands: str


# Reading


def functions(text):
    """Return the instructions of every function of a disassembly, by name."""
    found, code = {}, []
    for line in text.splitlines():
        if match := re.match(r"\s+([0-9a-f]+):\s+(?![A-Z])([\w.]+)\s*(.*)", line):
            operands = match[3].partition(" # ")[0].rstrip()
            code.append(Instruction(int(match[1], 16), match[2], operands))
        elif match := re.match(r"\s+[0-9a-f]+:\s+[A-Z]\w+\s+([\w.]+)", line):
            if re.match(r"call|blr?$", code[-1].mnemonic):
                code[-1] = code[-1]._replace(operands=match[1])
        elif match := re.match(r"[0-9a-f]+ <(.+)>:$", line):
            code = found.setdefault(match[1], [])
    return found


@functools.cache
def disassembled(path):
    """Return the functions of an object file."""
    command = ["objdump", "-dr", "--no-show-raw-insn", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return functions(done.stdout)


@functools.cache
def versions_by_name(path):
    """Return the versions that a compiler made of each function of the source, by its name there."""
    found = {}
    for version, code in disassembled(path).items():
        if not version.endswith(".cold"):
            found.setdefault(version.removeprefix("_").split(".")[0], {})[version] = code
    return found


def is_scalar(line):
    """Is this floating-point arithmetic on one number?"""
    if ARM_SCALAR.match(line.mnemonic):
        return re.match(r"[sd]\d", line.operands) is not None
    return X86_SCALAR.match(line.mnemonic) is not None


def is_packed(line):
    """Is this arithmetic on vectors?"""
    if ARM_VECTOR.search(f"{line.mnemonic} {line.operands}"):
        return ARM_PACKED.match(line.mnemonic.split(".")[0]) is not None
    return X86_PACKED.match(line.mnemonic) is not None


def addresses(operands):
    """Return base and offset of the memory that an instruction names."""
    x86 = re.findall(r"(-?0x[0-9a-f]+)?(\(%[^)]*\))", operands)
    arm = re.findall(r"\[(\w+)(?:, #(-?\w+))?\]", operands)
    pairs = [*((base, offset) for offset, base in x86), *arm]
    return {(base, int(offset or "0", 0)) for base, offset in pairs}


# Loops


def successors(code):
    """Return, for every instruction, the places of those that may come next."""
    places = {line.address: i for i, line in enumerate(code)}
    edges = []
    for i, (_, mnemonic, operands) in enumerate(code):
        after = set()
        if re.match(r"j|b$|b\.|cbn?z|tbn?z", mnemonic):
            target = re.search(r"\b(?:0x)?([0-9a-f]+) <", operands)
            if target and (to := int(target[1], 16)) in places:
                after.add(places[to])
        if mnemonic not in {"jmp", "b", "br", "ret"} and i + 1 < len(code):
            after.add(i + 1)
        edges.append(after)
    return edges


def predecessors(edges):
    """Return the edges, turned round."""
    before = [set() for _ in edges]
    for i, after in enumerate(edges):
        for j in after:
            before[j].add(i)
    return before


def reachable(starts, edges, nodes):
    """Return the nodes on the ways that lead from some of them, these included."""
    found, todo = set(), list(starts & nodes)
    while todo:
        node = todo.pop()
        if node not in found:
            found.add(node)
            todo += (edges[node] & nodes) - found
    return found


class Flow:
    """The control flow of a function: its loops of vector and of other arithmetic."""

    def __init__(self, code, register=""):
        self.code = code
        self.edges = successors(code)
        self.back = predecessors(self.edges)
        packed = {i for i, line in enumerate(code) if is_packed(line)}
        self.whole = {i for i in packed if register in code[i].operands}
        # Numbers one by one, or in vectors that are too short; short vectors of integers may be all.
        self.partial = {i for i, line in enumerate(code) if is_scalar(line)}
        self.partial |= {i for i in packed - self.whole if re.search("p[sd]$", code[i].mnemonic)}
        self.partial_loops = []
        self.vector_loops = []
        # A loop that was unrolled to the end is none, but may have a rest.
        self.vector_loops.append(self.file_loops(set(range(len(code)))))

    def loops(self, nodes):
        """Return the outermost loops among the nodes: strongly connected components."""
        found = []
        for node in sorted(nodes):
            for head in self.edges[node] & nodes:
                if head <= node and not any(head in loop for loop in found):
                    loop = reachable({head}, self.edges, nodes)
                    loop &= reachable({head}, self.back, nodes)
                    found += [loop] * (node in loop)
        return found

    def file_loops(self, nodes):
        """File the loops among the nodes, and return the nodes that are in none of them."""
        for loop in self.loops(nodes):
            nodes = nodes - loop
            if loop & self.whole:
                head = min((i for i in loop if self.back[i] - loop), default=min(loop))
                self.vector_loops.append(self.file_loops(loop - {head}) | {head})
            elif loop & self.partial:
                self.partial_loops.append(loop)
        return nodes

    def avoids(self, vectors, loop):
        """Can the function run these vector instructions, and return, without this loop?"""
        rest = set(range(len(self.code))) - loop
        exits = {i for i in rest if not self.edges[i]}
        ways = reachable({0}, self.edges, rest) & reachable(exits, self.back, rest)
        return bool(vectors & self.whole & ways)

    def is_rest(self, loop, vectors):
        """May this loop be the rest of that vector loop?"""
        fewer = len(loop & self.partial) <= 1.25 * len(vectors & self.whole) + 2
        return fewer and self.avoids(vectors, loop) and not self.takes_many(loop)

    def takes_many(self, loop):
        """Does a turn of this loop take elements that follow each other?"""
        places = {place for i in loop for place in addresses(self.code[i].operands)}
        places = {place for place in places if not re.match(r"\(?%?r?sp", place[0])}
        return any(
            all((base, offset + i * size) in places for i in range(4))
            for base, offset in places
            for size in (4, 8)
        )

    def is_on_stack(self, loop):
        """Does this loop read nothing but the accumulators, as at the end of a sum?"""
        return all(
            self.is_stack_address(re.search(r"%?\w+", base)[0], i)
            for i in loop
            for base, _ in addresses(self.code[i].operands)
        )

    def is_stack_address(self, register, i):
        """Does a register hold an address in the stack frame, on every way to an instruction?"""
        if re.match(r"%?r?sp|%rip", register):
            return True
        seen, todo = set(), set(self.back[i])
        while todo - seen:
            node = (todo - seen).pop()
            seen.add(node)
            _, mnemonic, operands = self.code[node]
            if not operands.endswith(f",{register}") or mnemonic == "add":
                todo |= self.back[node]
                continue
            source = re.match(r"[^%]*\(?(%\w+)", operands) if mnemonic in {"lea", "mov"} else None
            if not source or not self.is_stack_address(source[1], node):
                return False
        return 0 not in seen

    def adds_in_order(self, vectors):
        """Is this a plain loop with more arithmetic on single numbers than on vectors?"""
        branches = any(len(self.edges[i] & vectors) > 1 for i in vectors)
        return 0 < len(vectors & self.whole) < len(vectors & self.partial) and not branches

    def faults(self):
        """Return the loops that are not of vectors and no rest of any."""
        owners = sorted(self.vector_loops, key=lambda loop: len(loop & self.whole))
        found = [loop for loop in self.vector_loops[:-1] if self.adds_in_order(loop)]
        for loop in sorted(self.partial_loops, key=lambda loop: len(loop & self.partial)):
            owner = next((vectors for vectors in owners if self.is_rest(loop, vectors)), None)
            if owner is not None:
                owners.remove(owner)
            elif not self.is_on_stack(loop):
                found.append(loop)
        return found


def complaints(code, register=""):
    """Return what is wrong with the machine code of a kernel."""
    flow = Flow(code, register)
    found = ["no arithmetic on whole vectors"] if flow.partial and not flow.whole else []
    for loop in flow.faults():
        mnemonics = ", ".join(sorted({code[i].mnemonic for i in loop & flow.partial}))
        found.append(f"not a loop of vectors at {code[min(loop)].address:x}: {mnemonics}")
    calls = (line.operands for line in code if re.match(r"call|blr?$", line.mnemonic))
    found += [f"calls {name}" for name in calls if name.strip("_") not in MAY_CALL]
    return found


# The checker itself


def program(body):
    """Return the code of a function in the words of objdump; `label:` and `-> label` are jumps."""
    places, code = {}, []
    for line in filter(None, map(str.strip, body.splitlines())):
        if line.endswith(":"):
            places[line[:-1]] = 4 * len(code)
        else:
            code.append(line)
    text = "0000000000000000 <kernel>:\n"
    for i, line in enumerate(code):
        jump = re.sub(r"-> (\w+)", lambda match: f"{places[match[1]]:x} <kernel+1>", line)
        text += f" {4 * i:x}:\t{jump}\n"
    return functions(text)["kernel"]


VECTOR_LOOP = """
    test %rdx,%rdx
    je -> end
    vectors:
    vmovups (%rdi,%rax,1),%zmm0
    vmulps %zmm0,%zmm0,%zmm1
    vfmadd213ps %zmm2,%zmm0,%zmm1
    vmovups %zmm1,(%rsi,%rax,1)
    add $0x40,%rax
    cmp %rax,%rdx
    jne -> vectors
    {rest}
    end:
    ret
"""
REST = """
    test $0xf,%cl
    je -> end
    rest:
    vmovss (%rdi,%rax,4),%xmm0
    vmulss %xmm0,%xmm0,%xmm1
    vfmadd213ss %xmm2,%xmm0,%xmm1
    vmovss %xmm1,(%rsi,%rax,4)
    add $0x1,%rax
    cmp %rax,%rcx
    jne -> rest
"""
SCALAR_LOOP = REST.replace("je -> end", "nop")
# Elements of a vector, one by one.
LANES_LOOP = """
    test $0xf,%cl
    je -> end
    rest:
    vaddss (%rdi),%xmm0,%xmm0
    vaddss 0x4(%rdi),%xmm1,%xmm1
    vaddss 0x8(%rdi),%xmm2,%xmm2
    vaddss 0xc(%rdi),%xmm3,%xmm3
    add $0x10,%rdi
    cmp %rdi,%rdx
    jne -> rest
"""
SUM_IN_ORDER = """
    sum:
    vmulps (%rdi),%ymm0,%ymm1
    vaddss %xmm1,%xmm2,%xmm2
    vshufps $0x55,%xmm1,%xmm1,%xmm3
    vaddss %xmm3,%xmm2,%xmm2
    add $0x20,%rdi
    cmp %rdi,%rdx
    jne -> sum
    ret
"""
ARM_LOOP = """
    loop:
    ldr {load}, [x0, x3]
    fmul {out}, {a}, {a}
    fadd {out}, {out}, {a}
    str {load}, [x1, x3]
    add x3, x3, #0x10
    cmp x3, x2
    b.ne -> loop
    ret
"""


@pytest.mark.parametrize(
    ("code", "register"),
    [
        (VECTOR_LOOP.format(rest=""), "%zmm"),
        (VECTOR_LOOP.format(rest=REST), "%zmm"),
        (VECTOR_LOOP.format(rest="").replace("%zmm", "%xmm").replace("vmulps", "mulps"), "%xmm"),
        (ARM_LOOP.format(load="q0", out="v1.4s", a="v0.4s"), ""),
        (ARM_LOOP.format(load="q0", out="v1.2d", a="v0.2d"), ""),
        ("call memcpy\n ret", "%xmm"),
    ],
    ids=["vectors", "rest", "sse", "neon-4s", "neon-2d", "memcpy"],
)
def test_checker_accepts(code, register):
    assert complaints(program(code), register) == []


@pytest.mark.parametrize(
    ("code", "register", "message"),
    [
        (SCALAR_LOOP.replace("nop", "je -> rest"), "%zmm", "no arithmetic on whole vectors"),
        (VECTOR_LOOP.format(rest=SCALAR_LOOP), "%zmm", "not a loop of vectors at 2c: vfmadd213ss"),
        (VECTOR_LOOP.format(rest=LANES_LOOP), "%zmm", "not a loop of vectors at 2c: vaddss"),
        (
            VECTOR_LOOP.format(rest=REST + REST.replace("rest", "more")),
            "%zmm",
            "not a loop of vectors",
        ),
        (VECTOR_LOOP.format(rest=""), "%ymm", "no arithmetic on whole vectors"),
        (SUM_IN_ORDER, "%ymm", "not a loop of vectors at 0: vaddss"),
        (ARM_LOOP.format(load="s0", out="s1", a="s0"), "", "no arithmetic on whole vectors"),
        ("call expf\n ret", "%xmm", "calls expf"),
        ("bl exp\n ret", "", "calls exp"),
    ],
    ids=["scalar", "second", "lanes", "two", "narrow", "in-order", "arm", "expf", "exp"],
)
def test_checker_complains(code, register, message):
    assert any(complaint.startswith(message) for complaint in complaints(program(code), register))


def test_relocations_name_what_is_called():
    text = (
        "0000000000000000 <kernel>:\n"
        "   0:\tcall   5 <kernel+0x5>\n"
        "\t\t\t1: R_X86_64_PLT32\texpf-0x4\n"
        "   5:\tret\n"
    )
    assert complaints(functions(text)["kernel"], "%xmm") == ["calls expf"]


# The build


def kernels():
    """Return the names of the kernels that must be there."""
    return {
        name
        for path in ROOT.glob("src/kernels/*.h")
        for name in re.findall(r"static NOINLINE [\w ]+?\*?(\w+)\(", path.read_text())
    }


def tables():
    """Return the objects with kernels, each of an instruction set and a dtype."""
    found = {path: re.search(r"cek_(\w+)\.dir", str(path)) for path in OBJECTS}
    named = [pytest.param(path, id=target[1]) for path, target in found.items() if target]
    return named or [pytest.param(None, marks=needs_build)]


def register_of(path):
    """Return the vector register that the instructions of an object file name."""
    return "" if IS_ARM else X86_REGISTERS[re.search(r"cek_f\d\d_(\w+)\.dir", str(path))[1]]


@pytest.mark.parametrize("path", tables())
def test_kernels_are_vectors(path):
    names = kernels()
    assert names
    versions = versions_by_name(path)
    absent = sorted(names - versions.keys())
    assert not absent, f"{absent} are not in {path}: is the build older than the sources?"
    faults = [
        f"{version}: {complaint}"
        for name in sorted(names)
        for version, code in versions[name].items()
        for complaint in complaints(code, register_of(path))
    ]
    assert not faults, "\n".join(faults)


@needs_build
@pytest.mark.parametrize(
    "path", OBJECTS, ids=lambda path: path.relative_to(path.parents[3]).as_posix()
)
def test_objects_use_their_own_registers(path):
    isa = re.search(r"cek_f\d\d_(\w+)\.dir", str(path))
    wider = {"avx2": "%zmm", "avx512": "%none"}.get(isa[1] if isa else "", r"%[yz]mm")
    for name, code in disassembled(path).items():
        assert not re.search(wider, "\n".join(line.operands for line in code)), name


@needs_build
@pytest.mark.skipif(shutil.which("nm") is None, reason="no nm on this machine")
def test_kernels_need_nothing_from_outside():
    for path in OBJECTS:
        if re.search(r"cek_f\d\d_", str(path)):
            listing = subprocess.run(["nm", "-u", path], capture_output=True, text=True, check=True)
            names = {line.split()[-1].strip("_") for line in listing.stdout.splitlines()}
            assert names <= MAY_CALL, path


def test_control_word_is_only_restored():
    """Nothing sets the modes that flush subnormals (crtfastmath does when a module is loaded)."""
    command = ["objdump", "-d", "--no-show-raw-insn", _kernels.__file__]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    # Functions, with their names before the ">:" that ends the line.
    names, setters = set(), set()
    for function in listing.split("\n\n"):
        name = function.partition(">:")[0].rpartition("<")[2]
        names.add(name)
        if "ldmxcsr" in function or re.search(r"\bmsr\s+fpcr", function):
            setters.add(name.split(".")[0])
    assert setters <= {"cek_flags_restore"}
    assert "set_fast_math" not in names


def test_no_vector_libm():
    command = ["objdump", "-pT", _kernels.__file__]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert not re.search(r"libmvec|_ZGV|svml|sleef", listing)


def test_flags_keep_ieee_arithmetic():
    values = r"fast-math|Ofast|finite-math|associative-math|unsafe-math|reciprocal-math|fp:fast"
    assert not re.search(values, _kernels.FLAGS)
    for ninja in ROOT.glob(f"{BUILD}/build.ninja"):
        assert not re.search(values, ninja.read_text())
