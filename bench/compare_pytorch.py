"""Forward pass of the published network: idm against the PyTorch reference, interleaved in one run, 2 threads each.

    /usr/bin/python3 bench/compare_pytorch.py IDM_BINARY GOLDEN WEIGHTS [--reference ../shared/reference] [--rounds 3]

GOLDEN gives phi, perm, y and the size; both programs start from the same file. idm's time is what it prints for the reconstruction itself (weights loaded, kernels
built); PyTorch's is one call of idm() under no_grad. Prints medians and their ratio; the two outputs are compared as well.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)
os.environ["GOMP_SPINCOUNT"] = "0"

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("binary")
parser.add_argument("golden")
parser.add_argument("weights")
parser.add_argument("--reference", default="../shared/reference")
parser.add_argument("--size", type=int, default=128, help="picture side when GOLDEN is of another size: cut from its x")
parser.add_argument("--rounds", type=int, default=3)
args = parser.parse_args()
sys.path.insert(0, args.reference)

import numpy as np
import torch

import idm_reference as R
import tensor_file

torch.set_num_threads(2)
golden = tensor_file.load(args.golden)
meta = golden["__metadata__"]
cfg = R.Config(tuple(int(c) for c in meta["channels"].split(",")), int(meta["heads"]), int(meta["groups"]), int(meta["steps"]), int(meta["block_size"]))
size = args.size
if size > min(golden["x"].shape[2:]):
    parser.error(f"{args.golden} has no {size} x {size} pixels; give --size, or another golden (large)")
x = torch.from_numpy(golden["x"][:1, :, :size, :size].copy())
phi = torch.from_numpy(golden["phi"].copy())
perm = R.hashed_permutation(size * size, 1)
operator = R.BlockSampling(phi, perm)
y = operator.forward(x)
weights = {k: torch.from_numpy(v.copy()) for k, v in tensor_file.load(args.weights).items() if k not in ("__metadata__", "phi")}

times = {"pytorch": [], "idm": []}
with tempfile.TemporaryDirectory() as folder:
    measurement = pathlib.Path(folder) / "m.safetensors"
    tensor_file.save(measurement, dict(y=y.numpy(), phi=phi.numpy(), perm=perm.numpy(), x=x.numpy()),
                     dict(height=str(size), width=str(size), original_height=str(size), original_width=str(size), block_size=meta["block_size"],
                          cs_ratio=meta["cs_ratio"]))
    command = [args.binary, "reconstruct", str(measurement), "--out", f"{folder}/out", "--raw", "--json", "--yes", "--set", f"model.weights={os.path.abspath(args.weights)}"]
    for _ in range(args.rounds):
        time.sleep(1)
        result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        times["idm"].append(result["images"][0]["seconds"])
        with torch.no_grad():
            begin = time.perf_counter()
            expected = R.idm(weights, y, operator, size, size, cfg)
            times["pytorch"].append(time.perf_counter() - begin)
        print({k: round(v[-1], 3) for k, v in times.items()}, flush=True)
    raw = list(pathlib.Path(folder, "out").glob("*.safetensors"))
    plane = next(v for k, v in tensor_file.load(raw[0]).items() if k != "__metadata__").reshape(expected.shape)
    print("outputs differ by", float(np.linalg.norm(plane - expected.numpy()) / np.linalg.norm(expected.numpy())))
median = {k: statistics.median(v) for k, v in times.items()}
print(f"PyTorch {torch.__version__}: {median['pytorch']:.2f} s, idm: {median['idm']:.2f} s at {size}x{size}, ratio {median['pytorch'] / median['idm']:.2f}")
