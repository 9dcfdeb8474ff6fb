"""Compiles kernels for GPUs that are not here, and fails on what would fail or crawl there. Run by gate.sh.

Input: a folder made by list_kernels (kernels.tsv and the sources). Every distinct (source, options) is compiled for the vendors whose devices
choose it, and for SPIR-V. Each (kernel, options, target) is one check. It fails on: a compile error, a function that no library has, spilled
registers or scratch memory, local memory above the vendor's limit, SIMD8 on Intel in groups of more than 8 items (too many registers for more;
a matrix unit of sub-groups of 8 has it), a kernel for a matrix unit without its instruction, on NVIDIA more than 128 registers with less than 25 %
occupancy, unless REASONS says why.

A compiler's start costs more than most kernels, so a run compiles many programs at once (join.py). Of each only the chosen kernels, but for
every source's first: of the others a front end alone sees all, for errors and local memory, which would keep a driver from building the program.
What fails among others is compiled again as a driver would, whole and by itself, and only that counts.

Printed per kernel and target: registers an item (Intel: the SIMD width), and occupancy: threads of the multiprocessor (AMD: of the SIMD, as
the compiler says) that can be resident, from registers, local memory and group size. --table FILE also writes them as Markdown.
"""
import argparse
import atexit
import collections
import concurrent.futures
import datetime
import functools
import glob
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import typing

import elf
import join
import matrix_units
import table

HERE = os.path.dirname(os.path.abspath(__file__))
KIB = 1024
CLANG = ["clang-19", "-x", "cl", "-cl-std=CL1.2", "-O3", "-Xclang", "-finclude-default-header"]
AMD_LIBRARY = "/usr/lib/x86_64-linux-gnu/amdgcn/bitcode"
NVIDIA_LIBRARY = "/usr/lib/clc/nvptx64--nvidiacl.bc"

# warps, groups and KiB of shared memory of a multiprocessor
NVIDIA = {"sm_80": (64, 32, 164), "sm_86": (48, 16, 100), "sm_89": (48, 24, 100), "sm_90": (64, 32, 228)}
AMD = {"gfx906": 10, "gfx90a": 8, "gfx1030": 16, "gfx1100": 16}  # waves of a SIMD
# hardware threads and KiB of local memory of a subslice
INTEL = {"tgllp": (16 * 7, 128), "adl-p": (16 * 7, 128), "dg2-g10": (16 * 8, 128), "pvc": (8 * 8, 128)}
SPIRV = "spirv"
VENDORS = {"nvidia": tuple(NVIDIA), "amd": tuple(AMD), "intel": tuple(INTEL), SPIRV: (SPIRV,)}
TARGETS = [target for targets in VENDORS.values() for target in targets]
LOCAL_LIMIT = {"nvidia": 48 * KIB, "amd": 64 * KIB, "intel": 64 * KIB}

# NVIDIA kernels that may take more than 128 registers with less than 25 % of the threads resident: kernel -> why
REASONS = {
    "attention_backward": "Its tiles take 10 to 41 KB of local memory a group of 64 or 128 items, which at heads of 40 and 80 leaves room for 12 to 25 % "
                          "on sm_80, 86 and 89 and 18 to 37 % on sm_90 whatever the registers, of which these cost up to 7 points, on sm_90 up to half. Held to "
                          "128 (-maxrregcount), three choices at heads of 40 and 80 spilled 0 to 4 bytes on sm_80. To be measured on a card. "
                          "On the matrix unit two choices of the keys' pass pass 128 on sm_90 alone: 130 at heads of 40, 168 at 80, with 18 %, where sm_80 "
                          "and 86 compile them to 126 and 128 without spills.",
}


class Report(typing.NamedTuple):
    """What one compile tells of one kernel. problem: None, or why it fails. registers: or what is known instead. occupancy: per cent."""

    problem: typing.Optional[str]
    registers: str = ""
    occupancy: typing.Optional[int] = None
    local: typing.Optional[int] = None

    def cell(self):
        if self.problem:
            return "FAIL"
        return self.registers if self.occupancy is None else f"{self.registers} {self.occupancy}%"


def ptxas():
    return shutil.which("ptxas") or shutil.which("/usr/local/cuda/bin/ptxas")


