"""What is where, and which of it is meant: looking is taught beside the words.

A language model hardly learns to look from its answers alone: where a thing is makes few of their words, and
most of that can be guessed. So the patches that it is given learn their place, and the name of what they
show; and where an answer begins, it learns which of them the edit is about, in layers that the words still
can look at. Only training has this.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mgie.diffusion import changed_places
from mgie.models.mllm import Reading

_SHARPNESS = 16.0
"""Of the likelihood of words by cosine."""
_NAME_WEIGHT = 0.15
"""A name costs 4 to 7 nats, place and presence less than one."""
_PASTED_WEIGHT, _REGION_WEIGHT = 2.5, 0.5
"""A patch of a thing that edits are about counts more than one of the scenery."""
_AIM_WEIGHT = 0.4
"""To know nothing of which patches are meant costs some 3 nats."""
_MOST = 0.9
"""Share of the picture from which on an edit is about all of it."""


class Sight(nn.Module):
    """Reads off each projected patch of a picture where it is, whether a thing was put there, and its name.

    And off the states midway, which patches an edit is about (`aim`).

    Args:
        hidden_size: D of the language model.
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.position = nn.Linear(hidden_size, 2)
        self.presence = nn.Linear(hidden_size, 1)
        self.name = nn.Linear(hidden_size, hidden_size)
        self.sought, self.shown = (nn.Linear(hidden_size, hidden_size) for _ in range(2))
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

    def aim(self, asked: Tensor, shown: Tensor, edited: Tensor) -> Tensor:
        """Returns how badly it is known which patches an edit is about, a scalar: the mean of rows in nats.

        Args:
            asked: (B, D), states where answers begin.
            shown: (B, P, D), states of the patches, from the same layer.
            edited: (B, P) in [0, 1], how much of each patch the edit is about; rows without any do not count.
        """
        asked, shown = (functional.layer_norm(x.float(), x.shape[-1:]) for x in (asked, shown))
        likeness = torch.einsum("bd,bpd->bp", self.sought(asked).float(), self.shown(shown).float())
        chances = (likeness / asked.shape[-1] ** 0.5).log_softmax(-1)
        total = edited.sum(-1, keepdim=True)
        wanted = edited / total.clamp(min=1e-6)
        apart = (torch.xlogy(wanted, wanted) - wanted * chances).sum(-1)
        return apart.sum() / (total > 0).sum().clamp(min=1)


def seen(sight: Sight, mllm: Any, reading: Reading, batch: dict[str, Tensor]) -> Tensor:
    """Returns the loss of a batch as `mgie.data.collate.EditCollator` makes it, whose rows have pictures."""
    assert reading.patches is not None
    embeddings = mllm.get_input_embeddings().weight
    what_is_where = sight(reading.patches, batch["things"], batch["pasted"], batch["names"], embeddings)
    rows, length, width = reading.patches.shape
    asked = (batch["labels"] >= 0).int().argmax(1) - 1
    shown = reading.midway[batch["input_ids"] == mllm.config.image_token_id].view(rows, length, width)
    edited = edited_patches(batch, round(length**0.5))
    aimed = sight.aim(reading.midway[torch.arange(rows, device=asked.device), asked], shown, edited)
    return what_is_where + _AIM_WEIGHT * aimed


@torch.no_grad()
def edited_patches(batch: dict[str, Tensor], side: int) -> Tensor:
    """Returns how much of each of side x side patches an edit is about, (B, P) in [0, 1].

    That is what goes, else what stands there that comes again, else what changes; nothing if all does.

    Args:
        batch: as `mgie.data.collate.collate_pictures` makes it.
        side: patches on a side.
    """
    source, target, behind = batch["source"], batch["target"], batch["behind"]
    gone, changed = (changed_places(source, other, (side, side)).flatten(1) for other in (behind, target))
    left, top, right, bottom = batch["arrivals"][:, 0, 0, :, None].unbind(1)
    at = (2 * torch.arange(side, device=source.device) + 1) / side - 1
    across, down = (at > left) & (at < right), (at > top) & (at < bottom)
    stands = (down[:, :, None] & across[:, None]).flatten(1).float()
    edited = torch.where(stands.any(1, keepdim=True), stands, changed)
    edited = torch.where((gone > 0).any(1, keepdim=True), gone, edited)
    return edited * (edited.mean(1, keepdim=True) < _MOST)
