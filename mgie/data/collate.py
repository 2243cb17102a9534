"""Samples become batches of tensors, with transformers' and diffusers' names."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mgie.config import Conditioning
from mgie.data.dataset import Sample
from mgie.data.synth import Box, Pixels
from mgie.models.layers import MAX_ARRIVALS
from mgie.models.mllm import IGNORED, padded_dialogues, tokenize_dialogues
from mgie.prompts import visual_tokens

MAX_THINGS, MAX_NAME = 8, 10
"""Most things of a picture that are looked for, and most tokens of a name."""
_COVERED = 100
"""Of 255, how much of a patch a thing covers that is seen there."""


def to_tensor(pictures: Sequence[Pixels]) -> Tensor:
    """Returns (B, 3, H, W) float32 in [-1, 1] from pictures (H, W, 3) in [0, 1] of one size."""
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    return torch.mul(pixels, 2, out=pixels.new_empty(pixels.shape)).sub_(1)


def collate_pictures(samples: Sequence[Sample]) -> dict[str, Tensor]:
    """Returns `source`, `target`, `plain` and `behind`, (B, 3, H, W) in [-1, 1].

    And `covered` (B, 1, H, W) in [0, 1], how much of `plain` the target shows, and `arrivals` (B, 2, 2, 4).
    See `mgie.data.synth.Made`; what is behind is the source where nothing goes, and without a pattern all is
    covered. The squares, where from and where to, are left, top, right and bottom in [-1, 1]; zeros where
    there is none.
    """
    arrivals = torch.zeros(len(samples), MAX_ARRIVALS, 2, 4)
    for i, sample in enumerate(samples):
        height, width = sample.source.shape[:2]
        for j, arrival in enumerate(sample.arrivals):
            for k, box in enumerate(arrival):
                if box is None:
                    continue
                corners = (box.left, box.top, box.left + box.side, box.top + box.side)
                arrivals[i, j, k] = torch.tensor(corners) / torch.tensor([width, height] * 2) * 2 - 1
    covered = torch.ones(len(samples), 1, *samples[0].source.shape[:2])
    for i, sample in enumerate(samples):
        if sample.cover is not None:
            covered[i] = torch.from_numpy(sample.cover)
    return {
        "source": to_tensor([sample.source for sample in samples]),
        "target": to_tensor([sample.target for sample in samples]),
        "plain": to_tensor([s.target if s.plain is None else s.plain for s in samples]),
        "covered": covered,
        "behind": to_tensor([s.source if s.behind is None else s.behind for s in samples]),
        "arrivals": arrivals,
    }


@dataclass(frozen=True)
class EditCollator:
    """Collates samples for the whole model; a callable object, so that worker processes can have it."""

    processor: Any
    """transformers' `LlavaProcessor`."""
    conditioning: Conditioning = "mgie"
    """Rows of "lgie" have no picture, those of "ip2p" no answer either."""
    with_things: bool = False
    """Whether to tell, for `mgie.models.sight`, what is where on the picture."""

    def __call__(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """Returns `input_ids`, `attention_mask`, `labels`, `pixel_values`, and what `collate_pictures` does.

        And `vague` (B,), whether the instruction leaves the edit open, or is another's. Only the answer is
        learned, and of rows that are asked another edit's question only its visual tokens: then
        `own_input_ids` and so on are as with their own. Rows are padded on the right. Where the language
        model sees no picture, `pixel_values` are left out.
        """
        dialogues = self._dialogues(samples, [sample.question for sample in samples])
        exchanged = torch.tensor([sample.instead is not None for sample in samples])
        if exchanged.any():
            own = {f"own_{name}": dialogues[name] for name in ("input_ids", "attention_mask", "labels")}
            dialogues = own | self._dialogues(samples, [s.instead or s.question for s in samples])
            first = self.processor.tokenizer.convert_tokens_to_ids(visual_tokens(1)[0])
            words = (dialogues["labels"] == first).cumsum(1) == 0
            dialogues["labels"][words & exchanged[:, None]] = IGNORED
        things = self._things(samples) if self.with_things else {}
        vague = exchanged | torch.tensor([sample.vague for sample in samples])
        return dialogues | {"vague": vague} | things | collate_pictures(samples)

    def _dialogues(self, samples: Sequence[Sample], questions: Sequence[str]) -> dict[str, Tensor]:
        rows, prompt_lengths, pixel_values = tokenize_dialogues(
            self.processor,
            [sample.picture for sample in samples] if self.conditioning == "mgie" else None,
            questions,
            [sample.answer for sample in samples] if self.conditioning != "ip2p" else None,
        )
        dialogues = padded_dialogues(rows, prompt_lengths, self.processor.tokenizer.pad_token_id)
        return dialogues if pixel_values is None else dialogues | {"pixel_values": pixel_values}

    def _things(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """Returns `things` (B, P), `pasted` (B, T) and `names` (B, T, N), see `mgie.models.sight.Sight`."""
        side = self.processor.image_processor.size["height"] // self.processor.patch_size
        things = torch.zeros(len(samples), side, side, dtype=torch.long)
        pasted = torch.zeros(len(samples), MAX_THINGS)
        names = torch.zeros(len(samples), MAX_THINGS, MAX_NAME, dtype=torch.long)
        for i, sample in enumerate(samples):
            for j, (name, where) in enumerate(sample.things[-MAX_THINGS:]):  # what was put on it comes last
                if isinstance(where, Box):
                    mask = np.zeros(sample.source.shape[:2], np.bool_)
                    mask[where.part] = True
                    pasted[i, j] = 1
                else:
                    mask = where
                small = Image.fromarray(mask).convert("L").resize((side, side), Image.Resampling.BOX)
                things[i][torch.from_numpy(np.array(small)) >= _COVERED] = j + 1
                ids = self.processor.tokenizer(f" {name}", add_special_tokens=False).input_ids[:MAX_NAME]
                names[i, j, : len(ids)] = torch.tensor(ids)
        return {"things": things.flatten(1), "pasted": pasted, "names": names}