def missing_tools():
    """The vendors that cannot be compiled for here, with what is missing."""
    need = {
        "nvidia": ["clang-19", NVIDIA_LIBRARY],
        "amd": ["clang-19", "ld.lld-19", AMD_LIBRARY],
        "intel": ["ocloc"],
        SPIRV: ["clang-15", "llvm-spirv-15", "spirv-val"],
    }
    missing = {}
    for vendor, tools in need.items():
        absent = [t for t in tools if not (os.path.exists(t) if t.startswith("/") else shutil.which(t))]
        if absent:
            missing[vendor] = ", ".join(absent)
    return missing


def run(command, folder):
    """(exit status, everything printed)"""
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=240)
    return done.returncode, done.stdout


def first_error(log):
    lines = [line.strip() for line in log.splitlines() if re.search(r"error|fatal|undefined|unresolved", line, re.I)]
    return (lines or [line.strip() for line in log.splitlines() if line.strip()] or ["no message"])[0][:200]


def percent(resident, most):
    return 100 * resident // most


def local_problem(vendor, size):
    return f"{size} bytes of local memory, {LOCAL_LIMIT[vendor]} is the limit" if size > LOCAL_LIMIT[vendor] else None


def targets_of(vendor, options):
    unit = matrix_units.unit_of(options)
    return [t for t in VENDORS[vendor] if vendor == SPIRV or matrix_units.runs_on(unit, t)]


def without_instruction(options, texts, kernels):
    """texts: kernel -> its assembly. A report for each kernel of a matrix unit that does not use it."""
    problems = {k: matrix_units.assembly_problem(matrix_units.unit_of(options), texts.get(k, "")) for k in kernels}
    return {k: Report(problem) for k, problem in problems.items() if problem}


def shared_options(options):
    """What programs need to have in common to be compiled as one: what is no macro of the source, and the unit."""
    return " ".join(o for o in options.split() if not o.startswith("-D") or matrix_units.unit_of(o) is not None)


# ---- NVIDIA


