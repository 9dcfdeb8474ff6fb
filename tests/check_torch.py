"""Reads a torch zip as the authors' test.py does.   check_torch.py FILE.pkl EXPECTED.safetensors

Every tensor of EXPECTED must be there with equal values, the others must be second names that share storage with one of those.
Prints the number of names.
"""
import json
import sys

import numpy as np
import torch


def load_safetensors(path):
    with open(path, "rb") as f:
        header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        data = f.read()
    return {name: np.frombuffer(data[slice(*entry["data_offsets"])], np.float32).reshape(entry["shape"])
            for name, entry in header.items() if name != "__metadata__"}


for options in ({}, {"weights_only": True}):
    state = torch.load(sys.argv[1], map_location="cpu", **options)
    assert type(state).__name__ == "OrderedDict"
    expected = load_safetensors(sys.argv[2])
    storages = set()
    for name, values in expected.items():
        tensor = state[name]
        assert tensor.dtype == torch.float32 and tuple(tensor.shape) == values.shape, name
        assert np.array_equal(tensor.numpy(), values), name
        storages.add(tensor.data_ptr())
    assert len(storages) == len(expected)
    for name in set(state) - set(expected):
        assert ".body." in name and state[name].data_ptr() in storages, name
print(len(state), "names")
