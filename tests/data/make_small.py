"""python3 make_small.py [REFERENCE_DIR]: golden_small.safetensors beside this script, a problem small enough for an interpreter of OpenCL.

One step of a network of 16 and 32 channels on 8 x 8 pixels in blocks of 4 x 4. Values in float64 by the PyTorch reference, as in its make_goldens.py.
"""
import pathlib
import sys

here = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, sys.argv[1] if len(sys.argv) > 1 else str(here.parents[2] / "shared" / "reference"))
import idm_reference as R
import make_goldens
import tensor_file
import torch

cfg, seed, height, width, ratio = R.Config(channels=(16, 32), heads=2, groups=4, steps=1, block=4), 8, 8, 8, 0.3
values, _ = make_goldens.run(cfg, seed, 1, height, width, ratio, torch.float64)
metadata = make_goldens.metadata(cfg, seed, height, width, ratio)
kept = ("x", "y", "phi", "perm", "out", "loss")
tensor_file.save(here / "golden_small.safetensors", {k: make_goldens.store(values[k]) for k in kept}, metadata)
