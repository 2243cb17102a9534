"""MGIE whole, as it is trained: language model, edit head and UNet from end to end."""

import copy
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Generator, Tensor, nn
from torch.nn import functional
from transformers import LlavaForConditionalGeneration

from mgie.config import Conditioning
from mgie.diffusion import (
    Draws,
    changed_places,
    denoising_loss,
    drop_conditions,
    encode_pair,
    encode_source,
    target_latents,
    true_layers,
)
from mgie.models.edit_head import EditHead
from mgie.models.layers import MAX_ARRIVALS
from mgie.models.mllm import (
    Reading,
    in_own_words,
    question_states,
    read_answers,
    visual_token_embeds,
    visual_token_positions,
    visual_token_states,
)
from mgie.models.pattern import STEPS
from mgie.models.sight import Sight, seen
from mgie.models.unet import ChangeUNet2DConditionModel


def imagine(
    mllm: LlavaForConditionalGeneration, batch: dict[str, Tensor], visual_token_ids: list[int]
) -> tuple[Reading, Tensor]:
    """Returns what the language model makes of a batch, and the states of the visual tokens (B, N, D)."""
    reading = read_answers(mllm, batch)
    num = len(visual_token_ids)
    positions = visual_token_positions(batch["labels"], visual_token_ids[0], num)
    return reading, visual_token_states(reading.states, positions, num)


class HeldCondition(nn.Module):
    """Language model and edit head as they were, whose condition those that are trained shall still give.

    A UNet that was trained with them then needs no training again: another wording of an instruction, or a
    better look at the picture, changes the words of the answer, and the words mean to the UNet what they did.

    Args:
        mllm: LLaVA, which is copied.
        edit_head: copied, too.
    """

    def __init__(self, mllm: LlavaForConditionalGeneration, edit_head: EditHead) -> None:
        super().__init__()
        self.mllm = copy.deepcopy(mllm).requires_grad_(False)
        self.edit_head = copy.deepcopy(edit_head).requires_grad_(False)

    def forward(
        self,
        batch: dict[str, Tensor],
        prompt_embeds: Tensor,
        null_embeds: Tensor,
        visual_token_ids: list[int],
    ) -> Tensor:
        """Returns how far conditions are from what they were, a scalar: 1 = as far as no condition is.

        Args:
            batch: as `mgie.data.collate.EditCollator` makes it; rows whose answer has no visual tokens do not
                count, and of those asked another edit's question, the condition for their own is held.
            prompt_embeds: (B, Q, C), the condition of the parts that are trained.
            null_embeds: (1, Q, C), their null condition.
            visual_token_ids: ids of `[IMG0]..[IMGN-1]`.
        """
        own = {name: batch.get(f"own_{name}", tensor) for name, tensor in batch.items()}
        with torch.no_grad():
            _, states = imagine(self.mllm, own, visual_token_ids)
            embeds = visual_token_embeds(self.mllm, visual_token_ids)
            null = self.edit_head(torch.zeros_like(embeds), embeds).float()
            condition = self.edit_head(states, embeds).float()
        edits = (batch["labels"] == visual_token_ids[0]).any(dim=1)
        apart = (prompt_embeds - condition)[edits].square().sum() + (null_embeds - null).square().sum()
        return apart / (condition - null)[edits].square().sum().clamp(min=1e-6)


