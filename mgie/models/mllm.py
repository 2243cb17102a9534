"""The multimodal language model: transformers' LLaVA, its visual tokens, and their states for the edit head.

Nothing of LLaVA is overridden: this file builds it, asks it, and knows where in its sequence the visual
tokens stand.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedTokenizerFast,
    SequenceBiasLogitsProcessor,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from mgie.prompts import IMAGE_TOKEN, NUM_VISUAL_TOKENS, visual_tokens

IGNORED = -100
"""Label of tokens that are not learned, PyTorch's and transformers' default."""
_NUM_BEAMS = 3
"""Of a new model's search. One word after the other, one that hesitates between several ways to say a
thing takes the likeliest beginning, and ends it with a name that it knows better."""
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
        # transformers ties by what stands here, not by what the language model's own configuration says.
        tie_word_embeddings=text.get("tie_word_embeddings", False),
        **special_ids,
    )
    mllm = LlavaForConditionalGeneration(config)
    mllm.generation_config.update(do_sample=False, num_beams=_NUM_BEAMS, max_new_tokens=96, **special_ids)
    return mllm


def saved_name(name: str) -> str:
    """Returns the name that `save_pretrained` gives a tensor of LLaVA, which is transformers' older one."""
    for prefix, saved in (
        ("model.language_model.", "language_model.model."),
        ("lm_head.", "language_model.lm_head."),
        ("model.vision_tower.", "vision_tower."),
        ("model.multi_modal_projector.", "multi_modal_projector."),
    ):
        if name.startswith(prefix):
            return saved + name.removeprefix(prefix)
    return name


def copying_words(tokenizer: Any, instructions: Sequence[str], bias: float) -> LogitsProcessorList:
    """Returns what has a language model that begins a word of its instruction end it as there.

    A small model begins a name that it never met and goes on with one that it knows: "doughon" for doughnut.
    So each piece of a word of the instruction gets a higher score after those before it. That is less than
    the copying of CopyNet (Gu et al., 2016), and needs no training. With beams it is a sum that is compared,
    so answers that speak of such words are preferred, too. That is meant: normalised anew after each piece,
    the same biases had mgie-tiny name no more things (2 to 8; 270 held-out edits of regions and objects).

    Args:
        tokenizer: of the model.
        instructions: of the B rows that it answers together; each row copies from its own.
        bias: of the logit, or of a beam's log-probability; 0 changes nothing.
    """
    if not bias:
        return LogitsProcessorList()
    return LogitsProcessorList([_EachRow([_copying(tokenizer, text, bias) for text in instructions])])


class _EachRow(LogitsProcessor):
    """A processor of its own for each row, or none."""

    def __init__(self, rows: Sequence[LogitsProcessor | None]) -> None:
        self.rows = rows

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        each = len(scores) // len(self.rows)  # beams
        parts = zip(self.rows, input_ids.split(each), scores.split(each), strict=True)
        return torch.cat([own if row is None else row(cast(Any, ids), own) for row, ids, own in parts])


def _copying(tokenizer: Any, instruction: str, bias: float) -> LogitsProcessor | None:
    words = {word.strip(".,:;!?'\"") for word in instruction.split()}
    words |= {word.lower() for word in words}  # a name may begin it
    starts: Any = {}
    for word in sorted(words):
        pieces = tokenizer(f" {word}", add_special_tokens=False).input_ids
        begun = [end for end in range(1, len(pieces)) if tokenizer.decode(pieces[:end]).strip()]
        starts |= {tuple(pieces[: end + 1]): bias for end in begun}
    return SequenceBiasLogitsProcessor(starts) if starts else None


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
        input_ids: (B, L), question and answer; or labels, so that only an answer's tokens count.
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


@dataclass
class Reading:
    """What a language model makes of B dialogues with their answers."""

    states: Tensor
    """(B, L, D) of the last layer, after its norm."""
    loss: Tensor
    """Mean cross-entropy of the answers' tokens, a scalar."""
    midway: Tensor
    """(B, L, D) after two thirds of the layers: what the rest of them can still look at."""
    patches: Tensor | None
    """(B, P, D), what the projector makes of the picture's patches; None without a picture."""


