"""What goes and comes, each as a layer of its own."""

import numpy as np
import pytest
import torch

from mgie.models.layers import MAX_ARRIVALS, OUTSIDE, Layers, LayersOutput, TrueLayers, cover

CHANNELS, FEATURES, KNOWN, TEXT = 3, 8, 5, 12
OPEN = 12.0
SQUARE = (5.5, 4.25, 3.5)
"""x and y of its middle, and its side, in places."""


def new_layers() -> Layers:
    return Layers(CHANNELS, FEATURES, KNOWN, TEXT).eval()


def saying(layers: Layers, logits: torch.Tensor) -> Layers:
    """Returns the layers, whose finder says these maps (B, 3 + MAX_ARRIVALS, h, w) whatever it is told."""
    layers.finder.forward = lambda places, heard: logits
    return layers


def maps(height: int, width: int, **squares: tuple[float, float, float]) -> torch.Tensor:
    """Returns logits of maps; all is shut but the squares of `going`, `standing`, `coming`, `outline`."""
    names = ("going", "standing", "coming", "second", "outline")
    shares = torch.zeros(1, len(names), height, width)
    for name, square in squares.items():
        shares[:, names.index(name)] = cover(torch.tensor([[square]]), height, width)[0]
    return torch.logit(shares, eps=1e-5)


def shown(layers: Layers, source: torch.Tensor, truth: TrueLayers | None = None) -> LayersOutput:
    height, width = source.shape[2:]
    places = torch.randn(1, FEATURES, height, width), torch.randn(1, KNOWN, height, width)
    return layers(*places, source, torch.randn(1, TEXT), truth)


def test_squares_cover_their_area():
    squares = torch.tensor([[SQUARE, (1.0, 1.0, 2.0), (0, 0, 0)]])
    covered = cover(squares, 9, 12)
    assert covered.shape == (1, 3, 9, 12) and covered.min() >= 0 and covered.max() == 1
    torch.testing.assert_close(covered.sum((2, 3)), squares[..., 2] ** 2)
    assert covered[0, 1, :2, :2].min() == 1


@torch.no_grad()
@pytest.mark.parametrize("square", [SQUARE, (2.0, 2.0, 4.0), (7.3, 5.1, 2.2)])
def test_a_square_is_read_from_its_map(square: tuple[float, float, float]):
    said = shown(saying(new_layers(), maps(9, 12, standing=square)), torch.randn(1, CHANNELS, 9, 12)).squares
    torch.testing.assert_close(said[0, 0], torch.tensor(square), atol=0.1, rtol=0)
    assert not said[0, 1:].any()


def test_squares_settle_where_they_are_taught_to():
    """Things of four places stand at whole places; what is read off maps is beside them."""
    layers, squares = new_layers(), torch.zeros(64, 1 + MAX_ARRIVALS, 3)
    squares[:, 1, :2], squares[:, 1, 2] = torch.randint(3, 6, (64, 2)).float(), 4.0
    found = squares + torch.randn_like(squares).clamp(-1, 1) * 0.3 * (squares > 0)
    text = squares.new_zeros(64, TEXT)
    text[:, :2] = squares[:, 1, :2]
    optimizer = torch.optim.Adam([*layers.settle.parameters(), *layers.hear.parameters()], 3e-3)

    def off() -> torch.Tensor:
        return (layers.settle(found, layers.hear(text), 9, 12) - squares).abs().mean()

    before = off().item()
    assert before == pytest.approx((found - squares).abs().mean().item())
    for _ in range(200):
        optimizer.zero_grad()
        off().backward()
        optimizer.step()
    assert off().item() < 0.2 * before


@torch.no_grad()
def test_a_square_settles_by_two_places_at_most_and_none_stays_none():
    layers, squares = new_layers(), torch.rand(8, 1 + MAX_ARRIVALS, 3) * 8 + 1
    squares[:, 1] = 0
    torch.nn.init.normal_(layers.settle.say[-1].weight, std=1e6)
    by = layers.settle(squares, torch.randn(8, 256), 9, 12) - squares
    assert not by[:, 1].any()
    torch.testing.assert_close(by[:, 0].abs(), torch.full((8, 3), 2.0))


@torch.no_grad()
def test_new_layers_show_nothing():
    source, in_place = torch.randn(2, 1, CHANNELS, 7, 5)
    assert torch.equal(shown(new_layers(), source).laid_over(source, in_place), in_place)


