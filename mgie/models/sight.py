"""What is where: the patches of a picture learn their place, and the name of what they show.

A language model hardly learns to look from its answers alone: where a thing is makes few of their words, and
most of that can be guessed. So what it is given of the picture is taught as well. Only training has this.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_SHARPNESS = 16.0
"""Of the likelihood of words by cosine."""
_NAME_WEIGHT = 0.15
"""A name costs 4 to 7 nats, place and presence less than one."""
_PASTED_WEIGHT, _REGION_WEIGHT = 2.5, 0.5
"""A patch of a thing that edits are about counts more than one of the scenery."""


class Sight(nn.Module):
    """Reads off each projected patch of a picture where it is, whether a thing was put there, and its name.

    Args:
        hidden_size: D of the language model.
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.position = nn.Linear(hidden_size, 2)
        self.presence = nn.Linear(hidden_size, 1)
        self.name = nn.Linear(hidden_size, hidden_size)
        with torch.no_grad():
            self.name.weight.copy_(torch.eye(hidden_size))

    def forward(
        self, patches: Tensor, things: Tensor, pasted: Tensor, names: Tensor, embeddings: Tensor
    ) -> Tensor:
        """Returns how little the patches tell, a scalar.

        Args:
            patches: (B, P, D), what the projector makes of the patches, rows of a square one after the other.
            things: (B, P) int64, which of the row's things covers each patch; 0 = none that is known.
            pasted: (B, T), 1 for things that an edit put on the picture, 0 for regions of the photograph.
            names: (B, T, N) int64, token ids of the things' names, 0 where a name is shorter.
            embeddings: (V, D), the word embeddings, which learn nothing from this.
        """
        patches = functional.layer_norm(patches.float(), patches.shape[-1:])
        side = round(patches.shape[1] ** 0.5)
        steps = torch.linspace(-1, 1, side, device=patches.device)
        places = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1).view(-1, 2)
        position = (self.position(patches).float() - places).square().mean()

        known = things > 0
        row, thing = known.nonzero()[:, 0], things[known] - 1
        is_pasted = pasted[row, thing].float()
        present = torch.zeros_like(things, dtype=torch.float32)
        present[known] = is_pasted
        presence = functional.binary_cross_entropy_with_logits(
            self.presence(patches)[..., 0].float(), present
        )

        read = functional.normalize(self.name(patches[known]).float(), dim=-1)
        words = functional.normalize(embeddings.detach().float(), dim=-1)
        ids = names[row, thing]  # (M, N)
        chances = (_SHARPNESS * read @ words.T).log_softmax(dim=-1).gather(1, ids) * (ids > 0)
        named = -chances.sum(dim=1) / (ids > 0).sum(dim=1).clamp(min=1)
        weight = _REGION_WEIGHT + (_PASTED_WEIGHT - _REGION_WEIGHT) * is_pasted
        name = (named * weight).sum() / weight.sum().clamp(min=1)
        return 0.5 * position + presence + _NAME_WEIGHT * name


def seen(sight: Sight, mllm: Any, patches: Tensor | None, batch: dict[str, Tensor]) -> Tensor:
    """Returns the loss of a batch as `mgie.data.collate.EditCollator` makes it, whose rows have pictures."""
    assert patches is not None
    embeddings = mllm.get_input_embeddings().weight
    return sight(patches, batch["things"], batch["pasted"], batch["names"], embeddings)
