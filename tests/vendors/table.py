"""The gate's reports as tables, for a terminal and in Markdown."""
import collections
import os

Row = collections.namedtuple("Row", "source kernel options items reports")  # reports: target -> Report

# where a network's time goes: listed with every choice of parameters
HOT = ("attention_gpu.cl", "attention_gpu_backward.cl", "conv_gpu.cl", "conv_weight_gradient_gpu.cl")


def make_rows(jobs, results):
    rows = {}
    for (_, source, options, kernels), reports in zip(jobs, results):
        for (target, kernel), report in reports.items():
            key = (os.path.basename(source), kernel, options)
            rows.setdefault(key, Row(*key, kernels[kernel], {})).reports[target] = report
    return [rows[key] for key in sorted(rows)]


def local_memory(row):
    return max((r.local for r in row.reports.values() if r.local is not None), default=0)


def cell(row, target):
    return row.reports[target].cell() if target in row.reports else "-"


def print_rows(rows, targets):
    print("registers (Intel: SIMD width) and occupancy; local memory in bytes")
    print(f"{'items':>5} {'local':>6}" + "".join(f" {t:>9}" for t in targets) + "  kernel")
    for row in rows:
        print(f"{row.items:>5} {local_memory(row):>6}" + "".join(f" {cell(row, t):>9}" for t in targets) + f"  {row.kernel} {row.options}")


def span(values):
    values = sorted(set(values), key=lambda v: int(v.lstrip("S")) if v.lstrip("S").isdigit() else 0)
    return values[0] if len(values) == 1 else f"{values[0]}-{values[-1].lstrip('S')}" if values else "-"


def summary_cell(rows, target):
    """Of all choices of one kernel's parameters."""
    reports = [row.reports[target] for row in rows if target in row.reports]
    if any(r.problem for r in reports):
        return "FAIL"
    registers, occupancies = span(r.registers for r in reports), [r.occupancy for r in reports if r.occupancy is not None]
    return f"{registers}, {min(occupancies)}%" if occupancies else registers


def markdown_table(heads, lines):
    return "\n".join("| " + " | ".join(str(field) for field in line) + " |" for line in [heads, ["---"] * len(heads)] + lines)


def written_by_hand(file):
    """What follows the tables in an earlier page: it is kept."""
    heading = "\n## Predictions\n"
    if not os.path.exists(file):
        return ""
    with open(file) as f:
        text = f.read()
    return text[text.index(heading) :] if heading in text else ""


def markdown(rows, targets, result, versions, reasons):
    kernels = collections.defaultdict(list)
    for row in rows:
        kernels[row.source, row.kernel].append(row)
    summary = [[source[: -len(".cl")], kernel, len(mine), span(str(row.items) for row in mine), max(local_memory(row) for row in mine)]
               + [summary_cell(mine, t) for t in targets] for (source, kernel), mine in kernels.items()]
    hot_targets = [t for t in targets if t != "spirv"]
    hot = [[row.kernel, row.options.replace("-D", ""), row.items, local_memory(row)] + [cell(row, t) for t in hot_targets]
           for row in rows if row.source in HOT]
    allowed = "".join(f"- {kernel}: {why}\n" for kernel, why in reasons.items()) or "None.\n"
    return f"""# What vendors' compilers make of the kernels

Nothing here ran on a GPU: these are offline compilers' reports, of every kernel that the gpu and generic tables choose on devices like theirs, with
every choice of parameters, activations in 32 and in 16 bits. What fails is said in tests/vendors/gate.py. Made by

    tests/vendors/gate.sh --table bench/VENDORS.md build/tests/list_kernels

{result} Compilers: {versions}. The column of a target: registers an item (AMD: vector registers; Intel: S and the SIMD width) and
occupancy, the part of a multiprocessor's threads that can be resident. A dash: no device like that chooses it. Local memory in bytes, the most.

## Every kernel

Least to most registers of all choices of parameters, and the least occupancy.

{markdown_table(["source", "kernel", "choices", "items", "local"] + targets, summary)}

## More than 128 registers with less than 25 % occupancy on NVIDIA

{allowed}
## Products and attention, each choice of parameters

{markdown_table(["kernel", "options", "items", "local"] + hot_targets, hot)}
"""