@torch.no_grad()
def test_what_goes_leaves_what_is_around_it():
    source = torch.linspace(-1, 1, 12).expand(1, CHANNELS, 9, 12).clone()
    ground = source.clone()
    source[..., 3:6, 4:7] = 5.0
    layers = saying(new_layers(), maps(9, 12, going=(5.5, 4.5, 3.0)))
    in_place = torch.randn_like(source)
    after = shown(layers, source).laid_over(source, in_place)
    torch.testing.assert_close(after, ground, atol=0.15, rtol=0)
    untouched = torch.ones(9, 12, dtype=torch.bool)
    untouched[3:6, 4:7] = False
    assert torch.equal(after[..., untouched], ground[..., untouched])  # nor is what was painted in place seen


@torch.no_grad()
def test_what_comes_again_is_fetched_with_its_outline():
    source = torch.randn(1, CHANNELS, 9, 12)
    squares = {"standing": (3.0, 5.0, 4.0), "coming": (7.0, 4.0, 4.0), "outline": (3.0, 5.0, 2.0)}
    layers = saying(new_layers(), maps(9, 12, **squares))
    after = shown(layers, source).laid_over(source, torch.randn_like(source))
    torch.testing.assert_close(after[..., 3:5, 6:8], source[..., 4:6, 2:4], atol=1e-3, rtol=0)
    rest = torch.ones(9, 12, dtype=torch.bool)
    rest[3:5, 6:8] = False
    assert torch.equal(after[..., rest], source[..., rest])


@torch.no_grad()
def test_between_places_what_is_fetched_is_mended():
    source, outline = torch.randn(1, CHANNELS, 9, 12), torch.randn(1, 1, 9, 12)
    layers, scale = new_layers(), torch.ones(1)
    where = torch.tensor([4.0, 2.5]).view(1, 2, 1, 1).expand(1, 2, 9, 12)  # from the left, from the top
    both = torch.cat([source, outline], 1)[0, :, 2, 3:5].mean(1)
    seen = torch.ones(1, 1, 9, 12, dtype=torch.bool)
    fetched = layers.fetched(source, outline, where, scale, seen)
    torch.testing.assert_close(fetched[0], both[:, None, None].expand(-1, 9, 12))
    torch.nn.init.ones_(layers.mend[-1].bias)
    seen[..., :3] = False
    mended = layers.fetched(source, outline, where, scale, seen) - fetched
    torch.testing.assert_close(mended[:, :-1], seen.float().expand(-1, CHANNELS, -1, -1), atol=1e-5, rtol=0)
    assert not mended[:, -1].any()


@torch.no_grad()
def test_what_is_larger_comes_from_a_smaller_square():
    source = torch.randn(1, CHANNELS, 9, 12)
    layers = new_layers()
    old, new = (torch.tensor([square]) for square in ((3.0, 5.0, 2.0), (7.0, 4.0, 6.0)))
    drawn = torch.zeros(1, CHANNELS + 1, 2, 2)
    content, outline = layers.arrival(source, torch.zeros(1, 1, 9, 12), drawn, old, new)
    for row, column, x, y in ((2, 5, 2, 4), (5, 8, 3, 5)):  # middles of what is three times as large
        torch.testing.assert_close(content[0, :, row, column], source[0, :, y, x])
    inside = torch.zeros(9, 12, dtype=torch.bool)
    inside[0:8, 3:11] = True  # with what reaches out of the square: 3.6 to each side
    assert torch.equal(outline[0, 0] > OUTSIDE, inside)


@torch.no_grad()
def test_what_is_new_is_drawn_by_the_text():
    source, layers = torch.randn(1, CHANNELS, 9, 12), new_layers()
    last = layers.canvas.draw[-1]
    torch.nn.init.zeros_(last.weight)
    last.bias.copy_(torch.tensor([1.0, 2.0, 3.0, OPEN]))
    saying(layers, maps(9, 12, coming=(3.0, 3.0, 2.0), second=(9.0, 5.0, 4.0)))
    output = shown(layers, source)
    after = output.laid_over(source, torch.randn_like(source))
    assert output.contents.shape == (1, MAX_ARRIVALS, CHANNELS, 9, 12)
    for square in ((slice(2, 4), slice(2, 4)), (slice(3, 7), slice(7, 11))):
        wanted = torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1).expand_as(after[0, :, square[0], square[1]])
        torch.testing.assert_close(after[0, :, square[0], square[1]], wanted, atol=1e-3, rtol=0)
    assert torch.equal(after[..., :2, :], source[..., :2, :])
    (rearranged,) = layers.rearrangements(output, torch.randn(1, 3, 72, 96))
    assert rearranged.copies == () and not rearranged.drawn[:2].any()
    assert rearranged.drawn[2:4, 2:4].all() and rearranged.drawn[3:7, 7:11].all()


