"""What the model of GPUs (src/tune/prediction.c) has to know of the products' kernels: gate.sh --reports FILE writes FILE, which is embedded in the
program as src/tune/kernel_reports.txt.

A line a kernel: source, kernel, its options without -D; after a colon what holds for every device: items of a group, bytes of its local memory, and
the instruction mix of an item (mix.py), per product (`unit=fma`) or per matrix instruction (`unit=matrix:N`, N products an item); then a word a target: registers
(Intel: SIMD width) and, after a slash, the percentage of a multiprocessor's threads that can be resident; `spills` where the gate would refuse.
`made=` is a hash of what the line was made from, the compilers' versions included: lines for which it still holds are kept.
"""
import collections
import concurrent.futures
import hashlib
import os
import re
import sys
import tempfile

import gate
import matrix_units
import mix

PRODUCTS = re.compile(r"(attention|conv)_\w*(gpu|matrix)(_backward)?$")
TARGETS = ("sm_80", "sm_86", "sm_89", "sm_90", "gfx90a", "gfx1100", "tgllp", "dg2-g10")  # of the devices in src/tune/roofline.c
# alike to others, or of little time: the emulation; Ponte Vecchio's unit; bfloat16, as half; 4-channel ends of the network; attention's backward pass in two,
# but the matrix unit's, which has no other
LEFT_OUT = re.compile(r"MATRIX_UNIT=(1|10) |bf16|_VEC=1 |EIGHTS=0 |EXACT=. -DPASS=[12] ")
MATRIX_PRODUCTS = {2: "matrix:64", 4: "matrix:128", 6: "matrix:64", 8: "matrix:128"}
Launch = collections.namedtuple("Launch", "local groups numbers")
NUMBERS = {"other": 3, "special": 4, "local_bytes": 3, "global_bytes": 4, "rounds": 5, "waits": 5, "barriers": 5}


def triple(text):
    return tuple(int(n) for n in text.split(","))


def read_launches(folder):
    """(source, kernel, options) -> (largest launch, vendors)"""
    found = {}
    with open(os.path.join(folder, "launches.tsv")) as f:
        for line in f:
            vendor, source, kernel, options, local, groups, numbers = line.rstrip("\n").split("\t")
            if not PRODUCTS.match(source) or LEFT_OUT.search(options + " "):
                continue
            launch = Launch(triple(local), triple(groups), [int(n) for n in numbers.split(",")])
            size = launch.groups[0] * launch.groups[1] * launch.groups[2]
            best, vendors = found.get((source, kernel, options), ((-1, None), set()))
            found[source, kernel, options] = max(best, (size, launch)), vendors | {vendor}
    return {key: (best[1], vendors) for key, (best, vendors) in found.items()}


def mix_of(job):
    folder, (source, kernel, options), launch = job
    with tempfile.TemporaryDirectory() as place:
        flags = ["-target", "nvptx64--nvidiacl", "-include", os.path.join(gate.HERE, "nv_builtins.h"), "-Xclang", "-mlink-builtin-bitcode", "-Xclang",
                 gate.NVIDIA_LIBRARY, "-march=sm_80", "-include", os.path.join(gate.HERE, "mix_builtins.h")]
        code, log = gate.run(gate.CLANG + flags + [o for o in options.split() if o.startswith("-D")] + ["-S", "-o", "k.ptx", os.path.join(folder, source + ".cl")], place)
        if code:
            raise RuntimeError(gate.first_error(log))
        with open(os.path.join(place, "k.ptx")) as f:
            return mix.mix(mix.functions(f.read())[kernel], launch.numbers, launch.local, launch.groups)


def number(value, digits):
    return f"{value:.{digits}f}".rstrip("0").rstrip(".")


