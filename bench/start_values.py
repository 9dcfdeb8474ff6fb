"""Start values from which a small network learns faster than from plain random ones, and more steps for a trained network.

    python3 bench/start_values.py calm IN.safetensors OUT.safetensors
    python3 bench/start_values.py grow IN.safetensors OUT.safetensors --steps 2

calm: IN has random start values (the weights of a run of one step at learning rate 0). Every v becomes 0.1 and the steps' v 0, so that
the wiring begins as a plain chain of residual modules; what modules add (conv2, proj_out) shrinks to 0.3; conv_in hands its four input
channels on, and the shortcuts of resnets that change the width hand on what they are given, so that an estimate of the picture can
travel through from the start.

grow: IN has one step, OUT as many as wanted. The U-Net is shared by the steps anyway; the injectors of the new ones are copies. The
alphas are such that the first step that runs sees the same noise level as before, and the later ones little noise.
"""
import argparse
import json
import pathlib

import numpy as np


def load(path):
    data = pathlib.Path(path).read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    meta = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = np.frombuffer(data[8 + size + begin : 8 + size + end], np.float32).reshape(entry["shape"]).copy()
    return tensors, meta


def save(path, tensors, meta):
    header, offset, parts = {"__metadata__": meta}, 0, []
    for name, value in tensors.items():
        raw = np.ascontiguousarray(value, np.float32).tobytes()
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [offset, offset + len(raw)]}
        offset += len(raw)
        parts.append(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    pathlib.Path(path).write_bytes(len(text).to_bytes(8, "little") + text + b"".join(parts))


def hand_on(shortcut, first_input, count):
    """Adds the identity from inputs first_input.. to outputs 0.. of a 1x1 convolution whose random part is halved."""
    shortcut *= 0.5
    for i in range(count):
        shortcut[i, first_input + i, 0, 0] += 1


def calm(tensors):
    c0, c1 = tensors["unet.conv_in.weight"].shape[0], tensors["unet.down_blocks.1.resnets.0.conv2.weight"].shape[0]
    for name, value in tensors.items():
        if name.endswith(".v"):
            value[:] = 0 if name.startswith("body.") else 0.1
        elif name.endswith(("conv2.weight", "conv2.bias", "proj_out.weight", "proj_out.bias")):
            value *= 0.3
        elif name.endswith("conv_shortcut.weight"):
            outputs, inputs = value.shape[:2]
            if "down_blocks" in name:
                hand_on(value, 0, c0)
            elif ".resnets.0." in name:  # [what comes from below, skip]
                skip = c0 if "up_blocks.1" in name else c1
                hand_on(value, inputs - skip, min(skip, outputs))
            else:
                hand_on(value, 0, outputs)
    weight, bias = tensors["unet.conv_in.weight"], tensors["unet.conv_in.bias"]
    weight[:4], bias[:4] = 0, 0
    for i in range(4):
        weight[i, i, 1, 1] = 2
    return tensors


def grow(tensors, steps, first):
    """first: alpha_bar[1], the noise level of the last step that runs."""
    last = float(tensors["alpha"][0])
    levels = np.append(np.linspace(first, max(last, first - 0.1 * (steps - 2)), steps - 1), last)
    grown = {}
    for name, value in tensors.items():
        if name == "alpha":
            grown[name] = levels / np.append(1, levels[:-1])
        elif name == "body.0.v":
            grown.update({f"body.{s}.v": value if s == 0 else np.zeros(1) for s in range(steps)})
        elif ".f2i.0." in name or ".i2f.0." in name:
            for s in range(steps):
                grown[name.replace("f2i.0.", f"f2i.{s}.").replace("i2f.0.", f"i2f.{s}.")] = value
        else:
            grown[name] = value
    return grown


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("what", choices=("calm", "grow"))
parser.add_argument("source")
parser.add_argument("target")
parser.add_argument("--steps", type=int, default=2)
parser.add_argument("--first-level", type=float, default=0.9)
args = parser.parse_args()
values, metadata = load(args.source)
if args.what == "calm":
    values = calm(values)
else:
    values = grow(values, args.steps, args.first_level)
    metadata["steps"] = str(args.steps)
save(args.target, values, metadata)
