"""Samples become batches of tensors, with transformers' and diffusers' names."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mgie.config import Conditioning
from mgie.data.dataset import Sample
from mgie.data.synth import Pixels
from mgie.models.mllm import tokenize_dialogues

IGNORED = -100
"""Label of tokens that are not learned, PyTorch's and transformers' default."""


def to_tensor(pictures: Sequence[Pixels]) -> Tensor:
    """Returns (B, 3, H, W) float32 in [-1, 1] from pictures (H, W, 3) in [0, 1] of one size."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous() * 2 - 1


def collate_pictures(samples: Sequence[Sample]) -> dict[str, Tensor]:
    """Returns `source` and `target`, each (B, 3, H, W) in [-1, 1]."""
    return {
        "source": to_tensor([sample.source for sample in samples]),
        "target": to_tensor([sample.target for sample in samples]),
    }


@dataclass(frozen=True)
class EditCollator:
    """Collates samples for the whole model; a callable object, so that worker processes can have it."""

    processor: Any
    """transformers' `LlavaProcessor`."""
    conditioning: Conditioning = "mgie"
    """Rows of "lgie" have no picture, those of "ip2p" no answer either."""

    def __call__(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """Returns `input_ids`, `attention_mask`, `labels`, `pixel_values`, `source` and `target`.

        Only the answer is learned. Rows are padded on the right. Where the language model sees no picture,
        `pixel_values` are left out.
        """
        rows, prompt_lengths, pixel_values = tokenize_dialogues(
            self.processor,
            [sample.picture for sample in samples] if self.conditioning == "mgie" else None,
            [sample.question for sample in samples],
            [sample.answer for sample in samples] if self.conditioning != "ip2p" else None,
        )
        input_ids = torch.full((len(rows), max(map(len, rows))), self.processor.tokenizer.pad_token_id)
        attention_mask = torch.zeros_like(input_ids)
        labels = torch.full_like(input_ids, IGNORED)
        for i, (row, prompt_length) in enumerate(zip(rows, prompt_lengths, strict=True)):
            input_ids[i, : len(row)] = torch.tensor(row)
            attention_mask[i, : len(row)] = 1
            labels[i, prompt_length : len(row)] = torch.tensor(row[prompt_length:])
        return {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "labels": labels,
            **({} if pixel_values is None else {"pixel_values": pixel_values}),
            **collate_pictures(samples),
        }
