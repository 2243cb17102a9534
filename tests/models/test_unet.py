"""The widened UNet."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, UNet2DConditionModel

from mgie.data.synth.material import pattern
from mgie.models.backbone import FEATURES
from mgie.models.layers import gate
from mgie.models.pattern import _WAVES
from mgie.models.unet import ChangeUNet2DConditionModel, FindingUNet2DConditionModel, _decided, widen_conv_in

MEANS, GUIDE, X, ONE, KNOWN = 4, 12, 44, 49, 50
"""What a change UNet of four channels knows of a place: where means, guide, x and constant are; how much."""
PAINTED, TO_COPY, ACROSS, DOWN = 9, 6, 7, 8
"""What it paints: the change, how much of a place it is, how far it goes towards what is around and towards a
copy, and how far across and down from the place that stands."""
WAVES, EIGHT_DOWN = 32, 13
"""Waves that one with a backbone knows after its features; where the sine of eight from top to bottom is."""


def small_unet(unet_class: type[UNet2DConditionModel] = UNet2DConditionModel) -> UNet2DConditionModel:
    change = {"in_channels": 8, "projection_class_embeddings_input_dim": 3 * 8}
    return unet_class(
        **({"in_channels": 4} if unet_class is UNet2DConditionModel else change),
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=2,
        norm_num_groups=4,
    ).eval()


@torch.no_grad()
def test_zero_source_latents_give_the_original_unet(tmp_path: Path):
    unet = small_unet()
    torch.nn.init.normal_(dict(unet.conv_in.named_parameters())["bias"])  # a forgotten bias would show
    latents, context = torch.randn(2, 4, 8, 8), torch.randn(2, 3, 8)
    before = unet(latents, 10, context).sample
    wide = widen_conv_in(unet, 8)
    after = wide(torch.cat([latents, torch.zeros_like(latents)], 1), 10, context).sample
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-5)
    changed = wide(torch.cat([latents, torch.ones_like(latents)], 1), 10, context).sample
    torch.testing.assert_close(changed, before, atol=1e-5, rtol=1e-5)  # the new channels start at zero

    wide.save_pretrained(tmp_path)
    loaded = UNet2DConditionModel.from_pretrained(tmp_path)
    assert isinstance(loaded, UNet2DConditionModel)
    assert loaded.config["in_channels"] == loaded.conv_in.in_channels == 8


def test_new_channels_learn():
    unet = widen_conv_in(small_unet(), 8)
    unet(torch.randn(1, 8, 8, 8), 10, torch.randn(1, 3, 8)).sample.square().mean().backward()
    grad = unet.conv_in.weight.grad
    assert grad is not None and grad[:, 4:].abs().sum() > 0


def test_a_wide_unet_stays_as_it_is():
    unet = widen_conv_in(small_unet(), 8)
    conv_in = unet.conv_in
    assert widen_conv_in(unet, 8).conv_in is conv_in


def taught(unet: UNet2DConditionModel, logit: float) -> UNet2DConditionModel:
    """Returns a change UNet that paints at random, with one logit of change everywhere."""
    torch.nn.init.normal_(unet.conv_out.weight)
    torch.nn.init.zeros_(unet.conv_out.weight[4:])
    torch.nn.init.constant_(unet.conv_out.bias, logit)
    torch.nn.init.zeros_(unet.conv_out.bias[5:])
    return unet


def painting(
    coefficients: torch.Tensor,
    logit: float = 9.0,
    unet_class: type[UNet2DConditionModel] = ChangeUNet2DConditionModel,
) -> UNet2DConditionModel:
    """Returns a change UNet that changes places by this affine map (9, known) of what it knows."""
    unet = taught(small_unet(unet_class), logit)
    torch.nn.init.zeros_(unet.conv_out.weight)
    torch.nn.init.zeros_(unet.conv_out.bias[:4])
    torch.nn.init.zeros_(unet.affine[-1].weight)
    unet.affine[-1].bias.copy_(coefficients.flatten())
    return unet


@torch.no_grad()
def test_a_new_change_unet_keeps_the_source_whatever_it_is_told():
    scheduler = DPMSolverMultistepScheduler(
        prediction_type="sample", rescale_betas_zero_snr=True, timestep_spacing="trailing"
    )
    scheduler.set_timesteps(1)
    unet = small_unet(ChangeUNet2DConditionModel)
    noise, source = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    both, timestep = torch.cat([noise, source], 1), scheduler.timesteps[0]
    latents = unet(both, timestep, torch.randn(2, 3, 8)).sample
    assert torch.equal(latents, source)
    edited = scheduler.step(latents, timestep, noise, return_dict=False)[0]
    torch.testing.assert_close(edited, source, atol=1e-2, rtol=1e-2)  # diffusers keeps a signal of 2^-12


@torch.no_grad()
def test_the_source_stays_exactly_where_nothing_is_to_change():
    both, context = torch.randn(2, 8, 8, 8), torch.randn(2, 3, 8)
    source = both[:, 4:]
    for logit, least in ((-2.0, 0.0), (1.0, 0.1), (2.0, 0.1)):
        output = taught(small_unet(ChangeUNet2DConditionModel), logit)(both, 10, context)
        assert output.changed_logits.shape == (2, 1, 8, 8)
        torch.testing.assert_close(output.changed_logits, torch.full((2, 1, 8, 8), logit))
        change = (output.sample - source).abs().mean().item()
        assert change == 0 if least == 0 else change > least


@torch.no_grad()
@pytest.mark.parametrize(
    ("chances", "shown"),
    [
        ((0.999, 0.915, 0.85, 0.70), (1, 0.97, 0.5, 0)),
        ((0.60, 0.60, 0.05, 0.05), (0.80, 0.80, 0, 0)),  # hard to say, and still there rather than elsewhere
        ((0.30, 0.30, 0.05, 0.05), (0, 0, 0, 0)),
        ((1e-9, 1e-9, 1e-9, 1e-9), (0, 0, 0, 0)),
    ],
)
def test_a_change_shows_where_it_is_about_as_likely_as_it_gets(
    chances: tuple[float, ...], shown: tuple[float, ...]
):
    """Of the places, nearly all are as the first in the first case, and a fourth each in the others."""
    widths = (61, 1, 1, 1) if chances[0] > 0.9 else (16, 16, 16, 16)
    columns = torch.tensor([c for c, width in zip(chances, widths, strict=True) for _ in range(width)])
    expected = torch.tensor([s for s, width in zip(shown, widths, strict=True) for _ in range(width)])
    for dtype in (torch.float32, torch.bfloat16):
        logits = columns.double().logit().to(dtype).expand(1, 1, 3, -1)
        torch.testing.assert_close(
            gate(_decided(logits)).float(), expected.float().expand(1, 1, 3, -1), atol=0.05, rtol=0
        )


def of_the_left_half() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns coefficients of an edit of the left half, and two rows of latents and pictures."""
    coefficients = torch.zeros(PAINTED, KNOWN)
    coefficients[4, X], coefficients[0, ONE] = -20.0, 1.0
    return coefficients, torch.randn(2, 8, 8, 12), torch.rand(2, 3, 64, 96) * 2 - 1


