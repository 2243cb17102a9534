"""MGIE as it is trained: what reaches what."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from PIL import Image
from torch import Generator, Tensor

import mgie.models.mgie
from mgie.data.collate import EditCollator
from mgie.data.dataset import Sample
from mgie.diffusion import Draws, encode_pair
from mgie.models.mgie import MGIE, imagine
from mgie.models.mllm import visual_token_ids, visual_token_positions
from mgie.models.unet import ChangeUNet2DConditionModel
from mgie.pipeline import MGIEPipeline
from mgie.prompts import answer, question

Build = Callable[..., MGIE]


def embeddings(module: MGIE) -> Tensor:
    """Returns the word embeddings of the language model."""
    table: Any = module.mllm.get_input_embeddings()
    return table.weight


@pytest.fixture
def new_pipeline(pipeline_folder: Path) -> MGIEPipeline:
    """The toy pipeline, to be changed at will."""
    return MGIEPipeline.from_pretrained(pipeline_folder)


@pytest.fixture
def build(new_pipeline: MGIEPipeline) -> Build:
    """Returns a function that builds a toy MGIE."""
    parts = new_pipeline.components

    def build(**changes: Any) -> MGIE:
        return MGIE(
            **{name: parts[name] for name in ("mllm", "edit_head", "vae", "unet")},
            scheduler=DDPMScheduler(prediction_type="v_prediction"),
            visual_token_ids=visual_token_ids(parts["processor"]),
            **changes,
        )

    return build


@pytest.fixture
def batch(new_pipeline: MGIEPipeline) -> dict[str, Tensor]:
    rng = np.random.default_rng(0)

    def sample(words: str) -> Sample:
        source = rng.random((32, 32, 3), dtype=np.float32)
        picture = Image.fromarray((source * 255).astype(np.uint8))
        return Sample(picture, source, 1 - source, question(words), answer(f"It would {words}."))

    return EditCollator(new_pipeline.components["processor"])(
        [sample("be red"), sample("turn blue and dark")]
    )


def test_losses_and_their_weight(build: Build, batch: dict[str, Tensor]):
    for weight in (0.5, 2.0):
        losses = build(diffusion_weight=weight)(batch, Generator().manual_seed(0))
        torch.testing.assert_close(losses["loss"], losses["lm_loss"] + weight * losses["diffusion_loss"])
        assert losses["loss"].requires_grad and not losses["lm_loss"].requires_grad


def test_language_loss_is_the_cross_entropy_of_the_answers(build: Build, batch: dict[str, Tensor]):
    module = build()
    reading, _ = imagine(module.mllm, batch, module.visual_token_ids)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "pixel_values")}
    logits = module.mllm(**inputs).logits[:, :-1].flatten(0, 1)
    expected = torch.nn.functional.cross_entropy(logits, batch["labels"][:, 1:].flatten())
    torch.testing.assert_close(reading.loss, expected)


def test_states_are_of_the_last_layer_before_each_visual_token(build: Build, batch: dict[str, Tensor]):
    module = build()
    reading, states = imagine(module.mllm, batch, module.visual_token_ids)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "pixel_values")}
    hidden_states = module.mllm(**inputs, output_hidden_states=True).hidden_states
    hidden = hidden_states[-1]
    num_layers = len(hidden_states) - 1
    torch.testing.assert_close(reading.midway, hidden_states[2 * num_layers // 3])
    for row, ids in enumerate(batch["input_ids"].tolist()):
        first = ids.index(module.visual_token_ids[0])
        torch.testing.assert_close(states[row], hidden[row, first - 1 : first + 7])
    assert len(set(visual_token_positions(batch["labels"], module.visual_token_ids[0]).tolist())) == 2


def test_denoising_alone_teaches_the_edit_head_and_the_language_model(
    build: Build, batch: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
):
    module = build(condition_dropout=0.0)
    reading, states = imagine(module.mllm, batch, module.visual_token_ids)
    told = replace(reading, loss=reading.loss.detach())
    monkeypatch.setattr("mgie.models.mgie.imagine", lambda *_: (told, states))
    module(batch, Generator().manual_seed(0))["loss"].backward()
    layers = module.mllm.model.language_model.layers
    for name, parameter in (
        ("edit head", module.edit_head.llm2hid.weight),
        ("queries", module.edit_head.query),
        ("word embeddings", embeddings(module)),
        ("first layer", layers[0].self_attn.v_proj.weight),
        ("last layer", layers[-1].mlp.down_proj.weight),
        ("projector", module.mllm.model.multi_modal_projector.linear_1.weight),
        ("unet", module.unet.conv_in.weight),
    ):
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name
    assert module.mllm.lm_head.weight.grad is None  # only the language loss reaches it
    assert all(p.grad is None for p in module.vae.parameters())
    grad = embeddings(module).grad
    assert grad is not None and grad[module.visual_token_ids].abs().amin(1).max() > 0


def test_draws_repeat_rows_in_order_with_their_own_noise(
    build: Build, batch: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
):
    seen: list[tuple[Tensor, ...]] = []

    def loss(unet: Any, scheduler: Any, *tensors: Any) -> Tensor:
        seen.append(tensors[:3])
        return torch.zeros(())

    monkeypatch.setattr(mgie.models.mgie, "denoising_loss", loss)
    build(draws_per_pair=1, condition_dropout=0.0)(batch, Generator().manual_seed(0))
    build(draws_per_pair=3, condition_dropout=0.0)(batch, Generator().manual_seed(0))
    for once, thrice in zip(*seen, strict=True):
        assert len(once) == 2 and len(thrice) == 6
        torch.testing.assert_close(thrice, once[[0, 0, 0, 1, 1, 1]])


def test_each_draw_drops_for_itself_and_null_replaces_text(
    build: Build, batch: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
):
    seen: list[Tensor] = []
    monkeypatch.setattr(
        mgie.models.mgie,
        "denoising_loss",
        lambda u, s, latents, *others: seen.extend(others) or torch.zeros(()),
    )
    module = build(draws_per_pair=32, condition_dropout=1 / 3)
    batch["target"][..., 16:] = batch["source"][..., 16:]
    module(batch, Generator().manual_seed(0))
    image_latents, prompt_embeds, _, _, changed = seen[:5]
    embeds = embeddings(module)[module.visual_token_ids][None]
    null = module.edit_head(torch.zeros_like(embeds), embeds)
    no_text = (prompt_embeds - null).abs().amax((1, 2)) < 1e-6
    no_image = image_latents.abs().amax((1, 2, 3)) == 0
    assert (no_text | no_image).all()  # at a rate of a third nothing is whole
    for first in (0, 32):  # within the draws of one row all three cases occur
        rows = slice(first, first + 32)
        assert (no_text & no_image)[rows].any()
        assert (no_text & ~no_image)[rows].any()
        assert (~no_text & no_image)[rows].any()
    assert (changed[no_image] == 1).all()  # without its source, a picture is painted everywhere
    assert (changed[~no_image][..., :2] > 0).all() and (changed[~no_image][..., 2:] == 0).all()


def test_draws_may_be_given(build: Build, batch: dict[str, Tensor]):
    module = build(draws_per_pair=2)
    shape = encode_pair(module.vae, batch["source"], batch["target"])[1].shape
    draws = Draws.sample(Generator().manual_seed(3), shape, draws_per_pair=2)
    assert module(batch, draws) == module(batch, Generator().manual_seed(3))


def test_everything_random_comes_from_the_generator(build: Build, batch: dict[str, Tensor]):
    module = build(draws_per_pair=2)
    losses = [module(batch, Generator().manual_seed(seed))["loss"].item() for seed in (3, 3, 4)]
    assert losses[0] == losses[1] != losses[2]


def painting(new_pipeline: MGIEPipeline) -> MGIE:
    """Returns a module whose UNet says where it changes the picture."""
    parts = new_pipeline.components
    channels, head = parts["vae"].config["latent_channels"], parts["edit_head"].config
    unet = ChangeUNet2DConditionModel(
        in_channels=2 * channels,
        out_channels=channels,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=head["context_dim"],
        projection_class_embeddings_input_dim=head["num_queries"] * head["context_dim"],
        attention_head_dim=2,
        norm_num_groups=4,
    )
    return MGIE(
        **{name: parts[name] for name in ("mllm", "edit_head", "vae")},
        unet=unet,
        scheduler=DDPMScheduler(prediction_type="sample"),
        visual_token_ids=visual_token_ids(parts["processor"]),
        condition_dropout=0.0,
    )


def test_what_goes_and_comes_is_learned_from_made_edits(new_pipeline: MGIEPipeline, batch: dict[str, Tensor]):
    module = painting(new_pipeline)
    unet: Any = module.unet
    torch.nn.init.normal_(unet.layers.finder.say.weight)
    torch.nn.init.constant_(unet.layers.finder.say.bias, 2.0)  # squares are found, so that they can settle

    def reached(arrivals: list[list[list[float]]]) -> set[str]:
        """Returns the parts of the layers that learn when the first row's picture goes and this comes."""
        module.zero_grad()
        told = batch | {"behind": batch["source"].clone(), "arrivals": torch.zeros(2, 2, 2, 4)}
        told["arrivals"][0, : len(arrivals)] = torch.tensor(arrivals)
        told["behind"][0] = 0
        module(told, Generator().manual_seed(0))["loss"].backward()
        named = unet.layers.named_parameters()
        return {name.split(".")[0] for name, p in named if p.grad is not None and p.grad.abs().sum() > 0}

    there, here = [-1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]
    nothing, new, moved = [[[0.0] * 4] * 2], [[[0.0] * 4, here]], [[there, here]]
    assert reached(nothing) == {"finder"}
    assert reached(new) == {"finder", "settle", "canvas"}
    assert reached(moved) == {"finder", "settle", "mend"}


