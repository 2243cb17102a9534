"""The edit head: a sequence-to-sequence transformer from visual tokens to the UNet's conditioning.

MGIE (Fu et al., ICLR 2024), equation 3: U = T([IMG] + e). Parameter names are those of the released
checkpoint.
"""

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional


class EditHead(ModelMixin, ConfigMixin):
    """Turns visual tokens into `prompt_embeds`: it has the place of Stable Diffusion's text encoder.

    Args:
        mllm_dim: width D of the language model.
        hidden_dim: width of the transformer.
        context_dim: width C of the UNet's cross-attention context.
        num_queries: number Q of learned queries, so of context tokens (CLIP's text encoder has 77).
        num_layers: layers of the encoder, and again of the decoder.
        num_heads: attention heads.
        feedforward_dim: width of the feed-forward layers.
        residual: whether query i starts from visual token i, to which a new transformer adds nothing yet. The
            UNet then hears the tokens from the first step of training on; by itself, a transformer takes
            thousands of steps to learn to pass them on. Of more tokens than queries, as an instruction may
            have them, the last ones are taken, whose states have read the others.
    """

    @register_to_config
    def __init__(
        self,
        mllm_dim: int = 4096,
        hidden_dim: int = 512,
        context_dim: int = 768,
        num_queries: int = 77,
        num_layers: int = 4,
        num_heads: int = 4,
        feedforward_dim: int = 2048,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.llm2hid = nn.Linear(mllm_dim, hidden_dim)
        # Small, so that a new head's output depends on the visual tokens rather than on the queries alone.
        self.query = nn.Parameter(0.1 * torch.randn(1, num_queries, hidden_dim))
        options = {"dropout": 0.0, "batch_first": True, "norm_first": True}
        layer = nn.TransformerEncoderLayer(hidden_dim, num_heads, feedforward_dim, **options)
        self.mapper = nn.Transformer(
            d_model=hidden_dim,
            nhead=num_heads,
            num_decoder_layers=num_layers,
            dim_feedforward=feedforward_dim,
            # Given by hand only because the default one warns that it cannot use nested tensors.
            custom_encoder=nn.TransformerEncoder(
                layer, num_layers, nn.LayerNorm(hidden_dim), enable_nested_tensor=False
            ),
            **options,
        )
        self.hid2feat = nn.Linear(hidden_dim, context_dim)
        if residual:
            for name, parameter in self.mapper.named_parameters():
                if "out_proj" in name or "linear2" in name:
                    nn.init.zeros_(parameter)

    def forward(
        self,
        visual_token_states: Tensor,
        visual_token_embeds: Tensor,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Returns `prompt_embeds` (B, Q, C).

        Args:
            visual_token_states: (B, N, D), last hidden states at the visual tokens; zeros give the null
                condition.
            visual_token_embeds: (1, N, D) or (B, N, D), the word embeddings `e` of the visual tokens.
            attention_mask: (B, N), 0 at tokens that are padding; None where there is none.
        """
        encoded = self.llm2hid(visual_token_states + visual_token_embeds)  # (B, N, hidden)
        queries = self.query.expand(encoded.shape[0], -1, -1)  # (B, Q, hidden)
        if self.config["residual"]:
            queries = queries + _last(encoded, attention_mask, queries.shape[1])
        padding = None if attention_mask is None else attention_mask == 0
        mapped = self.mapper(encoded, queries, src_key_padding_mask=padding, memory_key_padding_mask=padding)
        return self.hid2feat(mapped)  # (B, Q, C)


def _last(tokens: Tensor, attention_mask: Tensor | None, num: int) -> Tensor:
    """Returns the last `num` tokens (B, num, hidden) that are no padding; zeros where there are none.

    Args:
        tokens: (B, N, hidden).
        attention_mask: (B, N), 0 at padding.
        num: how many.
    """
    tokens = functional.pad(tokens, (0, 0, 0, max(0, num - tokens.shape[1])))
    if attention_mask is None:
        return tokens[:, -num:]
    mask = functional.pad(attention_mask, (0, tokens.shape[1] - attention_mask.shape[1]))  # (B, N or num)
    steps = torch.arange(tokens.shape[1], device=tokens.device)
    end = (mask * (steps + 1)).amax(1)  # (B,)
    taken = (end - num).clamp(min=0)[:, None] + steps[:num]  # (B, num)
    kept = tokens * mask[..., None]
    return kept.gather(1, taken[..., None].expand(-1, -1, tokens.shape[-1]))
