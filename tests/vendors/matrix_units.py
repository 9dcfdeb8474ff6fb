"""Matrix units, by the numbers of cl/matrix.clh: which targets have them, and whether a kernel for one has its instruction."""
import re
import struct

# the other targets have none; odd numbers are emulations, for tests on CPUs
TARGETS = {2: ("sm_80", "sm_86", "sm_89", "sm_90"), 4: ("gfx1100",), 6: ("gfx90a",), 8: ("dg2-g10",), 10: ("pvc",)}
INSTRUCTION = {2: "mma.sync.aligned.m16n8k16", 4: "v_wmma_f32_16x16x16", 6: "v_mfma_f32_16x16x16"}
INTEL_DPAS = 0x59
PROBLEM = "no instruction of the matrix unit"


def unit_of(options):
    """Of a list of options or their text: the number, or None."""
    found = re.search(r"-DMATRIX_UNIT=(\d+)", options if isinstance(options, str) else " ".join(options))
    return int(found[1]) if found else None


def runs_on(unit, target):
    return unit is None or target in TARGETS[unit]


def assembly_problem(unit, text):
    """text: a kernel's assembly, of NVIDIA or AMD."""
    return PROBLEM if unit in INSTRUCTION and INSTRUCTION[unit] not in text else None


def intel_problem(unit, code):
    """code: a kernel's machine code."""
    return PROBLEM if unit and not has_dpas(code) else None


def has_dpas(code):
    """Whether machine code has an instruction of the matrix unit. One takes 16 bytes, or 8 if its bit 29 is set."""
    at = 0
    while at + 8 <= len(code):
        word = struct.unpack_from("<I", code, at)[0]
        if word & 0x7F == INTEL_DPAS:
            return True
        at += 8 if word >> 29 & 1 else 16
    return False
