"""The denoising loss and its conditions, against formulas written out."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler
from torch import Generator, Tensor, nn

from mgie.diffusion import (
    Draws,
    changed_places,
    copy_loss,
    denoising_loss,
    drop_conditions,
    encode_pair,
    layers_loss,
    location_loss,
    target_latents,
    true_layers,
)
from mgie.models.autoencoder import UnshuffleAutoencoder
from mgie.models.layers import LayersOutput, TrueLayers, cover


class Linear(nn.Module):
    """Stands in for a UNet: an exact function of everything that goes in."""

    def forward(self, sample: Tensor, timesteps: Tensor, context: Tensor) -> SimpleNamespace:
        latents, image_latents = sample.chunk(2, dim=1)
        shift = timesteps[:, None, None, None] / 1000 + context.mean((1, 2))[:, None, None, None]
        return SimpleNamespace(sample=0.5 * latents - 0.25 * image_latents + shift)


@pytest.mark.parametrize(
    ("draw", "text_dropped", "image_dropped"),
    [(0.02, True, False), (0.07, True, True), (0.12, False, True), (0.5, False, False)],
)
def test_which_condition_is_dropped(draw: float, text_dropped: bool, image_dropped: bool):
    prompt, null, image = torch.ones(1, 2, 3), torch.full((1, 2, 3), -1.0), torch.ones(1, 4, 2, 2)
    embeds, latents = drop_conditions(prompt, null, image, torch.tensor([draw]))
    assert torch.equal(embeds, null if text_dropped else prompt)
    assert torch.equal(latents, torch.zeros_like(image) if image_dropped else image)


def test_shares_of_dropped_conditions():
    draw = (torch.arange(2000) + 0.5) / 2000  # every share exactly, no chance in it
    embeds, latents = drop_conditions(
        torch.ones(2000, 1, 1), torch.zeros(1, 1, 1), torch.ones(2000, 1, 1, 1), draw, 0.05
    )
    no_text, no_image = embeds.flatten() == 0, latents.flatten() == 0
    assert (no_text & ~no_image).sum() == 100
    assert (no_text & no_image).sum() == 100
    assert (~no_text & no_image).sum() == 100


def test_no_dropout_leaves_everything():
    prompt, image = torch.randn(3, 2, 4), torch.randn(3, 1, 2, 2)
    embeds, latents = drop_conditions(
        prompt, torch.zeros(1, 2, 4), image, torch.tensor([0.0, 0.01, 0.9]), 0.0
    )
    assert torch.equal(embeds, prompt) and torch.equal(latents, image)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_loss_is_the_formula(prediction_type: Any):
    scheduler = DDPMScheduler(prediction_type=prediction_type, rescale_betas_zero_snr=True)
    generator = Generator().manual_seed(1)
    latents, image_latents, noise = torch.randn(3, 3, 2, 4, 4, generator=generator)
    embeds = torch.randn(3, 5, 6, generator=generator)
    timesteps = torch.tensor([0, 500, 999])
    everywhere = torch.ones(3, 1, 4, 4)
    loss = denoising_loss(Linear(), scheduler, latents, image_latents, embeds, noise, timesteps, everywhere)

    alpha = scheduler.alphas_cumprod[timesteps].view(3, 1, 1, 1)
    noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
    wanted = {
        "epsilon": noise,
        "v_prediction": alpha.sqrt() * noise - (1 - alpha).sqrt() * latents,
        "sample": latents,
    }[prediction_type]
    shift = timesteps.view(3, 1, 1, 1) / 1000 + embeds.mean((1, 2)).view(3, 1, 1, 1)
    expected = (0.5 * noisy - 0.25 * image_latents + shift - wanted).square().mean()
    torch.testing.assert_close(loss, expected)


def test_copying_the_source_costs_the_same_whatever_the_edit_changes():
    class Copying(nn.Module):
        def forward(self, sample: Tensor, timesteps: Tensor, context: Tensor) -> SimpleNamespace:
            return SimpleNamespace(sample=sample.chunk(2, dim=1)[1])

    generator = Generator().manual_seed(5)
    source, noise, change = torch.randn(3, 2, 2, 8, 8, generator=generator)
    scheduler = DDPMScheduler(prediction_type="sample")

    def loss(size: float) -> float:
        arguments = source + size * change, source, torch.ones(2, 5, 6), noise, torch.tensor([10, 999])
        everywhere = torch.ones(2, 1, 8, 8)
        return denoising_loss(Copying(), scheduler, *arguments, everywhere, relative_to_copy=True).item()

    assert loss(1.0) == pytest.approx(1, abs=0.05) == loss(4.0)
    assert loss(0.01) < 0.02  # nothing but the autoencoder's noise


def test_how_much_of_each_place_changes():
    source = torch.rand(2, 3, 64, 32, generator=Generator().manual_seed(6)) - 0.5
    target = source.clone()
    target[:, 1, :20] += 0.5
    share = torch.tensor([1, 1, 0.5, 0, 0, 0, 0, 0]).view(1, 1, 8, 1).expand(2, 1, 8, 4)
    torch.testing.assert_close(changed_places(source, target, (8, 4)), share)
    target[:, :, 8:16] = source[:, :, 8:16]  # as a blur leaves a flat part between others
    torch.testing.assert_close(changed_places(source, target, (8, 4)), share)
    target[:, :, 4:16] = source[:, :, 4:16]
    assert changed_places(source, target, (8, 4))[0, 0, :, 0].tolist() == [0.5, 0, 0.5, 0, 0, 0, 0, 0]
    assert changed_places(source, source + 0.05, (8, 4)).count_nonzero() == 0  # nobody sees that


def test_who_knows_where_the_picture_changes_pays_nothing():
    for rows in (1, 4):
        places = torch.zeros(2, 1, 8, 8)
        places[:, :, :rows] = 1
        logits = 18 * places - 9
        assert location_loss(logits, places) < 0.01
        assert location_loss(-logits, places) > 9
        share = torch.tensor(rows / 8)
        ignorant = torch.logit(share).expand(2, 1, 8, 8)
        assert 0.75 < location_loss(ignorant, places) < 0.9
    assert location_loss(torch.full((2, 1, 8, 8), -9.0), torch.zeros(2, 1, 8, 8)) < 0.01


def test_a_place_that_changes_in_part_has_that_part_as_its_best_guess():
    places, logits = torch.full((1, 1, 8, 8), 0.25), torch.zeros(1, 1, 8, 8, requires_grad=True)
    optimizer = torch.optim.SGD([logits], lr=50.0)
    for _ in range(200):
        optimizer.zero_grad()
        location_loss(logits, places).backward()
        optimizer.step()
    torch.testing.assert_close(logits.sigmoid(), places, atol=0.01, rtol=0)


def test_a_unet_that_says_where_learns_apart_what_and_where():
    source, change, noise = torch.randn(3, 3, 2, 8, 8, generator=Generator().manual_seed(7))
    change += change.sign()
    places = torch.zeros(3, 1, 8, 8)
    places[:, :, 2:5], places[:, :, 5] = 1, 0.5  # an outline, with the change in half of each place
    target = source + places * change
    right = torch.logit(places, eps=1e-4)
    scheduler = DDPMScheduler(prediction_type="sample")

    def loss(change: Tensor, changed_logits: Tensor, covered: Tensor | None = None) -> float:
        def unet(sample: Tensor, *_: Tensor) -> SimpleNamespace:
            painted = source + changed_logits.sigmoid() * change
            return SimpleNamespace(
                sample=painted, change=change, changed_logits=changed_logits, pattern_logits=right
            )

        rest = torch.ones(3, 5, 6), noise, torch.tensor([0, 500, 999]), places
        patterns = {} if covered is None else {"covered": covered}
        return denoising_loss(unet, scheduler, target, source, *rest, location_weight=3.0, **patterns).item()

    least, where = (3 * location_loss(logits, places).item() for logits in (right, -right))
    what = (target - source).square().mean().item()
    assert loss(change, right) == pytest.approx(least)  # whatever it would paint elsewhere
    assert loss(change, -right) == pytest.approx(where) and where > 10 * least
    assert loss(0 * change, -right) == pytest.approx(what + where)
    assert loss(change, right, places) == pytest.approx(2 * least)  # of a pattern
    assert loss(change, right, 1 - places) == pytest.approx(least + 3 * location_loss(right, 1 - places))


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_share_of_noisy_timesteps(shift: float):
    draws = Draws.sample(Generator().manual_seed(0), (4096, 1, 1, 1), timestep_shift=shift)
    # With t = s u / (1 + (s - 1) u), t exceeds a half where u exceeds 1 / (s + 1).
    share = (draws.timesteps >= 500).double().mean().item()
    assert abs(share - shift / (shift + 1)) < 0.03
    assert draws.timesteps.min() >= 0 and draws.timesteps.max() <= 999


def test_draws_have_their_shapes_and_are_the_generators_alone():
    first, same, other = (
        Draws.sample(Generator().manual_seed(seed), (2, 3, 4, 5), draws_per_pair=3) for seed in (0, 0, 1)
    )
    assert first.latent_noise.shape == (2, 3, 4, 5) and first.noise.shape == (6, 3, 4, 5)
    assert first.condition_dropout.shape == first.timesteps.shape == (6,)
    for name in ("latent_noise", "condition_dropout", "noise", "timesteps"):
        assert torch.equal(getattr(first, name), getattr(same, name))
        assert not torch.equal(getattr(first, name), getattr(other, name))


def test_target_is_sampled_and_scaled_but_source_is_the_bare_mode():
    vae = UnshuffleAutoencoder(
        latent_channels=2, encoder_channels=8, decoder_channels=(8, 8), scaling_factor=3.0
    )
    source, target = torch.rand(2, 2, 3, 16, 16) * 2 - 1
    latent_noise = torch.randn(2, 2, 2, 2, generator=Generator().manual_seed(0))
    latent_dist, image_latents = encode_pair(vae, source, target)
    latents = target_latents(latent_dist, vae.config["scaling_factor"], latent_noise)
    with torch.no_grad():
        assert torch.equal(image_latents, vae.encode(source).latent_dist.mode())
        expected = 3 * vae.encode(target).latent_dist.sample(Generator().manual_seed(0))
    torch.testing.assert_close(latents, expected)
    assert not latents.requires_grad and not image_latents.requires_grad


def test_who_knows_where_a_copy_comes_from_pays_nothing():
    """A square of 4 x 2 places that moves by three places across and comes up half as large."""
    old, new = [-1.0, -1.0, 0.0, -0.5], [0.5, -1.0, 1.0, -0.75]
    arrivals = torch.zeros(2, 2, 2, 4)
    arrivals[0, 0] = torch.tensor([old, new])
    arrivals[1, 0, 1] = torch.tensor(old)  # it comes from nowhere
    changed = torch.ones(2, 1, 16, 8)
    y, x = torch.meshgrid((torch.arange(16) + 0.5) / 8 - 1, (torch.arange(8) + 0.5) / 4 - 1, indexing="ij")
    offsets = torch.stack([2 * (x - 0.5) - 1 - x, 2 * (y + 1) - 1 - y]).expand(2, 2, 16, 8).clone()
    inside = (x > 0.5) & (y < -0.75)
    assert inside.sum() == 4
    squares = true_layers(arrivals, changed, changed, torch.zeros(2, 3, 16, 8)).squares
    assert copy_loss(offsets, squares, changed) < 1e-6
    offsets[:, :, ~inside] = 7.0  # nobody asks for it there, nor of a row without a copy
    assert copy_loss(offsets, squares, changed) < 1e-6
    offsets[0, 0] += 0.2
    torch.testing.assert_close(copy_loss(offsets, squares, changed), torch.tensor(0.1))
    assert copy_loss(offsets, squares, changed.masked_fill(inside, 0)) == 0  # an edit that does not show it


def moved() -> tuple[TrueLayers, torch.Tensor, torch.Tensor]:
    """Returns what goes and comes, source and target: a square of 4 x 4 places moves by six, and nothing."""
    arrivals = torch.zeros(2, 2, 2, 4)
    arrivals[0, 0] = torch.tensor([[-1.0, -1.0, -0.5, 0.0], [-0.25, -1.0, 0.25, 0.0]])
    gone, come = torch.zeros(2, 2, 1, 8, 16)
    gone[0, :, :4, :4], come[0, :, :4, 6:10] = 1, 1
    behind = torch.randn(2, 3, 8, 16)
    source, target = behind.clone(), behind.clone()
    source[0, :, :4, :4] = target[0, :, :4, 6:10] = 3.0
    target[1] += 1  # only what is there changes
    return true_layers(arrivals, gone, come, behind), source, target


def known_by(truth: TrueLayers, target: torch.Tensor) -> LayersOutput:
    """Returns what one says and paints who knows the truth."""
    shares = torch.cat([truth.gone, cover(truth.squares, 8, 16), truth.gone], dim=1)
    return LayersOutput(
        logits=torch.logit(shares, eps=1e-6),
        squares=truth.squares.clone(),
        contents=target[:, None].repeat(1, 2, 1, 1, 1),
        outlines=torch.logit(truth.come, eps=1e-6)[:, None].repeat(1, 2, 1, 1, 1),
    )


def test_true_layers_are_in_places():
    truth, source, _ = moved()
    assert truth.squares[0].tolist() == [[2, 2, 4], [8, 2, 4], [0, 0, 0]] and not truth.squares[1].any()
    torch.testing.assert_close(cover(truth.squares[:, 1:2], 8, 16), truth.come)
    assert torch.equal(torch.where(truth.gone > 0, 3.0, truth.behind), source)


def test_who_knows_what_goes_and_comes_pays_nothing():
    truth, _, target = moved()
    assert layers_loss(known_by(truth, target), truth, target) < 1e-3


@pytest.mark.parametrize(
    ("part", "off"),
    [("logits", 20.0), ("squares", 0.5), ("contents", 0.5), ("outlines", 20.0)],
)
def test_each_part_of_what_goes_and_comes_is_taught(part: str, off: float):
    truth, _, target = moved()
    output = known_by(truth, target)
    least = layers_loss(output, truth, target)
    learned = getattr(output, part)
    learned += off * torch.randn(learned.shape, generator=Generator().manual_seed(0))
    learned.requires_grad_()
    loss = layers_loss(output, truth, target)
    (gradient,) = torch.autograd.grad(loss, learned)
    assert loss > least + 1e-3 and gradient[0].any()
    assert part == "logits" or not gradient[1].any()  # a row where nothing goes or comes


def test_what_is_painted_counts_where_it_is_seen():
    truth, _, target = moved()
    output = known_by(truth, target)
    least = layers_loss(output, truth, target)
    output.contents[:, 0] += 9 * (1 - truth.come)
    output.contents[:, 1] += 9
    assert layers_loss(output, truth, target) == least
