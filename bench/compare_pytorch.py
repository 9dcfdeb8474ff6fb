"""The published network: idm against the PyTorch reference, interleaved in one run, 2 threads each.

    python3 bench/compare_pytorch.py IDM_BINARY GOLDEN WEIGHTS [--size 128] [--rounds 3] [--training] [--reference ../shared/reference]

Wants the newest PyTorch (pip install torch numpy), whose scaled_dot_product_attention is fused, and a quiet machine. PyTorch runs eagerly in both of its memory
formats, NCHW and channels_last; the faster one counts. GOLDEN gives phi and x, the permutation is the reference's; both programs get the same file of weights.
Forward: idm's time is what it prints for the second reconstruction (weights loaded, kernels built); PyTorch's is one call of idm() in inference mode, after one
that is not counted.
--training: an Adam step with all activations kept; the reference's plain autograd and torch.optim.Adam against `idm verify`, each the fastest of the steps after its
first in every round. Prints medians, their ratio, and how far the results differ: outputs, or the losses of the steps.
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
os.environ["GOMP_SPINCOUNT"] = "0"  # PyTorch's threads would spin on into idm's turn

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("binary")
parser.add_argument("golden")
parser.add_argument("weights")
parser.add_argument("--reference", default="../shared/reference")
parser.add_argument("--size", type=int, default=128, help="picture side: cut from GOLDEN's x")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--training", action="store_true")
args = parser.parse_args()
sys.path.insert(0, args.reference)

import numpy as np
import torch

import idm_reference as R
import tensor_file

STEPS, LEARNING_RATE = 3, 1e-4
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
published = {k: torch.from_numpy(v.copy()) for k, v in tensor_file.load(args.weights).items() if k not in ("__metadata__", "phi")}
FORMATS = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}


def in_format(name):
    return {k: v.clone(memory_format=FORMATS[name]) if v.dim() == 4 else v.clone() for k, v in published.items()}


def pytorch_forward(name):
    weights = in_format(name)
    with torch.inference_mode():
        if not times[name]:
            R.idm(weights, y, operator, size, size, cfg)
        begin = time.perf_counter()
        out = R.idm(weights, y, operator, size, size, cfg)
        return time.perf_counter() - begin, out.numpy()


def pytorch_training(name):
    weights = {k: v.requires_grad_() for k, v in in_format(name).items()}
    adam = torch.optim.Adam(list(weights.values()), lr=LEARNING_RATE)
    losses, seconds = [], []
    for _ in range(STEPS):
        begin = time.perf_counter()
        loss = (R.idm(weights, y, operator, size, size, cfg) - x).abs().mean()
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        losses.append(float(loss.detach()))
        seconds.append(time.perf_counter() - begin)
    return min(seconds[1:]), np.array(losses, np.float32)


def run_idm(command, *arguments):
    settings = ["--json", "--set", f"model.weights={os.path.abspath(args.weights)}", "--set", "device.math=fast", "--set", "memory.recompute=none"]
    return json.loads(subprocess.run([args.binary, command, *map(str, arguments), *settings], check=True, stdout=subprocess.PIPE, text=True).stdout)


def save_problem(path, **truths):
    info = {k: meta[k] for k in ("channels", "heads", "groups", "steps", "block_size", "cs_ratio")}
    info.update(height=str(size), width=str(size), original_height=str(size), original_width=str(size), lr=str(LEARNING_RATE))
    tensor_file.save(path, dict(phi=phi.numpy(), perm=perm.numpy(), x=x.numpy(), **truths), info)


def idm_forward(folder):
    save_problem(folder / "again.safetensors", y=y.numpy())
    result = run_idm("reconstruct", folder / "problem.safetensors", folder / "again.safetensors", "--out", folder / "out", "--raw", "--yes")
    raw = next((folder / "out").glob("again*.safetensors"))
    return result["images"][1]["seconds"], next(v for k, v in tensor_file.load(raw).items() if k != "__metadata__")


def idm_training(folder):
    result = run_idm("verify", folder / "problem.safetensors")
    return result["training"]["step_seconds"], result["training"]["worst_loss_error"]


def norm_error(got, want):
    return float(np.linalg.norm(got.ravel() - want.ravel()) / np.linalg.norm(want))


times = {name: [] for name in (*FORMATS, "idm")}
results = {}
with tempfile.TemporaryDirectory() as temporary:
    folder = pathlib.Path(temporary)
    for _ in range(args.rounds):
        for name in FORMATS:
            seconds, results[name] = (pytorch_training if args.training else pytorch_forward)(name)
            times[name].append(seconds)
        save_problem(folder / "problem.safetensors", **(dict(losses=results["nchw"]) if args.training else dict(y=y.numpy())))
        time.sleep(1)
        seconds, results["idm"] = (idm_training if args.training else idm_forward)(folder)
        times["idm"].append(seconds)
        print({k: round(v[-1], 3) for k, v in times.items()}, flush=True)
median = {k: statistics.median(v) for k, v in times.items()}
best = min(FORMATS, key=median.get)
what = f"training iteration, {STEPS} steps" if args.training else "forward"
print(f"{what}, {size} x {size}, float32, medians of {args.rounds}: PyTorch {torch.__version__} "
      + ", ".join(f"{k} {median[k]:.2f} s" for k in FORMATS) + f"; idm {median['idm']:.2f} s; {median[best] / median['idm']:.2f} times as fast as {best}")
print("worst loss differs by" if args.training else "outputs differ by", results["idm"] if args.training else f"{norm_error(results['idm'], results['nchw']):.1e}")