def made_from(folder, key, launch, vendors, versions):
    with open(os.path.join(folder, key[0] + ".cl")) as f:
        parts = (f.read(), key, launch, sorted(vendors), versions, TARGETS)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def kept_lines(file):
    """made -> line, of an earlier table"""
    found = {}
    if os.path.exists(file):
        with open(file) as f:
            for line in f:
                made = re.search(r" made=(\w+)", line)
                if made:
                    found[made[1]] = line.rstrip("\n")
    return found


def line_of(key, launch, counts, reports, made):
    source, kernel, options = key
    unit = MATRIX_PRODUCTS.get(matrix_units.unit_of(options), "fma")
    local = max((r.local or 0 for r in reports.values()), default=0)
    words = [source, kernel, options.replace("-D", ""), ":", f"items={launch.local[0] * launch.local[1] * launch.local[2]}", f"local={local}",
             f"unit={unit}"]
    words += [f"{field}={number(counts[field], digits)}" for field, digits in NUMBERS.items()]
    for target in gate.TARGETS:
        r = reports.get(target)
        if r and target != gate.SPIRV:
            words.append(f"{target}=spills" if r.problem else f"{target}={r.registers.lstrip('S')}/{r.occupancy}")
    words.append(f"made={made}")
    return " ".join(words)


def compile_all(folder, launches):
    """(source, kernel, options) -> target -> gate.Report"""
    kernels, reports = collections.defaultdict(dict), collections.defaultdict(dict)
    for (source, kernel, options), (launch, vendors) in launches.items():
        for v in vendors:
            kernels[v, source, options][kernel] = launch.local[0] * launch.local[1] * launch.local[2]
    jobs = [(v, os.path.join(folder, source + ".cl"), options, k) for (v, source, options), k in sorted(kernels.items())]
    runs = gate.make_runs(jobs)
    for (_, source, options, _), result in zip([job for run in runs for job, _ in run], gate.compile_runs(runs)):
        for (target, kernel), report in result.items():
            reports[os.path.basename(source)[: -len(".cl")], kernel, options][target] = report
    return reports


def write(file, versions, lines):
    with open(file, "w") as f:
        f.write("# What vendors' compilers report of the products' kernels, for the model of GPUs. Made by\n"
                f"#     tests/vendors/gate.sh --reports src/tune/kernel_reports.txt build/tests/list_kernels\n# {versions}\n")
        f.write("\n".join(lines) + "\n")


def main():
    folder, file = sys.argv[1:]
    missing = gate.missing_tools()
    if any(v in missing for v in ("nvidia", "amd", "intel")) or not gate.ptxas():
        sys.exit(f"reports need all compilers; missing: {missing or 'ptxas'}")
    for devices in (gate.NVIDIA, gate.AMD, gate.INTEL):
        for target in set(devices).difference(TARGETS):
            del devices[target]
    gate.VENDORS.update(nvidia=tuple(gate.NVIDIA), amd=tuple(gate.AMD), intel=tuple(gate.INTEL))
    folder, versions = os.path.abspath(folder), gate.tool_versions()
    launches = read_launches(folder)
    made = {key: made_from(folder, key, launch, vendors, versions) for key, (launch, vendors) in launches.items()}
    kept = kept_lines(file)
    new = [key for key in launches if made[key] not in kept]
    # a source after the other, so that what was made before an interruption is kept
    for source in sorted({key[0] for key in new}, key=lambda name: ("matrix" not in name, name)):
        keys = sorted(key for key in new if key[0] == source)
        reports = compile_all(folder, {key: launches[key] for key in keys})
        with concurrent.futures.ProcessPoolExecutor() as pool:
            mixes = pool.map(mix_of, [(folder, key, launches[key][0]) for key in keys])
            kept.update((made[key], line_of(key, launches[key][0], counts, reports[key], made[key])) for key, counts in zip(keys, mixes))
        write(file, versions, [kept[made[key]] for key in sorted(launches) if made[key] in kept])
        print(f"{source}: {len(keys)} kernels anew", flush=True)


if __name__ == "__main__":
    main()