class MGIE(nn.Module):
    """The trainable whole: a batch in, losses out (MGIE, equations 2 to 5).

    1. The language model reads picture, question and answer: its loss, and the states of the visual tokens.
    2. The edit head maps the states to `prompt_embeds`, and zeros to the null condition.
    3. The frozen autoencoder encodes source and target.
    4. The UNet denoises K draws of noise and timestep for each row, with some conditions dropped.

    Args:
        mllm: LLaVA.
        edit_head: from visual tokens to the UNet's context.
        vae: autoencoder with diffusers' interface; it is not trained.
        unet: takes noisy latents and source latents side by side.
        scheduler: the training noise schedule.
        visual_token_ids: ids of `[IMG0]..[IMGN-1]`.
        draws_per_pair: K; the language model costs more than the UNet, so one pass of it serves several
            draws.
        condition_dropout: rate of each kind of dropped condition.
        diffusion_weight: weight of the denoising loss, 0.5 in the paper; with 0 nothing is painted.
        timestep_shift: see `mgie.diffusion.Draws`.
        relative_to_copy: see `mgie.diffusion.denoising_loss`; for latents with a scaling factor of 1.
        location_weight: see `mgie.diffusion.denoising_loss`.
        sight_weight: weight of `mgie.models.sight.Sight`, for rows that say what is where.
        hold_weight: weight of `HeldCondition`, which keeps language model and edit head as they are now.
        own_words_rate: share of the rows, of those whose instruction says the edit, whose answer the language
            model writes itself; for one that is not trained.
        conditioning: for "lgie" the batch has no picture for the language model; for "ip2p" it has no answer
            either, and the states of the question's tokens take the place of the visual tokens' in step 1.
    """

    def __init__(
        self,
        *,
        mllm: LlavaForConditionalGeneration,
        edit_head: EditHead,
        vae: nn.Module,
        unet: UNet2DConditionModel,
        scheduler: DDPMScheduler,
        visual_token_ids: list[int],
        draws_per_pair: int = 1,
        condition_dropout: float = 0.05,
        diffusion_weight: float = 0.5,
        timestep_shift: float = 1.0,
        relative_to_copy: bool = False,
        location_weight: float = 1.0,
        conditioning: Conditioning = "mgie",
        sight_weight: float = 0.0,
        hold_weight: float = 0.0,
        own_words_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.mllm, self.edit_head, self.vae, self.unet = mllm, edit_head, vae.requires_grad_(False), unet
        self.scheduler, self.visual_token_ids = scheduler, visual_token_ids
        self.draws_per_pair, self.condition_dropout = draws_per_pair, condition_dropout
        self.diffusion_weight, self.timestep_shift = diffusion_weight, timestep_shift
        self.relative_to_copy, self.location_weight = relative_to_copy, location_weight
        self.conditioning: Conditioning = conditioning
        self.sight_weight, self.hold_weight = sight_weight, hold_weight
        self.own_words_rate = own_words_rate
        self.says_where = isinstance(unet, ChangeUNet2DConditionModel)
        if sight_weight:
            self.sight = Sight(mllm.lm_head.in_features)
        if hold_weight:
            self.held = HeldCondition(mllm, edit_head)

    def forward(self, batch: dict[str, Tensor], randomness: Generator | Draws) -> dict[str, Tensor]:
        """Returns the scalars `loss`, `lm_loss` (0 for "ip2p") and `diffusion_loss`.

        And `sight_loss` and `hold_loss` where they count.

        Args:
            batch: as `mgie.data.collate.EditCollator` or, of a language model that is not trained, `encode`
                makes it; the language model's loss of the latter is 0.
            randomness: CPU generator of everything random in the pass, or the draws themselves.
        """
        encoded = "visual_token_states" in batch
        embeds = visual_token_embeds(self.mllm, self.visual_token_ids)
        lm_loss = sight_loss = hold_loss = diffusion_loss = embeds.new_zeros(())
        if self.conditioning == "ip2p":
            ids, attention_mask = batch["input_ids"], batch["attention_mask"]
            prompt_embeds = self.edit_head(*question_states(self.mllm, ids, attention_mask), attention_mask)
        elif encoded:
            prompt_embeds = self.edit_head(batch["visual_token_states"], embeds)
        else:
            batch = self._in_own_words(batch)
            reading, states = imagine(self.mllm, batch, self.visual_token_ids)
            lm_loss = reading.loss
            if self.sight_weight:
                sight_loss = seen(self.sight, self.mllm, reading, batch)
            prompt_embeds = self.edit_head(states, embeds)
        null_embeds = self.edit_head(torch.zeros_like(embeds), embeds)
        if self.hold_weight:
            hold_loss = self.held(batch, prompt_embeds, null_embeds, self.visual_token_ids)
        if self.diffusion_weight:
            pictures = batch if encoded else self._encode_pictures(batch)
            diffusion_loss = self._denoise(pictures, prompt_embeds, null_embeds, randomness)
        loss = (
            lm_loss
            + self.sight_weight * sight_loss
            + self.hold_weight * hold_loss
            + self.diffusion_weight * diffusion_loss
        )
        losses = {"loss": loss, "lm_loss": lm_loss.detach(), "diffusion_loss": diffusion_loss.detach()}
        if self.sight_weight:
            losses["sight_loss"] = sight_loss.detach()
        if self.hold_weight:
            losses["hold_loss"] = hold_loss.detach()
        return losses

    def _denoise(
        self,
        pictures: dict[str, Tensor],
        prompt_embeds: Tensor,
        null_embeds: Tensor,
        randomness: Generator | Draws,
    ) -> Tensor:
        """Returns the denoising loss, a scalar, of pictures as `encode` gives them."""
        vae: Any = self.vae
        latent_dist = DiagonalGaussianDistribution(pictures["target_latent_parameters"])
        image_latents = pictures["image_latents"]
        draws = randomness
        if isinstance(draws, Generator):
            draws = Draws.sample(
                draws,
                image_latents.shape,
                num_train_timesteps=self.scheduler.config["num_train_timesteps"],
                draws_per_pair=self.draws_per_pair,
                timestep_shift=self.timestep_shift,
            )
        latents = target_latents(latent_dist, vae.config.scaling_factor, draws.latent_noise)
        prompt_embeds, latents, image_latents, changed, arrivals, gone, come, behind, covered = (
            x.repeat_interleave(self.draws_per_pair, 0)
            for x in (
                prompt_embeds,
                latents,
                image_latents,
                *(pictures[name] for name in ("changed", "arrivals", "gone", "come", "behind", "covered")),
            )
        )
        prompt_embeds, image_latents = drop_conditions(
            prompt_embeds, null_embeds, image_latents, draws.condition_dropout, self.condition_dropout
        )
        with_source = (image_latents != 0).any(dim=1, keepdim=True)
        changed = changed.masked_fill(~with_source, 1)
        has_source = with_source.any(dim=(2, 3), keepdim=True)
        arrivals, gone, come = arrivals * has_source, gone * has_source, come * has_source
        return denoising_loss(
            self.unet,
            self.scheduler,
            latents,
            image_latents,
            prompt_embeds,
            draws.noise,
            draws.timesteps,
            changed,
            self.relative_to_copy,
            self.location_weight,
            true_layers(arrivals, gone, come, behind) if self.says_where else None,
            covered if self.says_where else None,
        )

    def encode(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns what language model and autoencoder make of a batch.

        `visual_token_states` (B, N, D), `target_latent_parameters` (B, 2c, h, w), mean and log variance,
        `image_latents` and `behind` (B, c, h, w), see `mgie.models.layers.TrueLayers`, `arrivals` as they
        are, and of `mgie.diffusion.changed_places` (B, 1, h, w): `changed`, `gone` from the source to what
        is behind, `come` from there to the target. For a UNet that says where it changes the picture, the
        target is without its pattern, and `covered` (B, 1, STEPS * h, STEPS * w) is how much that covers.
        """
        _, states = imagine(self.mllm, self._in_own_words(batch), self.visual_token_ids)
        return {"visual_token_states": states, **self._encode_pictures(batch)}

    def _in_own_words(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns a batch some of whose first rows the language model answers itself."""
        if not self.own_words_rate:
            return batch
        vague = batch["vague"]
        first = torch.arange(len(vague), device=vague.device) < self.own_words_rate * len(vague)
        return in_own_words(self.mllm, batch, first & ~vague, self.visual_token_ids[0])

    def _encode_pictures(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns what `encode` does, but for the visual tokens.

        Of pairs that tell neither what is behind nor what comes from where, all is painted in place; of those
        that tell of no pattern, all over.
        """
        source, target = batch["source"], batch["target"]
        if self.says_where:
            target = batch.get("plain", target)
        behind, covered = batch.get("behind", source), batch.get("covered", torch.ones_like(source[:, :1]))
        latent_dist, image_latents = encode_pair(self.vae, source, target)
        behind_latents = encode_source(self.vae, behind) if self.says_where else image_latents
        height, width = image_latents.shape[2:]
        size = height, width
        return {
            "target_latent_parameters": latent_dist.parameters,
            "image_latents": image_latents,
            "changed": changed_places(source, target, size),
            "gone": changed_places(source, behind, size),
            "come": changed_places(behind, target, size),
            "behind": behind_latents,
            "covered": functional.adaptive_avg_pool2d(covered, (STEPS * height, STEPS * width)),
            "arrivals": batch.get("arrivals", source.new_zeros(len(source), MAX_ARRIVALS, 2, 4)),
        }