@torch.no_grad()
def test_what_an_edit_of_a_part_changes_is_known_to_the_pixel():
    """The left half is edited: as a whole edit it would be all, and with layers it is theirs to say."""
    coefficients, both, pictures = of_the_left_half()
    unet = painting(coefficients, 0.0)
    output = unet(both, 10, torch.randn(2, 3, 8))
    for changed in unet.changed_pixels(output, pictures):
        assert changed is not None and changed.shape == (1, 64, 96)
        assert (changed[..., :40] == 1).all() and (changed[..., 56:] == 0).all()
    (first,) = unet.changed_pixels(output, pictures[:1])  # of guidance, the first
    assert first is not None

    output.layers.logits[1, :1] = 9.0
    assert [row is None for row in unet.changed_pixels(output, pictures)] == [False, True]
    coefficients[0, X] = -1.0  # beside it, it would change less and less, so it is of the whole
    coefficients[0, ONE] = 0.1
    unet = painting(coefficients, 0.0)
    assert unet.changed_pixels(unet(both, 10, torch.randn(2, 3, 8)), pictures) == [None, None]
    whole = painting(coefficients * 0, 9.0)
    assert whole.changed_pixels(whole(both, 10, torch.randn(2, 3, 8)), pictures) == [None, None]


@torch.no_grad()
def test_a_pattern_is_cut_out_of_a_part_to_the_pixel():
    """The left half is edited in stripes, of which eight go into eight places: half of each is changed."""
    coefficients, both, pictures = of_the_left_half()
    unet = painting(coefficients, 0.0)
    plain = unet(both, 10, torch.randn(2, 3, 8))
    stripes = torch.zeros_like(unet.pattern.hear[-1].bias)
    stripes[1 + len(_WAVES) + _WAVES.index((0, 8))] = 1.0
    unet.pattern.hear[-1].bias.copy_(stripes)
    output = unet(both, 10, torch.randn(2, 3, 8))
    for name in ("change", "changed_logits", "everywhere"):
        torch.testing.assert_close(output[name], plain[name])
    change = (output.sample - both[:, 4:])[:, 0]
    torch.testing.assert_close(change[..., :5], torch.full((2, 8, 5), 0.5), atol=0.02, rtol=0)
    assert (change[..., 7:] == 0).all()

    wanted = torch.from_numpy(pattern("stripes", 64, 96))
    for changed in unet.changed_pixels(output, pictures):
        assert changed is not None
        assert (changed[0, :, :40] - wanted[:, :40]).abs().mean() < 0.1
        assert (changed[0, :, 56:] == 0).all()


