"""How far PyTorch's own mixed precision is from a golden, as a measure for train.precision = half and bf16 (bench/gradients.sh).

    python3 bench/autocast.py GOLDEN WEIGHTS [--reference ../shared/reference]

Runs the reference under torch.autocast on the CPU, half with a loss scale of 65536, and prints the relative errors of the output, of the whole gradient, and of the
median tensor's gradient. Wants a PyTorch that has float16 there (2.1 or newer), and a golden that has its gradients whole (tiny, sharp).
"""
import argparse
import sys

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("golden")
parser.add_argument("weights")
parser.add_argument("--reference", default="../shared/reference")
args = parser.parse_args()
sys.path.insert(0, args.reference)

import numpy as np
import torch

import idm_reference as R
import tensor_file

golden = tensor_file.load(args.golden)
meta = golden["__metadata__"]
cfg = R.Config(tuple(int(c) for c in meta["channels"].split(",")), int(meta["heads"]), int(meta["groups"]), int(meta["steps"]), int(meta["block_size"]))
x = torch.from_numpy(golden["x"].copy())
operator = R.BlockSampling(torch.from_numpy(golden["phi"].copy()), torch.from_numpy(golden["perm"].astype(np.int64)))
y = torch.from_numpy(golden["y"].copy()).float() if "y" in golden else operator.forward(x)
published = {k: v for k, v in tensor_file.load(args.weights).items() if k not in ("__metadata__", "phi")}

for precision, scale in ((torch.float16, 65536.0), (torch.bfloat16, 1.0)):
    weights = {k: torch.from_numpy(v.copy()).requires_grad_() for k, v in published.items()}
    with torch.autocast("cpu", dtype=precision):
        out = R.idm(weights, y, operator, int(meta["height"]), int(meta["width"]), cfg)
    ((out.float() - x).abs().mean() * scale).backward()
    errors, off, length = [], 0.0, 0.0
    for name, w in weights.items():
        want = golden.get("grad/" + name)
        if want is None or w.grad is None:
            continue
        difference = np.linalg.norm(w.grad.numpy().astype(np.float64).ravel() / scale - want.ravel())
        norm = np.linalg.norm(want)
        errors.append(difference / max(norm, 1e-30))
        off += difference**2
        length += norm**2
    output = np.linalg.norm(out.detach().float().numpy() - golden["out"]) / np.linalg.norm(golden["out"])
    print(f"{precision}: out {output:.1e} whole {(off / length) ** 0.5:.1e} median {np.median(errors):.1e} of {len(errors)} tensors")