@torch.no_grad()
def test_in_training_the_truth_takes_the_place_of_what_was_found():
    source, layers = torch.randn(1, CHANNELS, 9, 12), new_layers()
    truth = TrueLayers(
        gone=cover(torch.tensor([[(3.0, 3.0, 2.0)]]), 9, 12),
        come=torch.zeros(1, 1, 9, 12),
        behind=source,
        squares=torch.tensor([[(3.0, 3.0, 2.0), (8.0, 5.0, 2.0), (0, 0, 0)]]),
    )
    output = shown(layers, source, truth)
    torch.testing.assert_close(output.contents[0, 0, :, 4:6, 7:9], source[0, :, 2:4, 2:4])
    assert not output.squares.any()


@torch.no_grad()
def test_in_mixed_precision_layers_are_as_in_full():
    layers, source = new_layers(), torch.randn(1, CHANNELS, 9, 12)
    torch.nn.init.normal_(layers.finder.say.bias)
    places = torch.randn(1, FEATURES, 9, 12), torch.randn(1, KNOWN, 9, 12)
    in_place, text = torch.randn_like(source), torch.randn(1, TEXT)
    full = layers(*places, source, text).laid_over(source, in_place)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = layers(*places, source, text).laid_over(source, in_place)
    assert mixed.dtype == full.dtype
    torch.testing.assert_close(mixed, full, atol=0.1, rtol=0)


@torch.no_grad()
def test_what_goes_and_what_comes_again_is_told():
    said = maps(9, 12, going=SQUARE, standing=SQUARE, coming=(2.0, 6.0, 2.0), outline=SQUARE)
    nothing = maps(9, 12, coming=(2.0, 6.0, 2.0))  # which is new
    layers = saying(new_layers(), torch.cat([said, nothing]))
    source = torch.randn(2, CHANNELS, 9, 12)
    output = layers(
        torch.randn(2, FEATURES, 9, 12), torch.randn(2, KNOWN, 9, 12), source, torch.randn(2, TEXT)
    )
    pictures = torch.rand(2, 3, 72, 96) * 2 - 1
    moved, new = layers.rearrangements(output, pictures)
    assert len(layers.rearrangements(output, torch.randn(1, 3, 72, 96))) == 1  # of guidance, the first
    ((where, to),) = moved.copies
    assert to == pytest.approx((1 / 12, 5 / 9, 3 / 12, 7 / 9), abs=0.01)
    assert where == pytest.approx((3.75 / 12, 2.5 / 9, 7.25 / 12, 6 / 9), abs=0.01)
    assert moved.outline.shape == moved.gone.shape == (72, 96, 1) and moved.drawn.shape == (9, 12, 1)
    assert moved.outline[36, 44, 0] == moved.gone[36, 44, 0] == 1 and moved.outline[0, 0, 0] == 0
    assert new.copies == () and not new.gone.any() and not moved.drawn.any()
    shown_before = (pictures / 2 + 0.5).permute(0, 2, 3, 1).numpy()
    far = torch.nn.functional.max_pool2d(torch.from_numpy(moved.gone)[None, ..., 0], 5, 1, 2)[0].numpy() == 0
    np.testing.assert_allclose(moved.behind[far], shown_before[0][far], atol=1e-6)
    np.testing.assert_allclose(new.behind, shown_before[1], atol=1e-6)
    inside = moved.gone[..., 0] == 1
    assert (
        moved.behind[inside].std() < 0.5 * shown_before[0][inside].std()
    )  # a new one spreads what is around


@torch.no_grad()
@pytest.mark.parametrize(("side", "told"), [(4.0, 3.5), (3.0, 3.5), (5.5, 5.5), (2.0, 2.0)])
def test_what_comes_in_about_its_own_size_comes_in_just_that(side: float, told: float):
    said = maps(9, 12, standing=SQUARE, coming=(6.0, 4.5, side), outline=SQUARE)
    layers = saying(new_layers(), said)
    output = shown(layers, torch.randn(1, CHANNELS, 9, 12))
    (rearranged,) = layers.rearrangements(output, torch.randn(1, 3, 72, 96))
    ((_, (left, _, right, _)),) = rearranged.copies
    assert 12 * (right - left) == pytest.approx(told, rel=0.03)
