"""python3 check_reference.py IDM_BINARY SHARED_DIR [--images Monarch.tif,house.tif]

`idm eval` of some pictures of Set11 with the tiny network's weights, against the same measurements (as `idm measure` writes them: phi and perm are functions of seed
and file name) through the PyTorch reference in float32. Exit status 1 unless PSNR agrees within 0.01 dB and SSIM within 1e-3.
"""
import argparse
import json
import math
import pathlib
import shutil
import subprocess
import sys
import tempfile

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("binary")
parser.add_argument("shared", type=pathlib.Path)
parser.add_argument("--images", default="Monarch.tif,house.tif")
args = parser.parse_args()
sys.path.insert(0, str(args.shared / "reference"))

import torch

import idm_reference as R
import tensor_file


def attention_in_chunks(p, name, tokens, heads, chunk=2048):
    """R.self_attention without the whole N x N matrix."""
    b, n, c = tokens.shape
    q, k, v = ((tokens @ p[f"{name}.to_{s}.weight"].t()).reshape(b, n, heads, c // heads).transpose(1, 2) for s in "qkv")
    parts = [torch.softmax(q[:, :, r:r + chunk] @ k.transpose(2, 3) / math.sqrt(c // heads), dim=-1) @ v for r in range(0, n, chunk)]
    return torch.cat(parts, dim=2).transpose(1, 2).reshape(b, n, c) @ p[f"{name}.to_out.0.weight"].t() + p[f"{name}.to_out.0.bias"]


def psnr_ssim(out, truth):
    """Planes in 0..255: the clamped result, not rounded, against the 8-bit truth; SSIM as in MODEL.md, windows inside the picture."""
    a, b = out.double()[None, None], truth.double()[None, None]
    mean = lambda z: torch.nn.functional.avg_pool2d(z, 7, 1)
    sample = 49 / 48
    ma, mb = mean(a), mean(b)
    va, vb, cov = sample * (mean(a * a) - ma * ma), sample * (mean(b * b) - mb * mb), sample * (mean(a * b) - ma * mb)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    ssim = ((2 * ma * mb + c1) * (2 * cov + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2))).mean()
    return 10 * math.log10(255**2 / float(((a - b) ** 2).mean())), float(ssim)


def reference(measurement, weights, cfg):
    m = tensor_file.load(measurement)
    meta = m["__metadata__"]
    height, width, rows, columns = (int(meta[k]) for k in ("height", "width", "original_height", "original_width"))
    y, phi, perm, x = (torch.from_numpy(m[k].copy()) for k in ("y", "phi", "perm", "x"))
    with torch.no_grad():
        out = R.idm(weights, y, R.BlockSampling(phi, perm.long()), height, width, cfg)
    crop = lambda z: z[0, 0, :rows, :columns]
    return psnr_ssim(crop(out).clamp(0, 1) * 255, (crop(x) * 255).round())


R.self_attention = attention_in_chunks
torch.set_num_threads(2)
cfg = R.Config(channels=(32, 64), heads=4, groups=8, steps=3, block=16)
weights = R.synthetic_parameters(cfg, 3)
failed = 0
with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    (folder / "in").mkdir()
    for image in args.images.split(","):
        shutil.copy(args.shared / "data" / "Set11" / image, folder / "in" / image)
    tensor_file.save(folder / "tiny.safetensors", {k: v.numpy() for k, v in weights.items()},
                     dict(channels="32,64", heads="4", groups="8", steps="3", block_size="16", format_version="1"))
    common = ["--weights", str(folder / "tiny.safetensors"), "--set", "device.math=exact", "--json"]
    run = lambda *command: json.loads(subprocess.run([args.binary, *command, *common], check=True, capture_output=True, text=True).stdout)
    rows = {row["file"]: row for row in run("eval", str(folder / "in"))["images"]}
    run("measure", str(folder / "in"), "--out", str(folder / "measured"))
    for image in args.images.split(","):
        row = rows[image]
        psnr, ssim = reference(folder / "measured" / f"{pathlib.Path(image).stem}.safetensors", weights, cfg)
        wrong = not (abs(row["psnr"] - psnr) <= 0.01 and abs(row["ssim"] - ssim) <= 1e-3)
        failed += wrong
        print(f"{image}: idm {row['psnr']:.4f} dB {row['ssim']:.6f}, reference {psnr:.4f} dB {ssim:.6f}{' WRONG' if wrong else ''}", flush=True)
sys.exit(failed > 0)
