"""The tokenizer of LLaMA-1 as the original used it, written as a `tokenizer.json`.

The original ran the old *slow* LLaMA tokenizer. Today's fast one gives other ids around added tokens, since
it does not strip the blanks there. What the slow one did can be said in `tokenizers`' own words:
sentencepiece's BPE with a blank before each piece of text, and added tokens that swallow the blanks on both
sides.
"""

from collections.abc import Mapping
from pathlib import Path

from sentencepiece import SentencePieceProcessor
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
from transformers import PreTrainedTokenizerFast

from mgie.errors import CheckpointError
from mgie.prompts import visual_tokens

PATCH_TOKEN = "<im_patch>"
"""LLaVA-v1's image token."""
LLAVA_TOKENS = (PATCH_TOKEN, "<im_start>", "<im_end>")
"""Added by LLaVA-v1, in the order of their ids."""

CHAT_TEMPLATE = (
    "{{ bos_token }}A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}"
    "{{ ' USER: ' + message['content'] + '\n<im_start><im_patch><im_end>' }}"
    "{% else %}{{ ' ASSISTANT: ' + message['content'] + eos_token }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)
"""The dialogue of Vicuna v1.1, with the picture after the question."""

_SPACE = "\u2581"  # how sentencepiece writes a blank


def llama_tokenizer(model_file: Path) -> PreTrainedTokenizerFast:
    """Returns the tokenizer of MGIE: LLaMA's sentencepieces, LLaVA's image tokens, the visual tokens.

    Args:
        model_file: LLaMA's `tokenizer.model`.

    Raises:
        CheckpointError: the file is missing, damaged, or not LLaMA's.
    """
    try:
        pieces = SentencePieceProcessor(model_file=str(model_file))
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"cannot read {model_file}: expected LLaMA's sentencepiece file") from error
    names = [pieces.id_to_piece(i) for i in range(len(pieces))]
    if names[:3] != ["<unk>", "<s>", "</s>"]:
        raise CheckpointError(f"{model_file} begins with {names[:3]}; expected LLaMA's <unk>, <s>, </s>")
    vocab = {name: i for i, name in enumerate(names)}
    tokenizer = Tokenizer(
        models.BPE(vocab, _merges(pieces, vocab), unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend(_SPACE), normalizers.Replace(" ", _SPACE)]
    )
    # The clean-up of the answer needs the blank that the slow tokenizer put before each added token. The
    # blanks that it put around <s> and </s> it does not need, and these cannot be had so.
    blanks = [decoders.Replace(name, f" {name}") for name in added_tokens()]
    tokenizer.decoder = decoders.Sequence(
        [
            *blanks,
            decoders.Replace(_SPACE, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.add_special_tokens([AddedToken(name, normalized=False) for name in names[:3]])
    tokenizer.add_tokens(
        [AddedToken(name, lstrip=True, rstrip=True, normalized=False) for name in added_tokens()]
    )
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", vocab["<s>"])])
    # The generic class: transformers' own Llama class would drop the normalizer on loading.
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<unk>",
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )


def added_tokens() -> list[str]:
    """Returns the tokens that follow LLaMA's own, in the order of their ids."""
    return [*LLAVA_TOKENS, *visual_tokens()]


def _merges(pieces: SentencePieceProcessor, vocab: Mapping[str, int]) -> list[tuple[str, str]]:
    """Returns BPE's merges: every way to make a piece of two others, the best scored pieces first."""
    found: list[tuple[float, int, int, str, str]] = []
    for name, i in vocab.items():
        if pieces.is_control(i) or pieces.is_unknown(i) or pieces.is_byte(i):
            continue
        for cut in range(1, len(name)):
            left, right = name[:cut], name[cut:]
            if left in vocab and right in vocab:
                found.append((-pieces.get_score(i), vocab[left], vocab[right], left, right))
    return [(left, right) for *_, left, right in sorted(found)]