def nvidia_occupancy(target, registers, local, items):
    warps_most, groups_most, shared = NVIDIA[target]
    warps = -(-items // 32)
    per_warp = -(-registers * 32 // 256) * 256
    by_registers = 65536 // per_warp // warps
    by_local = shared * KIB // (local + KIB)
    return percent(min(by_registers, by_local, groups_most, warps_most // warps) * warps, warps_most)


def nvidia_kernels(log):
    """kernel -> (registers, bytes of local memory, bytes spilled or on the stack) from ptxas -v"""
    found = {}
    for part in re.split(r"Compiling entry function '", log)[1:]:
        name = part.split("'")[0]
        numbers = [re.search(p, part) for p in (r"Used (\d+) registers", r"(\d+) bytes smem")]
        spilled = sum(int(n) for n in re.findall(r"(\d+) bytes (?:stack frame|spill stores|spill loads)", part))
        found[name] = (int(numbers[0][1]) if numbers[0] else 0, int(numbers[1][1]) if numbers[1] else 0, spilled)
    return found


def ptx_report(ptx, kernel):
    """What is known without ptxas: local memory, one variable each, named after its kernel."""
    local = sum(int(n) for n in re.findall(rf"\.shared .*\b{kernel}_\S*\[(\d+)\]", ptx))
    return Report(local_problem("nvidia", local), "ptx", None, local)


def crowding_problem(kernel, registers, occupancy):
    return f"{registers} registers with {occupancy}% occupancy" if registers > 128 and occupancy < 25 and kernel not in REASONS else None


def compile_nvidia(source, options, kernels, folder):
    reports = {}
    flags = ["-target", "nvptx64--nvidiacl", "-include", os.path.join(HERE, "nv_builtins.h"), "-Xclang", "-mlink-builtin-bitcode", "-Xclang",
             NVIDIA_LIBRARY]
    # the same PTX for all: clang's differs in its .target alone
    targets = targets_of("nvidia", options)
    code, log = run(CLANG + flags + [f"-march={min(NVIDIA)}"] + options + ["-S", "-o", "k.ptx", source], folder)
    if code:
        return {(target, k): Report(first_error(log)) for target in targets for k in kernels}
    with open(os.path.join(folder, "k.ptx")) as f:
        ptx = f.read()
    without = without_instruction(options, dict(re.findall(r"\.entry (\w+)\((.*?)\n}", ptx, re.S)), kernels)
    unresolved = re.findall(r"\.extern \.func.*?(\w+)\s*\n?\(", ptx, re.S)
    if unresolved:
        return {(target, k): Report(f"unresolved: {', '.join(unresolved)}") for target in targets for k in kernels}
    if not ptxas():
        return {(target, k): without.get(k) or ptx_report(ptx, k) for target in targets for k in kernels}
    for target in targets:
        code, log = run([ptxas(), f"-arch={target}", "-v", "-o", "k.cubin", "k.ptx"], folder)
        found = nvidia_kernels(log)
        for k, items in kernels.items():
            if code or k not in found:
                reports[target, k] = Report(first_error(log))
                continue
            registers, local, spilled = found[k]
            occupancy = nvidia_occupancy(target, registers, local, items)
            problem = f"{spilled} bytes of spills and stack" if spilled else local_problem("nvidia", local)
            problem = problem or crowding_problem(re.sub(r"_v\d+$", "", k), registers, occupancy)
            reports[target, k] = without.get(k) or Report(problem, str(registers), occupancy, local)
    return reports


# ---- AMD


@functools.lru_cache(maxsize=None)
def amd_library():
    """The folder of AMD's device library; where that is older than gfx1100, one in which gfx1036 stands for it."""
    wanted = "oclc_isa_version_1100.bc"
    if os.path.exists(os.path.join(AMD_LIBRARY, wanted)):
        return AMD_LIBRARY
    folder = tempfile.mkdtemp(prefix="idm-amd-library-")
    atexit.register(shutil.rmtree, folder)
    for file in os.listdir(AMD_LIBRARY):
        os.symlink(os.path.join(AMD_LIBRARY, file), os.path.join(folder, file))
    os.symlink(os.path.join(AMD_LIBRARY, "oclc_isa_version_1036.bc"), os.path.join(folder, wanted))
    return folder


def amd_kernels(log):
    """kernel -> {what: number} from -Rpass-analysis=kernel-resource-usage"""
    found, current = {}, None
    for line in log.splitlines():
        m = re.search(r"remark: .*?(\w[^:]*): (\S+) \[-Rpass", line)
        if not m:
            continue
        if m[1].endswith("Function Name"):
            current = found.setdefault(m[2], {})
        elif current is not None and m[2].isdigit():
            current[re.sub(r" \[.*", "", m[1]).strip()] = int(m[2])
    return found


def compile_amd(source, options, kernels, folder):
    reports = {}
    flags = ["-target", "amdgcn-amd-amdhsa", f"--rocm-device-lib-path={amd_library()}", "-Rpass-analysis=kernel-resource-usage"]
    for target in targets_of("amd", options):
        clang = CLANG[:1] + flags[:2] + [f"-mcpu={target}"]
        code, log = run(CLANG + flags + [f"-mcpu={target}"] + options + ["-S", "-o", "k.s", source], folder)
        found, without = amd_kernels(log), {}
        if not code:
            with open(os.path.join(folder, "k.s")) as f:
                without = without_instruction(options, dict(re.findall(r"^(\w+):\s*; @\1\n(.*?)^\.Lfunc_end", f.read(), re.S | re.M)), kernels)
            code, log = run(clang + ["-c", "-o", "k.o", "k.s"], folder)
        if not code:
            code, link_log = run(["ld.lld-19", "-shared", "--no-undefined", "-o", "k.co", "k.o"], folder)
            log = link_log if code else log
        for k in kernels:
            if code or k not in found:
                reports[target, k] = Report(first_error(log))
                continue
            n = found[k]
            bad = {what: n.get(what, 0) for what in ("ScratchSize", "VGPRs Spill", "SGPRs Spill") if n.get(what, 0)}
            local = n.get("LDS Size", 0)
            problem = ", ".join(f"{what} {count}" for what, count in bad.items()) or local_problem("amd", local)
            reports[target, k] = without.get(k) or Report(problem, str(n["VGPRs"] + n.get("AGPRs", 0)), percent(n["Occupancy"], AMD[target]), local)
    return reports


# ---- Intel


def intel_kernels(info):
    """kernel -> (SIMD width, bytes of local memory, whether it uses private memory, registers) from .ze_info"""
    found = {}
    for part in re.split(r"\n  - name: +", info.split("\nkernels_misc_info:")[0])[1:]:
        simd, local, registers = (re.search(what + r": +(\d+)", part) for what in ("simd_size", "slm_size", "grf_count"))
        found[part.split("\n")[0].strip()] = (int(simd[1]), int(local[1]) if local else 0, "per_thread_memory_buffers:" in part,
                                              int(registers[1]) if registers else 128)
    return found


def intel_occupancy(target, simd, local, items, registers):
    """Of the threads with 16 items or more: one with 8 counts half, and with 256 registers there are half as many."""
    threads_most, shared = INTEL[target]
    threads = -(-items // simd)
    granted = KIB
    while granted < local:
        granted *= 2
    groups = threads_most * 128 // registers // threads
    if local:
        groups = min(groups, shared * KIB // granted)
    return percent(groups * threads * min(simd, 16), threads_most * 16)


def compile_intel(source, options, kernels, folder):
    reports = {}
    unit = matrix_units.unit_of(options)
    for target in targets_of("intel", options):
        out = os.path.join(folder, target)
        code, log = run(["ocloc", "compile", "-file", source, "-device", target, "-options", " ".join(["-cl-std=CL1.2"] + options),
                         "-internal_options", "-ze-allow-zebin -ze-enable-zebin", "-out_dir", out], folder)
        binaries = glob.glob(os.path.join(out, "*.bin"))
        sections = elf.sections_of(binaries[0]) if binaries else {}
        found = intel_kernels(sections.get(".ze_info", b"").decode(errors="replace"))
        undefined = elf.undefined_symbols(sections)
        for k, items in kernels.items():
            if code or "INVALID opcode" in log or k not in found:
                reports[target, k] = Report(first_error(log))
                continue
            simd, local, private, registers = found[k]
            problem = local_problem("intel", local)
            spilled = re.search(rf"kernel {k}\s.*?(spilled around \d+)", log)
            if undefined:
                problem = f"unresolved: {', '.join(undefined)}"
            elif spilled or private:
                problem = spilled[1] if spilled else "scratch memory"
            elif simd < 16 and items > 8 and unit != 8:  # which works for sub-groups of 8
                problem = f"SIMD{simd}"
            else:
                problem = problem or matrix_units.intel_problem(unit, sections.get(f".text.{k}", b""))
            reports[target, k] = Report(problem, f"S{simd}", intel_occupancy(target, simd, local, items, registers), local)
    return reports


# ---- SPIR-V


def compile_spirv(source, options, kernels, folder):
    steps = [["clang-15", "-x", "cl", "-cl-std=CL1.2", "-target", "spir64", "-O0", "-Xclang", "-finclude-default-header", "-emit-llvm", "-c"]
             + options + ["-o", "k.bc", source],
             ["llvm-spirv-15", "--spirv-max-version=1.2", "-o", "k.spv", "k.bc"],
             ["spirv-val", "--target-env", "opencl1.2", "k.spv"]]
    for step in steps:
        code, log = run(step, folder)
        if code:
            return {(SPIRV, k): Report(first_error(log)) for k in kernels}
    return {(SPIRV, k): Report(None, "ok") for k in kernels}


COMPILE = {"nvidia": compile_nvidia, "amd": compile_amd, "intel": compile_intel, SPIRV: compile_spirv}


def compile_job(job):
    """job: (vendor, path of the source, options, {kernel: items per group}) -> {(target, kernel): Report}"""
    vendor, source, options, kernels = job
    with tempfile.TemporaryDirectory() as folder:
        try:
            return COMPILE[vendor](source, options.split(), kernels, folder)
        except subprocess.TimeoutExpired:
            return {(target, k): Report("the compiler took over 240 s") for target in targets_of(vendor, options) for k in kernels}


def local_bytes(ir):
    """kernel -> bytes of its local memory, from LLVM's text"""
    WIDTH = {"half": 2, "i16": 2, "i32": 4, "float": 4, "i64": 8, "double": 8, "ptr": 8}
    found = collections.Counter()
    for kernel, kind in re.findall(r"^@(\w+)\.\S+ = .*?addrspace\(3\) global ([^,]*) undef", ir, re.M):
        found[kernel] += WIDTH[re.search(r"[a-z]\w+", kind)[0]] * math.prod(int(count) for count in re.findall(r"(\d+) x ", kind))
    return found


def front_end(vendor, text, options, folder):
    """(whether a joined program compiles, {number of its part: problem} of local memory), of all its kernels."""
    source = os.path.join(folder, "whole.cl")
    with open(source, "w") as f:
        f.write(text)
    target = ["-target", "spir64"]
    if vendor == "amd":  # whose matrix units are functions of the compiler
        target = ["-target", "amdgcn-amd-amdhsa", f"-mcpu={targets_of(vendor, options)[0]}", "-nogpulib"]
    code, log = run(["clang-19", "-x", "cl", "-cl-std=CL1.2", "-O0"] + target + ["-S", "-emit-llvm", "-o", "whole.ll", source], folder)
    if code:
        return False, {}
    with open(os.path.join(folder, "whole.ll")) as f:
        sizes = local_bytes(f.read())
    large = {join.number(kernel): local_problem(vendor, size) for kernel, size in sizes.items() if local_problem(vendor, size)}
    return True, large


def compile_joined(jobs, whole):
    """Jobs of one vendor with the same shared_options, and for each whether all kernels of its source are compiled -> what compile_job says of each."""
    if len(jobs) == 1 and whole[0]:
        return [compile_job(jobs[0])]
    vendor, shared, programs = jobs[0][0], shared_options(jobs[0][2]), []
    for _, source, options, _ in jobs:
        with open(source) as f:
            programs.append((f.read(), options.split()))
    kernels = {k + join.suffix(i): items for i, job in enumerate(jobs) for k, items in job[3].items()}
    with tempfile.TemporaryDirectory() as folder:
        compiles, large = (True, {}) if all(whole) else front_end(vendor, join.join(programs), shared, folder)
        if not compiles:
            return [compile_job(job) for job in jobs]
        chosen = [(text if every else join.without_other_kernels(text, job[3]), options)
                  for (text, options), every, job in zip(programs, whole, jobs)]
        source = os.path.join(folder, "joined.cl")
        with open(source, "w") as f:
            f.write(join.join(chosen))
        reports = compile_job((vendor, source, shared, kernels))
    results = []
    for i, job in enumerate(jobs):
        result = {(target, k): reports[target, k + join.suffix(i)] for target in targets_of(vendor, shared) for k in job[3]}
        if i in large or any(r.problem for r in result.values()):
            result = compile_job(job)
        if i in large:
            result = {key: r if r.problem else Report(f"its program has a kernel with {large[i]}") for key, r in result.items()}
        results.append(result)
    return results


def compile_runs(runs):
    """runs: lists of (job, whether whole). The reports of each run's jobs, one list after the other."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return [report for reports in pool.map(lambda run: compile_joined(*zip(*run)), runs) for report in reports]


def make_runs(jobs):
    JOINED = 24
    met, groups = set(), collections.defaultdict(list)
    for job in jobs:
        vendor, source, options = job[:3]
        group = vendor, shared_options(options)
        whole = vendor == SPIRV or (group, source) not in met or not shutil.which("clang-19")
        met.add((group, source))
        groups[group].append((job, whole))
    # neighbours cost alike: a run takes them from all over, so that none is long
    return [mine[i :: -(-len(mine) // JOINED)] for mine in groups.values() for i in range(-(-len(mine) // JOINED))]


# ---- the gate


def read_jobs(folder, missing, only):
    """One job per vendor and program, from those lines of kernels.tsv that have all words of `only`."""
    kernels = collections.defaultdict(dict)
    with open(os.path.join(folder, "kernels.tsv")) as f:
        for line in f:
            if not all(word in line for word in only):
                continue
            vendor, file, kernel, options, local = line.rstrip("\n").split("\t")
            x, y, z = (int(n) for n in local.split(","))
            # a matrix unit's instruction is one vendor's; its emulation is for tests, on CPUs
            unit = matrix_units.unit_of(options)
            for v in (vendor, SPIRV) if unit is None else (SPIRV,) if unit % 2 else (vendor,):
                if v not in missing:
                    kernels[v, file, options][kernel] = x * y * z
    return [(vendor, os.path.join(os.path.abspath(folder), file + ".cl"), options, k) for (vendor, file, options), k in sorted(kernels.items())]


def check_kernels(folder, missing, only, table_file):
    jobs = read_jobs(folder, missing, only)
    runs = make_runs(jobs)
    jobs = [job for run in runs for job, _ in run]
    results = compile_runs(runs)
    rows = table.make_rows(jobs, results)
    targets = [t for t in TARGETS if any(t in row.reports for row in rows)]
    table.print_rows(rows, targets)
    passed = failed = 0
    for (_, source, options, _), reports in zip(jobs, results):
        for (target, kernel), r in sorted(reports.items()):
            passed += r.problem is None
            failed += r.problem is not None
            if r.problem:
                print(f"FAILED {target}: {os.path.basename(source)} {kernel} {options}: {r.problem}")
    if table_file:
        kept = table.written_by_hand(table_file)
        with open(table_file, "w") as f:
            f.write(table.markdown(rows, targets, f"{datetime.date.today()}: {passed} passed, {failed} failed.", tool_versions(), REASONS) + kept)
    return passed, failed


def tool_versions():
    commands = {"ptxas": [ptxas() or "ptxas", "--version"], "clang-19": ["clang-19", "--version"],
                "ocloc": ["dpkg-query", "-W", "-f", "version ${Version}", "intel-opencl-icd"]}
    found = []
    for name, command in commands.items():
        if shutil.which(command[0]):
            log = run(command, tempfile.gettempdir())[1]
            version = re.search(r"V(\d[\w.]*)|version (\d[\w.]*)|(\d+\.\d[\w.]*)", log)
            found.append(name + (" " + next(v for v in version.groups() if v) if version else ""))
    return ", ".join(found)


def check_planted(missing):
    """The gate must find what is planted: each (defect, target) that goes unnoticed is a failure of the gate itself."""
    # neighbour, in a run with others, is chosen, and the kernel beside it, which only a front end sees, is too large
    planted = [[("spill", "spill", "", 1024)], [("crowded", "crowded", "", 256)], [("unresolved", "unresolved", "", 64)],
               [("local", "local_memory", "", 64), ("local", "neighbour", "-DSECOND=1", 64)]]
    planted += [[("plain", "plain", f"-DMATRIX_UNIT={unit}", 64)] for unit in matrix_units.TARGETS]
    cause = {"spill": "spill", "crowded": "occupancy", "unresolved": "unresolved|undefined", "local": "local memory|shared data",
             "plain": "no instruction"}
    runs = [[((vendor, os.path.join(HERE, "planted", file + ".cl"), options, {kernel: items}), i == 0)
             for i, (file, kernel, options, items) in enumerate(run)]
            for vendor in ("nvidia", "amd", "intel") if vendor not in missing for run in planted
            if (vendor == "nvidia" or run[0][0] != "crowded") and targets_of(vendor, run[0][2])]
    jobs = [job for run in runs for job, _ in run]
    passed = failed = 0
    for (vendor, source, _, _), reports in zip(jobs, compile_runs(runs)):
        for (target, kernel), r in reports.items():
            defect = os.path.basename(source)[: -len(".cl")]
            if vendor == "nvidia" and not ptxas() and defect in ("spill", "crowded"):
                continue
            caught = r.problem is not None and re.search(cause[defect], r.problem, re.I) is not None
            passed += caught
            failed += not caught
            print(f"{'caught' if caught else 'FAILED: not caught'} {target}: planted {defect}, {kernel}: {r.problem}")
    return passed, failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", help="made by list_kernels; without it only the planted defects are compiled")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT",
                        help="only kernels whose vendor, source, name and options, as in kernels.tsv, have this text, or all of several")
    parser.add_argument("--table", metavar="FILE.md", help="also write the table as Markdown")
    arguments = parser.parse_args()
    folder = arguments.folder
    missing = missing_tools()
    for vendor, tools in missing.items():
        print(f"not compiled for {vendor}: {tools} not installed")
    if "nvidia" not in missing and not ptxas():
        print("no ptxas (NVIDIA's CUDA toolkit): PTX is made, but NVIDIA's registers and spills are not checked")
    passed, failed = check_planted(missing)
    if folder:
        more = check_kernels(folder, missing, arguments.only, arguments.table)
        passed, failed = passed + more[0], failed + more[1]
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
