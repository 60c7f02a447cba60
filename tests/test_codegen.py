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

# Integers alone: labels of any stride become labels of one.
NOT_VECTORS = {"labels_load"}
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
    found = {}
    for line in text.splitlines():
        if match := re.match(r"[0-9a-f]+ <(.+)>:$", line):
            code = found.setdefault(match[1], [])
        elif match := re.match(r"\s+[0-9a-f]+:\s+[A-Z]\w+\s+([\w.]+)", line):
            if re.match(r"call|blr?$", code[-1].mnemonic):
                code[-1] = code[-1]._replace(operands=match[1])
        elif match := re.match(r"\s+([0-9a-f]+):\s+([\w.]+)\s*(.*)", line):
            code.append(Instruction(int(match[1], 16), match[2], match[3]))
    return found


@functools.cache
def disassembled(path):
    """Return the functions of an object file or a library."""
    command = ["objdump", "-dr", "--no-show-raw-insn", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return functions(done.stdout)


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


# Loops


def successors(code):
    """Return, for every instruction, the places of those that may come next."""
    places = {line.address: i for i, line in enumerate(code)}
    edges = []
    for i, (_, mnemonic, operands) in enumerate(code):
        after = set()
        target = re.search(r"\b(?:0x)?([0-9a-f]+) <", operands)
        if target and re.match(r"j|b$|b\.|cbn?z|tbn?z", mnemonic):
            after |= {places[to] for to in [int(target[1], 16)] if to in places}
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
        self.partial = {i for i, line in enumerate(code) if is_scalar(line)} | packed - self.whole
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
                heads = {i for i in loop if self.back[i] - loop}
                self.vector_loops.append(self.file_loops(loop - {min(heads)}) | {min(heads)})
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
        """Does a turn of this loop take more than two elements that follow each other?"""
        operands = " ".join(self.code[i].operands for i in loop)
        found = re.findall(r"(-?0x[0-9a-f]+|)(\([^)]*\))", operands)  # x86
        found += re.findall(r"\[(\w+)(?:, #(-?\w+))?\]", operands)  # Arm, the other way round
        places = {tuple(part if "0x" not in part else int(part, 16) for part in p) for p in found}
        offsets = {(base, at) for at, base in places if isinstance(at, int)}
        return any(
            sum((base, at + size) in offsets for base, at in offsets) > 2 for size in (4, 8)
        )

    def is_on_stack(self, loop):
        """Does this loop read nothing but the accumulators, as at the end of a sum?"""
        stack = {"%rsp", "%rbp", "%rip", "sp"}
        for _, mnemonic, operands in self.code:
            if match := re.match(r"[^(]*\((%\w+).*,(%\w+)$", operands):  # an address in a register
                stack |= {match[2]} if mnemonic == "lea" and match[1] in stack else set()
        operands = " ".join(self.code[i].operands for i in loop)
        return set(re.findall(r"(?:\((?=%)|\[)(%?\w+)", operands)) <= stack

    def adds_in_order(self, vectors):
        """Is this a plain loop with more arithmetic on single numbers than on vectors?"""
        single = vectors & self.partial
        branches = any(len(self.edges[i] & vectors) > 1 for i in vectors)
        return len(single) > len(vectors & self.whole) and not branches

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
    found = [] if flow.whole else ["no arithmetic on whole vectors"]
    for loop in flow.faults():
        mnemonics = ", ".join(sorted({code[i].mnemonic for i in loop & flow.partial}))
        found.append(f"not a loop of vectors at {code[min(loop)].address:x}: {mnemonics}")
    calls = (line.operands for line in code if re.match(r"call|blr?$", line.mnemonic))
    found += [f"calls {name}" for name in calls if name.strip("_") not in MAY_CALL]
    return found


if __name__ == "__main__":
    for path in OBJECTS:
        m = re.search(r"cek_(f32|f64)_(\w+)\.dir", str(path))
        if not m: continue
        funcs = disassembled(path)
        names = set()
        for p in ROOT.glob("src/kernels/*.h"):
            names |= set(re.findall(r"static NOINLINE [\w ]+?\*?(\w+)\(", p.read_text()))
        for f, code in funcs.items():
            if f.split(".")[0] in names - NOT_VECTORS:
                c = complaints(code, X86_REGISTERS[m[2]])
                if c: print(m[1], m[2], f, c)