@torch.no_grad()
def test_the_text_chooses_an_affine_change_of_each_place():
    unet = taught(small_unet(ChangeUNet2DConditionModel), 9.0)
    torch.nn.init.zeros_(unet.conv_out.weight)
    torch.nn.init.zeros_(unet.conv_out.bias[:4])
    (first, _, last), source = unet.affine, torch.randn(2, 4, 8, 6)
    torch.nn.init.zeros_(first.weight)
    first.weight[0, 0], first.bias[:1] = 1.0, 0.0  # one hidden unit hears one feature of the text
    coefficients = torch.zeros(PAINTED, KNOWN)
    coefficients[:4, :4] = -2 * torch.eye(4)
    coefficients[0, X], coefficients[1, ONE] = 3.0, 5.0
    last.weight[:, 0] = coefficients.flatten() / torch.nn.functional.silu(torch.tensor(1.0))
    told = torch.zeros(2, 3, 8)
    told[1, :, 0] = 1.0
    kept, inverted = unet(torch.cat([torch.randn_like(source), source], 1), 999, told).sample
    torch.testing.assert_close(kept, source[0])
    expected = -source[1]
    expected[0] += torch.linspace(-3, 3, 6)
    expected[1] += 5
    torch.testing.assert_close(inverted, expected)


@torch.no_grad()
def test_what_goes_gives_way_to_what_is_around_it():
    unet = taught(small_unet(ChangeUNet2DConditionModel), 0.0)
    torch.nn.init.zeros_(unet.conv_out.weight)
    torch.nn.init.ones_(unet.conv_out.bias[5:6])  # the change goes all the way there
    # A thing on a slope, which is marked in the last channel: the gate is open where it is.
    source = torch.linspace(-1, 1, 12).expand(1, 4, 8, 12).clone()
    source[:, 3] = 0
    ground = source.clone()
    source[..., 3:5, 6:9] = 5.0
    coefficients = torch.zeros(PAINTED, KNOWN)
    coefficients[4, 3], coefficients[4, ONE] = 10.0, -10.0
    torch.nn.init.zeros_(unet.affine[-1].weight)
    unet.affine[-1].bias.copy_(coefficients.flatten())
    after = unet(torch.cat([torch.randn_like(source), source], 1), 999, torch.zeros(1, 3, 8)).sample
    torch.testing.assert_close(after, ground, atol=0.15, rtol=0)
    untouched = torch.ones(8, 12, dtype=torch.bool)
    untouched[3:5, 6:9] = False
    assert torch.equal(after[..., untouched], ground[..., untouched])

    coefficients[4, ONE] = 10.0  # all of it goes: there is nothing around
    unet.affine[-1].bias.copy_(coefficients.flatten())
    assert unet(torch.cat([source, source], 1), 999, torch.zeros(1, 3, 8)).sample.abs().max() < 1e-5


