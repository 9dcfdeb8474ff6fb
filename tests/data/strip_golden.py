"""python3 strip_golden.py GOLDEN OUT [REFERENCE_DIR]: the problem and the output of a golden, without taps and gradients, small enough to be kept here.

golden_NAME.safetensors beside this script were made from ../../../shared/golden/NAME.safetensors.
"""
import pathlib
import sys

here = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, sys.argv[3] if len(sys.argv) > 3 else str(here.parents[2] / "shared" / "reference"))
import tensor_file

golden = tensor_file.load(sys.argv[1])
metadata = {k: v for k, v in golden["__metadata__"].items() if k != "zero_gradients"}
tensor_file.save(sys.argv[2], {k: golden[k] for k in ("x", "y", "phi", "perm", "out", "loss")}, metadata)
