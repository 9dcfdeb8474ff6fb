"""python3 strip_golden.py GOLDEN OUT [REFERENCE_DIR]: the problem, the output and the gradients' norms and projections of a golden, without taps and
whole gradients, small enough to be kept here.

golden_NAME.safetensors beside this script were made from ../../../shared/golden/NAME.safetensors; of padded and wide without gradients.
"""
import pathlib
import sys

import numpy as np

here = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, sys.argv[3] if len(sys.argv) > 3 else str(here.parents[2] / "shared" / "reference"))
import tensor_file


def projections(g):
    """As make_goldens.py."""
    i, flat, out = np.arange(g.size, dtype=np.uint32), g.astype(np.float64).ravel(), []
    with np.errstate(over="ignore"):
        for k in range(4):
            h = (i * np.uint32(2654435761)) ^ np.uint32((k * 0x9E3779B9) & 0xFFFFFFFF)
            h = (h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)
            h = (h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35)
            h = h ^ (h >> np.uint32(16))
            out.append(float(np.dot(flat, h.astype(np.float64) / 2.0**31 - 1.0)))
    return np.array(out, np.float32)


golden = tensor_file.load(sys.argv[1])
keep = {k: golden[k] for k in ("x", "y", "phi", "perm", "out", "loss", "losses") if k in golden}
keep |= {k: v for k, v in golden.items() if k.startswith(("param", "gradnorm/", "gradproj/"))}
for name, g in golden.items():
    if name.startswith("grad/"):
        keep["gradnorm/" + name[5:]] = np.array([np.linalg.norm(g.astype(np.float64))], np.float32)
        keep["gradproj/" + name[5:]] = projections(g)
if sys.argv[2].endswith(("padded.safetensors", "wide.safetensors")):
    keep = {k: v for k, v in keep.items() if not k.startswith("grad")}
tensor_file.save(sys.argv[2], keep, golden["__metadata__"])
