"""The edit head; its parameters are those of the released checkpoint, and stay so."""

import pytest
import torch
from torch import Tensor, nn

from mgie.models.edit_head import EditHead

ATTENTION = {
    "in_proj_weight": (1536, 512),
    "in_proj_bias": (1536,),
    "out_proj.weight": (512, 512),
    "out_proj.bias": (512,),
}
FEED_FORWARD = {
    "linear1.weight": (2048, 512),
    "linear1.bias": (2048,),
    "linear2.weight": (512, 2048),
    "linear2.bias": (512,),
}


def norms(*names: str) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{part}": (512,) for name in names for part in ("weight", "bias")}


def released_shapes() -> dict[str, tuple[int, ...]]:
    """Returns the parameters of MGIE-7B's edit head."""
    attention = {f"self_attn.{name}": shape for name, shape in ATTENTION.items()}
    encoder = {**attention, **FEED_FORWARD, **norms("norm1", "norm2")}
    cross = {f"multihead_attn.{name}": shape for name, shape in ATTENTION.items()}
    decoder = {**attention, **cross, **FEED_FORWARD, **norms("norm1", "norm2", "norm3")}
    layers = {f"encoder.layers.{i}.{name}": shape for i in range(4) for name, shape in encoder.items()}
    layers |= {f"decoder.layers.{i}.{name}": shape for i in range(4) for name, shape in decoder.items()}
    layers |= norms("encoder.norm", "decoder.norm")
    return {
        "query": (1, 77, 512),
        "llm2hid.weight": (512, 4096),
        "llm2hid.bias": (512,),
        **{f"mapper.{name}": shape for name, shape in layers.items()},
        "hid2feat.weight": (768, 512),
        "hid2feat.bias": (768,),
    }


def test_parameters_are_those_of_the_released_checkpoint():
    with torch.device("meta"):
        head = EditHead()
    assert {name: tuple(tensor.shape) for name, tensor in head.state_dict().items()} == released_shapes()


def test_the_transformer_is_the_originals():
    layer = EditHead(
        mllm_dim=8, hidden_dim=8, context_dim=8, num_queries=2, num_heads=2
    ).mapper.encoder.layers[0]
    assert isinstance(layer, nn.TransformerEncoderLayer)
    assert layer.norm_first and layer.activation is torch.relu or layer.activation is nn.functional.relu


@pytest.fixture
def head() -> EditHead:
    torch.manual_seed(0)
    return EditHead(
        mllm_dim=12, hidden_dim=8, context_dim=6, num_queries=5, num_layers=2, num_heads=2, feedforward_dim=16
    ).eval()


@torch.no_grad()
def test_embeds_are_added_before_the_projection(head: EditHead):
    states, embeds = torch.randn(3, 8, 12), torch.randn(1, 8, 12)
    assert head(states, embeds).shape == (3, 5, 6)
    torch.testing.assert_close(head(states, embeds), head(states + embeds, torch.zeros_like(embeds)))


@torch.no_grad()
def test_null_condition_is_the_answer_to_zero_states(head: EditHead):
    embeds = torch.randn(1, 8, 12)
    null = head(torch.zeros_like(embeds), embeds)
    encoded = head.llm2hid(embeds)
    expected: Tensor = head.hid2feat(head.mapper.decoder(head.query, head.mapper.encoder(encoded)))
    torch.testing.assert_close(null, expected)
    assert null.abs().max() > 0.01  # it is neither zeros nor an empty text


@torch.no_grad()
@pytest.mark.parametrize("mode", [True, False])
def test_padding_is_not_seen(head: EditHead, mode: bool):
    head.train(mode)
    states, embeds = torch.randn(2, 8, 12), torch.randn(2, 8, 12)
    mask = torch.tensor([[1] * 8, [1] * 5 + [0] * 3])
    masked = head(states, embeds, mask)
    torch.testing.assert_close(masked[:1], head(states[:1], embeds[:1]))
    torch.testing.assert_close(masked[1:], head(states[1:, :5], embeds[1:, :5]))


@torch.no_grad()
def test_rows_do_not_see_each_other(head: EditHead):
    states, embeds = torch.randn(3, 8, 12), torch.randn(1, 8, 12)
    alone = torch.cat([head(row[None], embeds) for row in states])
    torch.testing.assert_close(head(states, embeds), alone)


@torch.no_grad()
def test_a_new_residual_head_passes_each_token_on():
    head = EditHead(
        mllm_dim=8, hidden_dim=8, context_dim=8, num_queries=4, num_layers=1, num_heads=2, residual=True
    )
    states, embeds = torch.randn(1, 3, 8), torch.zeros(1, 3, 8)
    other = states.clone()
    other[:, 1] = torch.randn(8)
    changed = (head(states, embeds) - head(other, embeds)).abs().amax(-1)[0]
    assert changed[1] > 0.1 and changed[[0, 2, 3]].max() == 0


@torch.no_grad()
def test_a_residual_head_takes_the_last_of_many_tokens():
    head = EditHead(
        mllm_dim=8, hidden_dim=8, context_dim=8, num_queries=4, num_layers=1, num_heads=2, residual=True
    )
    states, embeds = torch.randn(2, 6, 8), torch.zeros(2, 6, 8)
    mask = torch.tensor([[1, 1, 1, 1, 1, 0], [1, 1, 1, 0, 0, 0]])
    padded = head(states, embeds, mask)
    assert padded.shape == (2, 4, 8)
    torch.testing.assert_close(padded[:1], head(states[:1, 1:5], embeds[:1, :4]))
    torch.testing.assert_close(padded[1:], head(states[1:, :3], embeds[1:, :3]))
    torch.testing.assert_close(head(states, embeds), head(states[:, 2:], embeds[:, 2:]))
