"""Linear layers and 3x3 convolutions: our CPU kernels through OpenCL against PyTorch, interleaved in one run, 2 threads each, at the shapes of the published network.

    /usr/bin/python3 bench/compare_kernels.py [--rounds 7]        (apt-get install python3-pyopencl python3-torch)

Launches cl/conv_cpu.cl as src/ops/conv_cpu.c does (weights already in panels). Prints medians, GFLOP/s, the ratio, and the relative difference of the results.
"""
import argparse
import os
import pathlib
import re
import statistics
import time

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)
os.environ["GOMP_SPINCOUNT"] = "0"
os.environ.setdefault("POCL_MAX_PTHREAD_COUNT", "2")

import numpy as np
import pyopencl as cl
import torch

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--rounds", type=int, default=7)
rounds = parser.parse_args().rounds
torch.set_num_threads(2)

folder = pathlib.Path(__file__).resolve().parent.parent / "cl"
source = re.sub(r'#include "(.*)"', lambda m: (folder / m[1]).read_text(), (folder / "conv_cpu.cl").read_text())
context = cl.Context([d for p in cl.get_platforms() for d in p.get_devices(cl.device_type.CPU)][:1])
queue = cl.CommandQueue(context)

# height, width, in, out, taps; tile as conv_cpu_tile chooses it for these widths
SHAPES = [(128, 128, 320, 320, 1), (64, 64, 640, 640, 1), (128, 128, 320, 2560, 1), (128, 128, 320, 320, 9), (64, 64, 640, 640, 9), (32, 32, 640, 640, 9)]
ROWS, VECTORS, PANEL_CACHE = 5, 5, 640 << 10
PANEL = 16 * VECTORS


def ceil_div(a, b):
    return -(-a // b)


def ours(x, weight, height, width, c, out, taps):
    """A function that runs the kernel once, and the array it writes."""
    kernel = cl.Program(context, source).build(options=[f"-cl-std=CL1.2 -DTAPS={taps} -DTILE_ROWS={ROWS} -DTILE_VECS={VECTORS}"]).conv_cpu
    panels = np.ascontiguousarray(weight.reshape(taps, c, out // PANEL, PANEL).transpose(2, 0, 1, 3))
    buffer = lambda a: cl.Buffer(context, cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR, hostbuf=a)
    zeros, y = buffer(np.zeros(c, np.float32)), np.empty((height * width, out), np.float32)
    target = buffer(y)
    tap_bytes, pixels, count = c * PANEL * 4, height * width, out // PANEL
    per_pass = taps if taps == 1 or 9 * tap_bytes <= PANEL_CACHE else 3 if 3 * tap_bytes <= PANEL_CACHE else 1
    block = ceil_div(min(240, ceil_div(pixels, ceil_div(32, count))), ROWS) * ROWS
    h, w = (height, width) if taps == 9 else (1, pixels)
    start, i = np.uint64(0), np.int32
    arguments = [buffer(x), start, buffer(panels), start, zeros, start] + [zeros, start] * 4 + [i(0), target, start]
    arguments += [i(v) for v in (c, out, pixels, block, h, w, h, w, 1, 0, 0, per_pass)]

    def run():
        kernel(queue, (count, ceil_div(pixels, block)), (1, 1), *arguments)
        queue.finish()

    def result():
        cl.enqueue_copy(queue, y, target)
        return y

    return run, result


for height, width, c, out, taps in SHAPES:
    random = np.random.default_rng(0)
    x = random.standard_normal((height * width, c), dtype=np.float32)
    weight = random.standard_normal((taps * c, out), dtype=np.float32) / np.float32(np.sqrt(taps * c))
    run, result = ours(x, weight, height, width, c, out, taps)
    if taps == 1:
        tx, tw, ty = torch.from_numpy(x), torch.from_numpy(weight), torch.empty(height * width, out)
        pytorch = lambda: torch.mm(tx, tw, out=ty)
    else:
        tx = torch.from_numpy(x.reshape(1, height, width, c).transpose(0, 3, 1, 2).copy())
        tw = torch.from_numpy(weight.reshape(3, 3, c, out).transpose(3, 2, 0, 1).copy())
        pytorch = lambda: torch.nn.functional.conv2d(tx, tw, padding=1)
    times = {"pytorch": [], "idm": []}
    for _ in range(rounds):
        for name, function in (("pytorch", pytorch), ("idm", run)):
            time.sleep(0.3)  # PyTorch's threads spin on for a while
            function()
            begin = time.perf_counter()
            value = function()
            times[name].append(time.perf_counter() - begin)
            if name == "pytorch":
                expected = value
    expected = expected.numpy() if taps == 1 else expected[0].permute(1, 2, 0).reshape(height * width, out).numpy()
    median, flops = {k: statistics.median(v) for k, v in times.items()}, 2 * height * width * c * out * taps
    kind = "linear" if taps == 1 else "conv 3x3"
    print(f"{kind:8s} {height:3d} x {width:3d}, {c:4d} -> {out:4d}: PyTorch {flops / median['pytorch'] * 1e-9:4.0f}, idm {flops / median['idm'] * 1e-9:4.0f} GFLOP/s, "
          f"ratio {median['pytorch'] / median['idm']:.2f}, difference {np.linalg.norm(result() - expected) / np.linalg.norm(expected):.1e}", flush=True)
