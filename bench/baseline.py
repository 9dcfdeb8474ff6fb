"""Classical baseline: the picture of least total variation among all that have these measurements.

    idm measure Set11 --out measured -c configs/small.ini
    python3 bench/baseline.py measured/*.safetensors [--iterations 400]

The measurement files carry Phi, the permutation, y and the truth x, so that this sees exactly what the network sees. Solves
min TV(x) subject to A x = y (isotropic total variation) by the primal-dual method of Chambolle and Pock (2011). Since A A^T = I the
projection onto {x : A x = y} is x - A^T (A x - y). Prints PSNR of the cropped, clamped picture, and the average.
"""
import argparse
import json
import math
import pathlib
import time

import numpy as np


def load(path):
    """Tensors and metadata of a .safetensors file."""
    data = pathlib.Path(path).read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    types = {"F32": np.float32, "I64": np.int64}
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        tensors[name] = np.frombuffer(data[8 + size + begin : 8 + size + end], types[entry["dtype"]]).reshape(entry["shape"])
    return tensors, header.get("__metadata__", {})


def gradient(x):
    g = np.zeros((2,) + x.shape, x.dtype)
    g[0, :-1] = x[1:] - x[:-1]
    g[1, :, :-1] = x[:, 1:] - x[:, :-1]
    return g


def divergence(p):
    """-gradient^T"""
    d = np.zeros(p.shape[1:], p.dtype)
    d[:-1] += p[0, :-1]
    d[1:] -= p[0, :-1]
    d[:, :-1] += p[1, :, :-1]
    d[:, 1:] -= p[1, :, :-1]
    return d


def least_variation(phi, perm, y, height, width, iterations, dual_step):
    inverse = np.empty_like(perm)
    inverse[perm] = np.arange(perm.size)
    measure = lambda x: x.ravel()[perm].reshape(-1, phi.shape[0]) @ phi
    adjoint = lambda v: (v @ phi.T).ravel()[inverse].reshape(height, width)
    # Steps with tau * sigma * |gradient|^2 <= 1, where |gradient|^2 <= 8.
    sigma = np.float32(dual_step)
    tau = np.float32(1 / (8 * dual_step))
    x = np.full((height, width), adjoint(y).mean() * phi.shape[0] / phi.shape[1], np.float32)
    x -= adjoint(measure(x) - y)
    ahead, p = x, np.zeros((2, height, width), np.float32)
    for _ in range(iterations):
        p = p + sigma * gradient(ahead)
        p /= np.maximum(1, np.sqrt((p * p).sum(0)))
        new = x + tau * divergence(p)
        new -= adjoint(measure(new) - y)
        ahead, x = 2 * new - x, new
    return x


def psnr(x, truth):
    error = np.clip(x.astype(np.float64), 0, 1) * 255 - np.rint(truth.astype(np.float64) * 255)
    return 10 * math.log10(255**2 / (error**2).mean())


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("measurements", nargs="+")
parser.add_argument("--iterations", type=int, default=400)
parser.add_argument("--dual-step", type=float, default=4, help="sigma; changes the speed, not the solution")
args = parser.parse_args()

figures = []
for path in args.measurements:
    tensors, meta = load(path)
    height, width = int(meta["original_height"]), int(meta["original_width"])
    begun = time.perf_counter()
    x = least_variation(tensors["phi"], tensors["perm"], tensors["y"][0], int(meta["height"]), int(meta["width"]), args.iterations, args.dual_step)
    figures.append(psnr(x[:height, :width], tensors["x"][0, 0, :height, :width]))
    print(f"{pathlib.Path(path).name:36} {height:4} x {width:<4} {figures[-1]:7.3f} dB {time.perf_counter() - begun:6.1f} s", flush=True)
print(f"{'average':36} {len(figures):4} images {np.mean(figures):7.3f} dB")
