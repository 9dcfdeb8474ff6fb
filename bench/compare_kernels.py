"""Linear layers, 3x3 convolutions and attention, forward: `idm bench` against PyTorch at the shapes of the published network, 2 threads each.

    python3 bench/compare_kernels.py [--idm build/idm] [--rounds 3] [--size 256] [--seconds 40]        (apt-get install python3-torch)

Each round measures all rows of one program, then of the other; --seconds is idm's part of a round. Prints medians over the rounds, GFLOP/s, and the ratio. That the
results are equal is what `idm selftest` and the tests are for. Attention needs a PyTorch that has it fused (2.x).
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import time

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)
os.environ["GOMP_SPINCOUNT"] = "0"
os.environ.setdefault("POCL_MAX_PTHREAD_COUNT", "2")

import torch

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--idm", default="build/idm")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--size", type=int, default=256)
parser.add_argument("--seconds", type=float, default=40)
options = parser.parse_args()
torch.set_num_threads(2)


def measure_idm():
    """Rows of `idm bench`, by operation and shape."""
    command = [options.idm, "bench", "--only", "ops", "--json", "-q", "--size", str(options.size), "--seconds", str(options.seconds)]
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return {(row["name"], row["shape"]): row for row in report["ops"] if "seconds" in row}


def pytorch_of(name, shape):
    """A function that does the same in PyTorch, or None."""
    layer = re.fullmatch(r"(\d+)x(\d+), (\d+) -> (\d+)", shape)
    tokens = re.fullmatch(r"(\d+) tokens, (\d+) heads of (\d+)", shape)
    if name == "linear" and layer:
        height, width, c, out = map(int, layer.groups())
        x, w, bias = torch.randn(height * width, c), torch.randn(out, c), torch.randn(out)
        return lambda: torch.nn.functional.linear(x, w, bias)
    if name == "conv3x3" and layer:
        height, width, c, out = map(int, layer.groups())
        x, w, bias = torch.randn(1, c, height, width), torch.randn(out, c, 3, 3), torch.randn(out)
        return lambda: torch.nn.functional.conv2d(x, w, bias, padding=1)
    if name == "attention" and tokens and hasattr(torch.nn.functional, "scaled_dot_product_attention"):
        count, heads, size = map(int, tokens.groups())
        q, k, v = (torch.randn(1, heads, count, size) for _ in range(3))
        return lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v)
    return None


def measure_pytorch(function):
    with torch.no_grad():
        function()
        begin = time.perf_counter()
        function()
        return time.perf_counter() - begin


idm, pytorch, flops = {}, {}, {}
for _ in range(options.rounds):
    for key, row in measure_idm().items():
        function = pytorch_of(*key)
        if function:
            idm.setdefault(key, []).append(row["seconds"])
            pytorch.setdefault(key, []).append(measure_pytorch(function))
            flops[key] = row["flops"]
    time.sleep(0.3)  # PyTorch's threads spin on for a while
for key, times in idm.items():
    ours, theirs = statistics.median(times), statistics.median(pytorch[key])
    print(f"{key[0]:10s} {key[1]:28s} PyTorch {flops[key] / theirs * 1e-9:5.0f}, idm {flops[key] / ours * 1e-9:5.0f} GFLOP/s, ratio {theirs / ours:.2f}", flush=True)
