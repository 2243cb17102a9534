"""The multimodal language model: transformers' LLaVA, its visual tokens, and their states for the edit head.

Nothing of LLaVA is overridden: this file builds it, asks it, and knows where in its sequence the visual
tokens stand.
"""

from collections.abc import Iterable
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from mgie.prompts import IMAGE_TOKEN, NUM_VISUAL_TOKENS, answer, visual_tokens

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '<image>USER: ' + message['content'] }}"
    "{% else %}{{ ' ASSISTANT: ' + message['content'] + eos_token }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)
"""The small model's own dialogue; a converted model keeps its own template."""


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Returns a byte-level BPE tokenizer learned from `texts`, in which each visual token is one id."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special_tokens = ["<pad>", "<s>", "</s>", IMAGE_TOKEN, *visual_tokens()]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special_tokens,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=[IMAGE_TOKEN, *visual_tokens()],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def build_processor(tokenizer: PreTrainedTokenizerFast, image_size: int, patch_size: int) -> LlavaProcessor:
    """Returns a processor that shows the whole picture, squeezed to a square of `image_size` pixels.

    The PIL backend is named explicitly, so that an installed torchvision changes no number.
    """
    square = {"height": image_size, "width": image_size}
    image_processor = CLIPImageProcessorPil(size=square, do_center_crop=False)
    return LlavaProcessor(
        image_processor=image_processor,
        tokenizer=tokenizer,
        patch_size=patch_size,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,  # CLIP's class token, which "default" drops again
        image_token=IMAGE_TOKEN,
        chat_template=tokenizer.chat_template,
    )


def build_mllm(
    processor: LlavaProcessor, vision: dict[str, Any], text: dict[str, Any]
) -> LlavaForConditionalGeneration:
    """Returns a new LLaVA with random weights, sized for the processor's tokenizer.

    Args:
        processor: gives vocabulary and special token ids.
        vision: arguments of `CLIPVisionConfig`.
        text: arguments of `LlamaConfig`.
    """
    tokenizer = processor.tokenizer
    special_ids = {
        f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")
    }
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**vision),
        text_config=LlamaConfig(vocab_size=len(tokenizer), **special_ids, **text),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        vision_feature_layer=-1,
        image_seq_length=(vision["image_size"] // vision["patch_size"]) ** 2,
        **special_ids,
    )
    mllm = LlavaForConditionalGeneration(config)
    mllm.generation_config.update(do_sample=False, max_new_tokens=96, **special_ids)
    return mllm


def visual_token_ids(processor: LlavaProcessor, num: int = NUM_VISUAL_TOKENS) -> list[int]:
    """Returns the ids of the visual tokens, asked of the tokenizer."""
    return processor.tokenizer.convert_tokens_to_ids(visual_tokens(num))


def visual_token_embeds(mllm: LlavaForConditionalGeneration, ids: list[int]) -> Tensor:
    """Returns the visual tokens' word embeddings `e` (1, N, D); the edit head adds them to the states."""
    embeddings: Any = mllm.get_input_embeddings()
    return embeddings.weight[ids][None]


def visual_token_positions(input_ids: Tensor, first_id: int, num: int = NUM_VISUAL_TOKENS) -> Tensor:
    """Returns where the N states begin in each row, (B,): one before `[IMG0]`, where it is *predicted*.

    The rule is the original's: where a row has no `[IMG0]`, or too late, the last N states before the row's
    last token.

    Args:
        input_ids: (B, L), question and answer.
        first_id: id of `[IMG0]`.
        num: number N of visual tokens.
    """
    length = input_ids.shape[1]
    found = input_ids == first_id
    first = torch.where(found.any(1), found.int().argmax(1), length)
    return (first - 1).clamp(min=0, max=length - 1 - num)


def visual_token_states(hidden_states: Tensor, positions: Tensor, num: int = NUM_VISUAL_TOKENS) -> Tensor:
    """Returns the states of the visual tokens (B, N, D).

    Args:
        hidden_states: (B, L, D) of the last layer, after its norm.
        positions: (B,) as `visual_token_positions` gives them.
        num: number N of visual tokens.
    """
    steps = positions[:, None] + torch.arange(num, device=positions.device)  # (B, N)
    return hidden_states.gather(1, steps[..., None].expand(-1, -1, hidden_states.shape[-1]))


def prompt_text(processor: LlavaProcessor, question: str) -> str:
    """Returns the dialogue up to where the model begins to answer."""
    messages = [{"role": "user", "content": question}]
    return processor.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def answer_text(
    processor: LlavaProcessor, expressive_instruction: str | None = None, *, text: str | None = None
) -> str:
    """Returns what follows `prompt_text`: expressive instruction and visual tokens, or another `text`."""
    words = answer(expressive_instruction) if expressive_instruction is not None else text
    return f" {words}{processor.tokenizer.eos_token}"
