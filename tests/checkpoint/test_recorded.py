"""The numbers of our own small model are those that were recorded."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.checkpoint.recorded import FILE, measure


def test_nothing_has_changed(tmp_path: Path):
    recorded, ours = load_file(FILE), measure(tmp_path)
    assert ours.keys() == recorded.keys()
    for name, value in recorded.items():
        # Other versions of PyTorch move such values by up to 2e-5 of the largest.
        torch.testing.assert_close(ours[name], value, rtol=0, atol=1e-4 * float(value.abs().max()), msg=name)