@torch.no_grad()
@pytest.mark.parametrize(("first", "side"), [(MEANS, 2), (MEANS + 4, 4)])
def test_a_change_goes_to_the_means_of_squares(first: int, side: int):
    coefficients = torch.zeros(PAINTED, KNOWN)
    coefficients[range(4), range(first, first + 4)], coefficients[range(4), range(4)] = 1.0, -1.0
    unet = painting(coefficients)
    source = torch.randn(1, 4, 8, 10)
    after = unet(torch.cat([torch.randn_like(source), source], 1), 999, torch.zeros(1, 3, 8)).sample
    for y, x in ((0, 0), (8 - side, side), (0, 8)):
        square = (..., slice(y, y + side), slice(x, x + side))
        means = source[square].mean((2, 3), keepdim=True).expand_as(source[square])
        torch.testing.assert_close(after[square], means, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_change_follows_a_tone_curve():
    """The guide tells places whose first channel is above 1 from the others."""
    coefficients = torch.zeros(PAINTED, KNOWN)
    coefficients[1, GUIDE] = -2.0
    unet = painting(coefficients)
    guide = unet.guide
    torch.nn.init.zeros_(guide.weight)
    guide.weight[0, 0, 1, 1], guide.bias[0], guide.bias[1], guide.bias[2:] = 1000.0, -1000.0, 0.0, -1e4
    source = torch.randn(1, 4, 8, 8)
    after = unet(torch.cat([torch.randn_like(source), source], 1), 999, torch.zeros(1, 3, 8)).sample
    expected = source.clone()
    expected[:, 1] -= 2 * (source[:, 0] > 1)
    apart = (source[:, :1] - 1).abs() > 0.01
    torch.testing.assert_close(after * apart, expected * apart, atol=1e-3, rtol=0)


@torch.no_grad()
def test_the_text_tells_places_apart_by_their_features(tmp_path: Path):
    coefficients = torch.zeros(PAINTED, KNOWN + FEATURES + WAVES)
    coefficients[4, KNOWN + 2] = 3.0
    unet = painting(coefficients, 0.0, FindingUNet2DConditionModel)
    unet.save_pretrained(tmp_path)
    loaded = FindingUNet2DConditionModel.from_pretrained(tmp_path)
    assert isinstance(loaded, FindingUNet2DConditionModel)
    frozen = [name for name, p in loaded.named_parameters() if not p.requires_grad]
    parts = {name.removeprefix("layers.").split(".")[0] for name in frozen}
    assert parts == {"backbone", "outlines", "inpainter"}
    both = torch.randn(2, 8, 8, 8)
    logits = loaded(both, 999, torch.zeros(2, 3, 8)).changed_logits
    torch.testing.assert_close(logits, 3 * unet.backbone(both[:, 4:])[:, 2:3])
    assert logits.std() > 0


@torch.no_grad()
def test_sides_need_not_be_multiples_of_what_the_unet_halves():
    unet = taught(small_unet(FindingUNet2DConditionModel), 9.0)
    for size in ((7, 5), (8, 9)):
        source = torch.randn(1, 4, *size)
        change = unet(torch.cat([source, source], 1), 999, torch.randn(1, 3, 8)).sample - source
        assert change.shape == source.shape and change.isfinite().all()
        assert change.std(dim=(2, 3)).min() > 0.01


@torch.no_grad()
def test_stripes_are_a_wave_of_the_position():
    """Eight on a short side, from its first place on, in any format; in bf16 as well."""
    coefficients = torch.zeros(PAINTED, KNOWN + FEATURES + WAVES)
    coefficients[0, KNOWN + FEATURES + EIGHT_DOWN] = 1.0
    unet = painting(coefficients, unet_class=FindingUNet2DConditionModel).to(torch.bfloat16)
    for height, width in ((32, 48), (48, 32)):
        source = torch.randn(1, 4, height, width).bfloat16()
        change = unet(torch.cat([source, source], 1), 999, torch.zeros(1, 3, 8).bfloat16()).change
        stripes = torch.tensor([1.0, 1.0, -1.0, -1.0]).mul(0.5**0.5).repeat(height // 4)[:, None]
        torch.testing.assert_close(change[0, 0], stripes.expand(-1, width).bfloat16(), atol=0.01, rtol=0)
        assert not change[0, 1:].any()


def test_the_guide_shares_out_places_by_their_grey_value():
    class Nearest:
        """Decodes three channels as the colours of squares of 8 pixels."""

        def decode(self, latents: torch.Tensor) -> SimpleNamespace:
            return SimpleNamespace(sample=torch.nn.functional.interpolate(latents[:, :3], scale_factor=8.0))

    unet = small_unet(ChangeUNet2DConditionModel)
    unet.guide_by_grey(Nearest())
    colours = torch.rand(1, 3, 9, 7)
    latents = torch.cat([colours * 2 - 1, torch.randn(1, 1, 9, 7)], 1)
    bins = unet.guide(latents).softmax(1)
    grey = torch.einsum("bchw,c->bhw", colours, torch.tensor([0.299, 0.587, 0.114]))
    centres = torch.linspace(0, 1, bins.shape[1])
    torch.testing.assert_close(torch.einsum("bkhw,k->bhw", bins, centres), grey, atol=0.01, rtol=0)
    assert (centres[bins.argmax(1)] - grey).abs().max() <= 0.51 / (bins.shape[1] - 1)


@torch.no_grad()
def test_noise_is_not_heard_at_the_last_timestep():
    unet = taught(small_unet(ChangeUNet2DConditionModel), 1.0)
    source, context = torch.randn(2, 4, 8, 8), torch.randn(2, 3, 8)

    def told(timestep: int | torch.Tensor) -> list[torch.Tensor]:
        noises = torch.randn(2, 2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
        return [unet(torch.cat([noise, source], 1), timestep, context).sample for noise in noises]

    assert torch.equal(*told(999))
    first, second = told(torch.tensor([999, 400]))
    assert torch.equal(first[0], second[0]) and (first[1] - second[1]).abs().mean() > 0.01


@torch.no_grad()
def test_a_change_unet_is_saved_and_loaded(tmp_path: Path):
    unet = taught(small_unet(ChangeUNet2DConditionModel), 0.5)
    unet.save_pretrained(tmp_path)
    loaded = ChangeUNet2DConditionModel.from_pretrained(tmp_path)
    assert isinstance(loaded, ChangeUNet2DConditionModel)
    assert loaded.config["in_channels"] == 8 and loaded.config["out_channels"] == 4
    both, context = torch.randn(2, 8, 8, 8), torch.randn(2, 3, 8)
    torch.testing.assert_close(loaded(both, 10, context).sample, unet(both, 10, context).sample)
    torch.testing.assert_close(
        loaded(both, 10, context, return_dict=False)[0], unet(both, 10, context).sample
    )


@torch.no_grad()
def test_a_copy_is_what_the_source_shows_elsewhere():
    source, context = torch.randn(2, 4, 6, 8), torch.zeros(2, 3, 8)
    coefficients = torch.zeros(PAINTED, KNOWN)
    coefficients[TO_COPY, ONE] = 1.0
    coefficients[ACROSS, ONE], coefficients[DOWN, ONE] = -2 * 2 / 8, 1 * 2 / 6  # from two left and one below
    output = painting(coefficients)(torch.cat([source, source], 1), 999, context)
    torch.testing.assert_close(output.sample[:, :, :5, 2:], source[:, :, 1:, :6], atol=1e-5, rtol=0)
    assert output.offsets.shape == (2, 2, 6, 8)

    coefficients[ACROSS, ONE] = -1 / 8  # half a place: the mean of two
    unet = painting(coefficients)
    output = unet(torch.cat([source, source], 1), 999, context)
    mixed = (source[:, :, 1:, 1:] + source[:, :, 1:, :-1]) / 2
    torch.testing.assert_close(output.sample[:, :, :5, 1:], mixed, atol=1e-5, rtol=0)
    torch.nn.init.ones_(unet.mend[-1].bias)  # which convolutions mend
    mended = unet(torch.cat([source, source], 1), 999, context).sample
    torch.testing.assert_close(mended, output.sample + 1)


def test_what_mends_a_copy_learns():
    source = torch.randn(1, 4, 8, 8)
    with torch.no_grad():
        unet = painting(torch.zeros(PAINTED, KNOWN).index_fill_(0, torch.tensor(TO_COPY), 0.1))
    unet(torch.cat([source, source], 1), 999, torch.zeros(1, 3, 8)).sample.square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in unet.mend[-1].parameters())