def test_what_a_pattern_shows_is_learned_all_over(new_pipeline: MGIEPipeline, batch: dict[str, Tensor]):
    module, source = painting(new_pipeline), batch["source"]
    plain, covered = -source, torch.zeros_like(source[:, :1])
    covered[..., ::2, :] = 1
    batch = batch | {"target": source + covered * (plain - source)}
    in_pattern = module.encode(batch | {"plain": plain, "covered": covered})
    all_over = module.encode(batch | {"target": plain})
    for name in ("target_latent_parameters", "changed", "come"):
        torch.testing.assert_close(in_pattern[name], all_over[name])
    assert (in_pattern["covered"] == 0.5).all() and (all_over["covered"] == 1).all()

    module(batch | {"plain": plain, "covered": covered}, Generator().manual_seed(0))["loss"].backward()
    assert module.unet.pattern.hear[-1].bias.grad.abs().sum() > 0


def test_a_condition_is_held_where_the_answers_have_visual_tokens(build: Build, batch: dict[str, Tensor]):
    module = build(hold_weight=3.0, diffusion_weight=0.0)
    randomness = Generator().manual_seed(0)
    assert module(batch, randomness)["hold_loss"] < 1e-9
    kept = module.held.edit_head.query.clone()
    with torch.no_grad():
        for parameter in module.mllm.model.language_model.layers[0].parameters():
            parameter += 0.1
    losses = module(batch, randomness)
    assert losses["hold_loss"] > 1e-4
    torch.testing.assert_close(losses["loss"], losses["lm_loss"] + 3 * losses["hold_loss"])
    losses["loss"].backward()
    assert module.mllm.model.language_model.layers[0].self_attn.v_proj.weight.grad is not None
    assert all(parameter.grad is None for parameter in module.held.parameters())
    torch.testing.assert_close(module.held.edit_head.query, kept)

    described = batch | {"labels": batch["labels"].clone()}
    described["labels"][1][described["labels"][1] == module.visual_token_ids[0]] = 5
    first = {name: tensor[:1] for name, tensor in batch.items()}
    both, alone = (module(rows, randomness)["hold_loss"] for rows in (described, first))
    torch.testing.assert_close(both, alone)


def test_what_is_held_is_the_condition_for_ones_own_question(build: Build, batch: dict[str, Tensor]):
    module = build(hold_weight=1.0, diffusion_weight=0.0)
    told = {f"own_{name}": batch[name] for name in ("input_ids", "attention_mask", "labels")}
    another = batch["input_ids"].clone()
    asked = (batch["labels"] == -100) & (another > 20)
    another[asked] = another[asked].flip(0)
    randomness = Generator().manual_seed(0)
    assert module(batch | told, randomness)["hold_loss"] < 1e-9
    assert module(batch | {"input_ids": another}, randomness)["hold_loss"] < 1e-9
    assert module(batch | told | {"input_ids": another}, randomness)["hold_loss"] > 1e-4


def test_without_a_denoising_loss_nothing_is_painted(build: Build, batch: dict[str, Tensor]):
    module = build(diffusion_weight=0.0)
    module.unet = module.vae = torch.nn.Identity()  # which would fail
    losses = module(batch, Generator().manual_seed(0))
    assert losses["diffusion_loss"] == 0
    torch.testing.assert_close(losses["loss"], losses["lm_loss"])