def read_answers(mllm: LlavaForConditionalGeneration, batch: Mapping[str, Tensor]) -> Reading:
    """Returns what the language model makes of questions and answers.

    The loss equals that of LLaVA itself, which computes the logits of picture and question too.

    Args:
        mllm: LLaVA.
        batch: `input_ids`, `attention_mask` and `labels` (B, L), -100 at all that is no answer; and
            `pixel_values` (B, 3, S, S) unless the dialogues are about no picture.
    """
    layers = mllm.model.language_model.layers
    # The names by which LLaVA's output has them mean something else from one version to the next.
    with (
        _outputs(mllm.model.multi_modal_projector) as patches,
        _outputs(layers[2 * len(layers) // 3 - 1]) as midway,
    ):
        output: Any = mllm.model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            pixel_values=batch.get("pixel_values"),
        )
    states = output.last_hidden_state
    labels = batch["labels"][:, 1:]
    answered = labels != IGNORED
    logits = mllm.lm_head(states[:, :-1][answered])
    loss = nn.functional.cross_entropy(logits.float(), labels[answered])
    return Reading(states, loss, midway[0], patches[0] if patches else None)


@torch.no_grad()
def in_own_words(
    mllm: LlavaForConditionalGeneration, batch: Mapping[str, Tensor], rows: Tensor, first_id: int
) -> dict[str, Tensor]:
    """Returns dialogues with the answers of some rows as the language model writes them itself.

    That is, by its own beams but without `copying_words`. Where it writes no visual tokens, the true answer
    stays.

    Args:
        mllm: LLaVA, whose generation settings decide how.
        batch: as of `read_answers`, padded on the right; all of an answer's tokens are labels.
        rows: (B,), bool, which.
        first_id: id of `[IMG0]`.
    """
    asked = rows.nonzero()[:, 0].tolist()
    if not asked:
        return dict(batch)
    end, pad = (int(getattr(mllm.generation_config, f"{name}_token_id")) for name in ("eos", "pad"))
    lengths = (batch["labels"] != IGNORED).int().argmax(1).tolist()
    dialogues = [
        ids[mask == 1].tolist() for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
    ]
    input_ids, attention_mask = padded([dialogues[i][: lengths[i]] for i in asked], pad, side="left")
    seen = {} if "pixel_values" not in batch else {"pixel_values": batch["pixel_values"][rows]}
    generating: Any = mllm  # whose mixin is typed for others
    written = generating.generate(
        input_ids=input_ids.to(rows.device),
        attention_mask=attention_mask.to(rows.device),
        **seen,
        suppress_tokens=[mllm.config.image_token_index],  # words may not call for another picture
    )
    for i, ids in zip(asked, written[:, input_ids.shape[1] :].tolist(), strict=True):
        own = until(ids, end)
        if first_id in own:
            dialogues[i] = dialogues[i][: lengths[i]] + own
    told = padded_dialogues(dialogues, lengths, pad)
    return dict(batch) | {name: tensor.to(rows.device) for name, tensor in told.items()}


def until(ids: list[int], end: int) -> list[int]:
    """Returns the ids up to and with the first `end`, or all of them."""
    return ids[: ids.index(end) + 1] if end in ids else ids


def padded(rows: Sequence[list[int]], pad_id: int, side: str = "right") -> tuple[Tensor, Tensor]:
    """Returns `input_ids` and `attention_mask`, each (B, L), of rows of their own lengths."""
    input_ids, attention_mask = (
        nn.utils.rnn.pad_sequence(column, batch_first=True, padding_value=value, padding_side=side)
        for column, value in (
            ([torch.tensor(row) for row in rows], pad_id),
            ([torch.ones(len(row), dtype=torch.long) for row in rows], 0),
        )
    )
    return input_ids, attention_mask


def padded_dialogues(
    rows: Sequence[list[int]], prompt_lengths: Sequence[int], pad_id: int
) -> dict[str, Tensor]:
    """Returns `input_ids`, `attention_mask` and `labels`, each (B, L), padded on the right.

    Labels are the answers: what comes after so many tokens that ask.
    """
    input_ids, attention_mask = padded(rows, pad_id)
    asks = torch.arange(input_ids.shape[1]) < torch.tensor(prompt_lengths)[:, None]
    labels = input_ids.masked_fill(asks | (attention_mask == 0), IGNORED)
    return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}


@contextlib.contextmanager
def _outputs(module: nn.Module) -> Iterator[list[Tensor]]:
    """Gives a list of what a module returns meanwhile."""
    found = list[Tensor]()

    def keep(module: nn.Module, args: Any, output: Any) -> None:
        found.append(output[0] if isinstance(output, tuple) else output)

    with module.register_forward_hook(keep):
        yield found


def question_states(
    mllm: LlavaForConditionalGeneration, input_ids: Tensor, attention_mask: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns the states of a question's tokens (B, L, D), and their word embeddings (B, L, D).

    So the language model is a text encoder: nothing is answered.

    Args:
        mllm: LLaVA, which sees no picture here.
        input_ids: (B, L), padded on the right.
        attention_mask: (B, L), 0 at padding.
    """
    output: Any = mllm(
        input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True, logits_to_keep=1
    )
    embeddings: Any = mllm.get_input_embeddings()
    return output.hidden_states[-1], embeddings(input_ids)


def dialogue_text(processor: LlavaProcessor, question: str, answer: str | None = None) -> str:
    """Returns the dialogue as the tokenizer's chat template has it, up to where an answer begins if none."""
    messages = [{"role": "user", "content": question}]
    if answer is not None:
        messages.append({"role": "assistant", "content": answer})
    return processor.tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=answer is None
    )


def tokenize_dialogues(
    processor: LlavaProcessor,
    pictures: Sequence[Image.Image] | None,
    questions: Sequence[str],
    answers: Sequence[str] | None = None,
) -> tuple[list[list[int]], list[int], Tensor | None]:
    """Returns token ids, each row of its own length; how many of a row ask; and pixel values (B, 3, S, S).

    A dialogue is tokenized as one text, so a row begins with the very ids that the model is asked with.

    Args:
        processor: tokenizer and image processor.
        pictures: B pictures; None for dialogues about none, which have no image tokens and no pixel values.
        questions: B questions.
        answers: B answers; none given = the rows end where an answer begins.
    """
    prompts = [dialogue_text(processor, question) for question in questions]
    texts = prompts
    if answers is not None:
        texts = [dialogue_text(processor, *row) for row in zip(questions, answers, strict=True)]
    if pictures is None:
        texts, prompts = (
            [t.replace(processor.image_token, "") for t in column] for column in (texts, prompts)
        )
        rows, asked = (
            processor.tokenizer(column, add_special_tokens=False).input_ids for column in (texts, prompts)
        )
        return rows, [len(ids) for ids in asked], None
    process: Any = processor  # whose arguments are not typed
    inputs = process(images=list(pictures), text=texts, add_special_tokens=False)
    asked = processor.tokenizer(prompts, add_special_tokens=False).input_ids
    # The processor has written the one image token as often as the picture has patches.
    num_patches = inputs["input_ids"][0].count(processor.image_token_id)
    lengths = [len(ids) - 1 + num_patches for ids in asked]
    return inputs["input_ids"], lengths, torch.from_numpy(np.stack(inputs["pixel_values"]))
