"""Write src/tune/canary_golden.h: the output of a very small network whose weights, operator and measurements are functions of their names.

    /usr/bin/python3 tests/data/make_canary.py ../shared/reference > src/tune/canary_golden.h

The same rules in C: src/tune/canary.c. Computed in float64 by the PyTorch reference.
"""
import sys

import numpy as np
import torch

sys.path.insert(0, sys.argv[1])
import idm_reference as R

HEIGHT, WIDTH, MEASUREMENTS, SEED = 24, 16, 16, 7
cfg = R.Config(channels=(16, 32), heads=2, groups=4, steps=2, block=8)
MASK = (1 << 64) - 1


def mix(z):
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def uniform(name, count):
    """float32 in [-1, 1): src/core/random.h"""
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = (h ^ byte) * 0x100000001B3 & MASK
    step = 0x9E3779B97F4A7C15
    with np.errstate(over="ignore"):
        key = mix(mix(np.uint64([h])) + np.uint64((SEED + 1) * step & MASK))
        bits = mix(key + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(step))
    return (2 * (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53 - 1).astype(np.float32)


def value(name, shape):
    u = torch.from_numpy(uniform(name, int(np.prod(shape)))).reshape(shape)
    leaf = name.split(".")[-1]
    if len(shape) > 1:
        return u / np.float32(np.sqrt(np.prod(shape[1:])))
    base, spread = {"v": (0.5, 0.1), "alpha": (0.8, 0.1), "input_help_scale_factor": (1, 0.1)}.get(leaf, (0, 0.1))
    if leaf == "weight":  # of a norm
        base = 1
    return np.float32(base) + np.float32(spread) * u


torch.set_default_dtype(torch.float64)
weights = {n: value(n, s).double() for n, s in R.parameter_shapes(cfg).items()}
n, pixels = cfg.block**2, HEIGHT * WIDTH
phi = torch.from_numpy(uniform("phi", n * MEASUREMENTS)).double().reshape(n, MEASUREMENTS) / 8
perm = torch.tensor([(37 * i + 11) % pixels for i in range(pixels)])
y = torch.from_numpy(uniform("y", pixels // n * MEASUREMENTS)).double().reshape(1, pixels // n, MEASUREMENTS)
out = R.idm(weights, y, R.BlockSampling(phi, perm), HEIGHT, WIDTH, cfg).flatten().tolist()
print("// Made by tests/data/make_canary.py: the canary's output, row by row.")
print(f"enum {{ CANARY_HEIGHT = {HEIGHT}, CANARY_WIDTH = {WIDTH}, CANARY_MEASUREMENTS = {MEASUREMENTS}, CANARY_SEED = {SEED} }};")
print(f"static const double canary_golden[{pixels}] = {{")
for i in range(0, pixels, 8):
    print("    " + ", ".join("%.9e" % v for v in out[i:i + 8]) + ",")
print("};")
