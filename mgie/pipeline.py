"""The pipeline: photo and instruction in, expressive instruction and edited photo out.

The steps are those of the figure: read, imagine, map, paint, return.
"""

import contextlib
import copy
import inspect
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from diffusers import DiffusionPipeline, ModelMixin, SchedulerMixin, UNet2DConditionModel
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image
from torch import Generator, Tensor
from transformers import LlavaForConditionalGeneration, LlavaProcessor
from typing_extensions import Self

from mgie.config import Conditioning
from mgie.errors import CheckpointError, ConfigError
from mgie.images import Rearrangement, WorkingSize, open_image, open_mask, resize, return_to_native
from mgie.model_folder import INDEX_FILE, find_model_folder, read_json
from mgie.models.edit_head import EditHead
from mgie.models.loading import load_part, quiet_loading
from mgie.models.mllm import (
    copying_words,
    dialogue_text,
    padded,
    question_states,
    tokenize_dialogues,
    until,
    visual_token_embeds,
    visual_token_ids,
    visual_token_positions,
    visual_token_states,
)
from mgie.prompts import (
    NUM_VISUAL_TOKENS,
    answer,
    checked_words,
    clean_expressive_instruction,
    question,
)
from mgie.sampling import Sampling, guide

Picture = str | Path | Image.Image
StepCallback = Callable[["MGIEPipeline", int, Any, dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class EncodedImage:
    """A picture that the autoencoder has seen: what all edits of it share (`MGIEPipeline.encode_image`)."""

    picture: Image.Image
    """Upright RGB, at its own size."""
    size: tuple[int, int]
    """Working (width, height)."""
    pixels: Tensor
    """(3, h, w) in [-1, 1], the source at working size."""
    image_latents: Tensor
    """(c, h, w), the UNet's view of the source."""
    decoded: np.ndarray
    """(H, W, 3) in [0, 1], the source at working size as the autoencoder gives it back."""


@dataclass(frozen=True)
class Prompt:
    """What the language model has read of one edit, up to where its answer begins."""

    question: str
    input_ids: list[int]
    cache: Any
    """Keys and values of these tokens, of transformers' own class."""


@dataclass(frozen=True)
class Imagination:
    """What the language model imagines of B edits; reusable with any seed, guidance or solver."""

    expressive_instructions: list[str]
    """B texts: what the edited pictures will look like; empty where the conditioning is "ip2p"."""
    visual_token_states: Tensor
    """(B, N, D), last hidden states at the visual tokens; for "ip2p" at all of the question's tokens."""
    prompt_embeds: Tensor
    """(B, Q, C), the edit head's condition."""
    negative_prompt_embeds: Tensor
    """(B, Q, C), the null condition: the edit head of zero states."""
    prompts: list[Prompt] | None = None
    """B prompts, where these are kept for `MGIEPipeline.reimagine`."""

    def __len__(self) -> int:
        """Returns B."""
        return len(self.expressive_instructions)


@dataclass
class MGIEPipelineOutput(BaseOutput):
    """What a call of the pipeline returns."""

    images: list[Any]
    """One for each row: RGB pictures for `pil`, (H, W, 3) in [0, 1] for `np`, (3, H, W) in [0, 1] for `pt`,
    scaled latents (c, h, w) for `latent`."""
    expressive_instructions: list[str]
    """One for each row; empty for "ip2p", and where `prompt_embeds` came from the caller."""
    seconds: dict[str, float]
    """Time of the steps `read`, `imagine`, `paint`, `decode` and `return`."""
    rearrangements: list[Rearrangement | None] = field(default_factory=list)
    """What each edit takes from its picture, or shows again, for `mgie.images.return_to_native`; None where
    the UNet does not say."""


class MGIEPipeline(DiffusionPipeline):
    """Edits photographs by instructions: MGIE (Fu et al., ICLR 2024), or one of the two baselines there.

    The baselines have the same parts, and the UNet sees the same source; what the edit head reads differs:

    - "mgie": the states of the visual tokens that the language model writes after an expressive instruction,
      having seen picture and question.
    - "lgie": the same, but the question comes without the picture.
    - "ip2p", as InstructPix2Pix: nothing is written. The language model is the text encoder of the question,
      which comes without the picture: the edit head reads the states of all its tokens, and their word
      embeddings.

    All three have one null condition: the edit head of zeros in the place of the visual tokens' states.

    Args:
        mllm: language model that looks at the picture and writes expressive instruction and visual tokens.
        processor: its tokenizer and image processor.
        edit_head: from the states of the visual tokens to the UNet's context.
        vae: autoencoder with diffusers' interface.
        unet: takes noisy latents and source latents side by side.
        scheduler: any of diffusers' solvers.
        num_visual_tokens: number N of visual tokens.
        working_size: arguments of `mgie.images.WorkingSize`.
        num_inference_steps: the model's own number of denoising steps.
        guidance_scale: the model's own weight of the words.
        image_guidance_scale: the model's own weight of the source picture.
        conditioning: "mgie", "lgie" or "ip2p", see above.
        copy_bias: how much likelier it is, in logits, that the language model goes on with a word of the
            instruction as that does, once it has begun it; see `mgie.models.mllm.copying_words`.

    Raises:
        ConfigError: there is no such conditioning, or a setting that cannot be followed.
    """

    model_cpu_offload_seq = "mllm->edit_head->unet->vae"
    _callback_tensor_inputs = ("latents", "image_latents", "prompt_embeds", "negative_prompt_embeds")

    def __init__(
        self,
        mllm: LlavaForConditionalGeneration,
        processor: LlavaProcessor,
        edit_head: EditHead,
        vae: ModelMixin,
        unet: UNet2DConditionModel,
        scheduler: SchedulerMixin,
        num_visual_tokens: int = NUM_VISUAL_TOKENS,
        working_size: dict[str, Any] | None = None,
        num_inference_steps: int = 100,
        guidance_scale: float = 7.5,
        image_guidance_scale: float = 1.5,
        conditioning: Conditioning = "mgie",
        copy_bias: float = 0.0,
    ) -> None:
        super().__init__()
        if conditioning not in get_args(Conditioning):
            raise ConfigError(f"conditioning is {conditioning!r}; expected 'mgie', 'lgie' or 'ip2p'")
        self.register_modules(
            mllm=mllm, processor=processor, edit_head=edit_head, vae=vae, unet=unet, scheduler=scheduler
        )
        Sampling(  # which refuses what no solver can follow
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            image_guidance_scale=image_guidance_scale,
        )
        rule = WorkingSize(**(working_size or {"max_pixels": 512 * 512, "multiple": 8, "upscale": False}))
        self.register_to_config(
            num_visual_tokens=num_visual_tokens,
            working_size={field.name: getattr(rule, field.name) for field in fields(rule)},
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            image_guidance_scale=image_guidance_scale,
            conditioning=conditioning,
            copy_bias=copy_bias,
        )
        self._working_size = rule
        self._interrupt = False

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        dtype: torch.dtype = torch.float32,
        device_map: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Returns the pipeline of a built-in name, a folder, or a hub id; built-in names come first.

        Args:
            pretrained_model_name_or_path: for instance "mgie-tiny".
            dtype: type of all weights, whatever the files hold.
            device_map: a device, to load each part straight onto it; by default the CPU.
            kwargs: parts or values of the configuration that replace the folder's own, as for any pipeline
                of diffusers; `torch_dtype` is `dtype`.

        Raises:
            ConfigError: an argument is neither a part nor in the configuration.
            CheckpointError: no such model, or a tensor of it is missing, unexpected, misshapen or not finite.
        """
        dtype = kwargs.pop("torch_dtype", dtype)
        known = list(inspect.signature(cls).parameters)
        for name in kwargs:
            if name not in known:
                raise ConfigError(
                    f"from_pretrained has no argument {name!r}; expected dtype, device_map, or one of "
                    + ", ".join(known)
                )
        folder = find_model_folder(pretrained_model_name_or_path)
        index = read_json(folder / INDEX_FILE)
        parts = [name for name, entry in index.items() if isinstance(entry, list) and name not in kwargs]
        with quiet_loading():
            loaded = {name: load_part(folder, name, index[name], dtype, device_map) for name in parts}
            try:
                return super().from_pretrained(str(folder), **loaded, **kwargs)
            except (KeyError, TypeError, ValueError) as error:
                raise CheckpointError(f"{folder / INDEX_FILE} describes no MGIE pipeline: {error}") from error

    @property
    def defaults(self) -> dict[str, Any]:
        """The model's own settings: what the initialiser takes beside the parts."""
        names = inspect.signature(type(self).__init__).parameters
        return {
            name: self.config[name] for name in names if name in self.config and name not in self.components
        }

    @property
    def interrupt(self) -> bool:
        """Whether the remaining steps are skipped; a step callback may set `_interrupt`, as in diffusers."""
        return self._interrupt

    @torch.no_grad()
    def encode_instruction(
        self,
        image: Picture | EncodedImage | Sequence[Picture | EncodedImage],
        instruction: str | Sequence[str],
        expressive_instruction: str | Sequence[str] | None = None,
        *,
        keep_prompts: bool = False,
    ) -> Imagination:
        """Returns what the language model imagines: the steps imagine and map.

        Args:
            image: B pictures or files; one alone goes with every instruction.
            instruction: B instructions; one alone goes with every picture.
            expressive_instruction: B texts to be taken as if the model had written them; then nothing is
                generated.
            keep_prompts: whether `reimagine` may follow; the model's keys and values of each row are kept.

        Raises:
            ConfigError: a text is empty, too long or holds a token of the model's own, lists do not match, or
                the model takes no expressive instruction ("ip2p").
        """
        conditioning = self.config["conditioning"]
        pictures = [_opened(picture) for picture in _as_list(image)]
        instructions = [_checked_words("instruction", text, self.processor) for text in _as_list(instruction)]
        own = [] if expressive_instruction is None else self._checked_answers(expressive_instruction)
        num = _common_length(
            image=pictures, instruction=instructions, expressive_instruction=own or instructions
        )
        instructions = _repeated(instructions, num)
        questions = [question(text) for text in instructions]
        if conditioning == "ip2p":
            states, prompt_embeds = self._encode_questions(questions)
            null = self._map(None).expand_as(prompt_embeds)
            return Imagination([""] * num, states, prompt_embeds, null)
        pictures = _repeated(pictures, num) if conditioning == "mgie" else None
        if own:
            words = _repeated(own, num)
            answers = [answer(text, self.config["num_visual_tokens"]) for text in words]
            rows, _, pixel_values = tokenize_dialogues(self.processor, pictures, questions, answers)
            states = self._visual_token_states(rows, pixel_values)
        else:
            words, states = self._write(pictures, instructions)
        prompts = self._read(pictures, questions) if keep_prompts else None
        prompt_embeds = self._map(states)
        null = self._map(None).expand_as(prompt_embeds)
        return Imagination(words, states, prompt_embeds, null, prompts)

    @torch.no_grad()
    def reimagine(self, imagination: Imagination, expressive_instruction: str | Sequence[str]) -> Imagination:
        """Returns the imagination with other words in place of the model's own.

        The same as `encode_instruction` with these words, but only they pass through the language model: what
        it has read of picture and instruction is in the imagination.

        Args:
            imagination: from `encode_instruction(..., keep_prompts=True)`, B rows.
            expressive_instruction: B texts, or one for all rows.

        Raises:
            ConfigError: as for `encode_instruction`; or the imagination has no prompts.
        """
        words = self._checked_answers(expressive_instruction)
        if imagination.prompts is None:
            raise ConfigError(
                "the imagination has no prompts; expected one of encode_instruction(..., keep_prompts=True)"
            )
        num = _common_length(imagination=imagination.prompts, expressive_instruction=words)
        words, prompts = _repeated(words, num), _repeated(imagination.prompts, num)
        # Where the model ran before: asking for `_execution_device` costs as much as the rest.
        device = imagination.visual_token_states.device
        states = torch.cat([self._answer(*row, device) for row in zip(prompts, words, strict=True)])
        prompt_embeds = self._map(states)
        null = imagination.negative_prompt_embeds[:1].expand_as(prompt_embeds)
        return Imagination(words, states, prompt_embeds, null, prompts)

    @torch.no_grad()
    def encode_image(
        self, image: Picture, height: int | None = None, width: int | None = None
    ) -> EncodedImage:
        """Returns a picture with its source latents, for any number of edits of it.

        Args:
            image: picture or file.
            height: working height, see `__call__`.
            width: working width.

        Raises:
            MGIEError: a picture or size that cannot be used.
        """
        picture = open_image(image)
        size = self._fit(picture, height, width)
        pixels = self._pixels(picture, size)
        image_latents = self._encode([pixels])
        return EncodedImage(picture, size, pixels, image_latents[0], self._decode(image_latents)[0])

    @torch.no_grad()
    def __call__(
        self,
        image: Picture | EncodedImage | Sequence[Picture | EncodedImage],
        instruction: str | Sequence[str] | None = None,
        *,
        expressive_instruction: str | Sequence[str] | None = None,
        imagination: Imagination | None = None,
        prompt_embeds: Tensor | None = None,
        negative_prompt_embeds: Tensor | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        image_guidance_scale: float | None = None,
        generator: Generator | Sequence[Generator] | None = None,
        latents: Tensor | None = None,
        height: int | None = None,
        width: int | None = None,
        mask: Picture | Sequence[Picture | None] | None = None,
        strength: float | Sequence[float] = 1.0,
        keep_unchanged: bool = True,
        keep_native: bool = True,
        output_type: Literal["pil", "np", "pt", "latent"] = "pil",
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> MGIEPipelineOutput:
        """Returns the edited pictures.

        Lists of pictures, instructions, imaginations and generators are rows of a batch; what comes alone
        goes with every row. So one imagination and several generators give several edits from one pass of
        the language model.

        Args:
            image: pictures or files, of any size and mode, or what `encode_image` made of them.
            instruction: what to do; left out with `imagination` or `prompt_embeds`.
            expressive_instruction: own words in place of the model's, see `encode_instruction`; likewise.
            imagination: from `encode_instruction`.
            prompt_embeds: (B, Q, C), in place of an imagination; needs `negative_prompt_embeds`.
            negative_prompt_embeds: (B, Q, C).
            num_inference_steps: denoising steps; None, here and below, is the model's own value.
            guidance_scale: weight of the words; 1 or less switches all guidance off.
            image_guidance_scale: weight of the source picture.
            generator: one CPU generator for each row makes a row's result independent of its batch; a single
                one draws for the rows in turn.
            latents: (B, c, h, w) unit normal noise in place of the generator's.
            height: working height, rounded down to the model's multiple; the picture is squeezed to it.
            width: working width, likewise.
            mask: where the picture may change: white may, with a soft edge inside; black stays as it is, byte
                for byte. As large as the upright picture. None, in a list too, for everywhere.
            strength: share of the way from the picture, 0, to the edit, 1.
            keep_unchanged: whether places that the edit changed no more than a model drifts stay as they are,
                byte for byte.
            keep_native: whether the edit is carried back onto the original at its own size; otherwise the
                bare decoded picture at working size is returned, and `mask`, `strength` and `keep_unchanged`
                do not count.
            output_type: form of the pictures, see `MGIEPipelineOutput`; latents are at working size.
            callback_on_step_end: called as `callback(pipeline, step, timestep, tensors)` after each step;
                what it returns replaces the tensors. Pictures of one working size are painted together,
                the sizes one after the other.
            callback_on_step_end_tensor_inputs: names of these tensors: `latents`, `image_latents`,
                `prompt_embeds`, `negative_prompt_embeds`.

        Raises:
            MGIEError: an argument or picture that cannot be used; the message says why.
        """
        if output_type not in ("pil", "np", "pt", "latent"):
            raise ConfigError(f"output_type is {output_type!r}; expected 'pil', 'np', 'pt' or 'latent'")
        for name in callback_on_step_end_tensor_inputs:
            if name not in self._callback_tensor_inputs:
                raise ConfigError(
                    f"no tensor '{name}'; a step callback sees {', '.join(self._callback_tensor_inputs)}"
                )
        sampling = self._sampling(
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            image_guidance_scale=image_guidance_scale,
        )
        seconds: dict[str, float] = {}
        # 1. Read.
        with _timed(seconds, "read"):
            encoded = [item if isinstance(item, EncodedImage) else None for item in _as_list(image)]
            pictures = [_opened(item) for item in _as_list(image)]
        # 2. Imagine and map, once for all rows that share a picture and its words.
        with _timed(seconds, "imagine"):
            if imagination is not None or prompt_embeds is not None:
                if instruction is not None or expressive_instruction is not None:
                    raise ConfigError(
                        "got words beside an imagination or prompt_embeds, which hold theirs; expected one "
                        "of them: reimagine() puts other words into an imagination"
                    )
            else:
                if instruction is None:
                    raise ConfigError(
                        "no instruction given; expected instruction, imagination or prompt_embeds"
                    )
                imagination = self.encode_instruction(pictures, instruction, expressive_instruction)
            conditions = _conditions(imagination, prompt_embeds, negative_prompt_embeds)
        rows = _rows(pictures, encoded, *conditions, generator, latents, mask, strength)
        sizes = [self._size_of(row, height, width) for row in rows]
        images: list[Any] = [None] * len(rows)
        rearrangements: list[Rearrangement | None] = [None] * len(rows)
        self._interrupt = False
        for size in dict.fromkeys(sizes):
            same = [i for i in range(len(rows)) if sizes[i] == size]
            # 3. Paint all pictures of one working size together.
            with _timed(seconds, "paint"):
                tensors = self._prepare([rows[i] for i in same], size)
                generators = [rows[i].generator for i in same] if generator is not None else None
                painted = self._paint(
                    tensors, sampling, generators, callback_on_step_end, callback_on_step_end_tensor_inputs
                )
            # 4. Return.
            group = [rows[i] for i in same]
            edits = list(painted.latents)
            if output_type != "latent":
                edits = self._return(
                    group, tensors["image_latents"], painted, keep_native, keep_unchanged, seconds
                )
                edits = [_as_type(edit, output_type) for edit in edits]
            for i, edit, rearranged in zip(same, edits, painted.rearrangements, strict=True):
                images[i], rearrangements[i] = edit, rearranged
        self.maybe_free_model_hooks()
        words = [row.words for row in rows]
        return MGIEPipelineOutput(
            images=images,
            expressive_instructions=words,
            seconds=seconds,
            rearrangements=rearrangements,
        )

    @torch.no_grad()
    def preview(self, latents: Tensor) -> list[Image.Image]:
        """Returns what latents look like, for a step callback: B bare RGB pictures at working size.

        Args:
            latents: (B, c, h, w), scaled, as a callback gets them and `output_type="latent"` gives them.
        """
        decoded = self._decode(latents / self.vae.config.scaling_factor)
        return [_as_type(picture, "pil") for picture in decoded]

    def _sampling(self, **given: Any) -> Sampling:
        """Returns the settings with the model's own in place of None."""
        own = {name: self.config[name] for name in given}
        sampling = Sampling(**own | {name: value for name, value in given.items() if value is not None})
        most = self.scheduler.config["num_train_timesteps"]
        if sampling.num_inference_steps > most:
            raise ConfigError(
                f"num_inference_steps is {sampling.num_inference_steps}; expected at most {most}"
            )
        return sampling

    @property
    def _visual_token_ids(self) -> list[int]:
        return visual_token_ids(self.processor, self.config["num_visual_tokens"])

    def _checked_answers(self, expressive_instruction: str | Sequence[str]) -> list[str]:
        if self.config["conditioning"] == "ip2p":
            raise ConfigError(
                "got an expressive instruction; this model (ip2p) takes the instruction alone: leave it out"
            )
        return [
            _checked_words("expressive instruction", " ".join(text.split()), self.processor)
            for text in _as_list(expressive_instruction)
        ]

    # imagine

    def _write(self, pictures: list[Image.Image] | None, instructions: list[str]) -> tuple[list[str], Tensor]:
        """Returns the B expressive instructions that the model writes, and its states (B, N, D).

        Prompts of one length are answered together: nothing is padded, so a row does not depend on its batch.
        """
        tokenizer, device = self.processor.tokenizer, self._execution_device
        questions = [question(text) for text in instructions]
        prompts, lengths, pixel_values = tokenize_dialogues(self.processor, pictures, questions)
        written: dict[int, list[int]] = {}
        for length in dict.fromkeys(lengths):
            same = [row for row, prompt in enumerate(prompts) if len(prompt) == length]
            input_ids = torch.tensor([prompts[row] for row in same], device=device)
            output = self.mllm.generate(
                input_ids=input_ids,
                attention_mask=torch.ones_like(input_ids),
                **self._seen(pixel_values, same),
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
                suppress_tokens=[self.processor.image_token_id],  # words may not call for another picture
                logits_processor=copying_words(
                    tokenizer, [instructions[row] for row in same], self.config["copy_bias"]
                ),
            )
            written |= dict(zip(same, output[:, length:].tolist(), strict=True))
        answers = [until(written[row], tokenizer.eos_token_id) for row in range(len(prompts))]
        words = [clean_expressive_instruction(tokenizer.decode(answer)) for answer in answers]
        rows = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
        return words, self._visual_token_states(rows, pixel_values)

    def _read(self, pictures: list[Image.Image] | None, questions: list[str]) -> list[Prompt]:
        """Returns what the model keeps of B pictures and questions, row by row."""
        device = self._execution_device
        rows, _, pixel_values = tokenize_dialogues(self.processor, pictures, questions)
        outputs = [
            self.mllm(
                input_ids=torch.tensor([ids], device=device),
                **self._seen(pixel_values, [i]),
                use_cache=True,
                logits_to_keep=1,
            )
            for i, ids in enumerate(rows)
        ]
        return [
            Prompt(text, ids, output.past_key_values)
            for text, ids, output in zip(questions, rows, outputs, strict=True)
        ]

    def _answer(self, prompt: Prompt, words: str, device: torch.device) -> Tensor:
        """Returns the states (1, N, D) of an answer in these words."""
        tokenizer, tokens = self.processor.tokenizer, self._visual_token_ids
        # The answer's ids as they are in the whole dialogue, where a blank may belong to the first word.
        asked, told = (
            tokenizer(
                dialogue_text(self.processor, prompt.question, text), add_special_tokens=False
            ).input_ids
            for text in (None, answer(words, len(tokens)))
        )
        row = torch.tensor(prompt.input_ids + told[len(asked) :])[None]
        start = len(prompt.input_ids)
        output = self.mllm(
            input_ids=row[:, start:].to(device),
            past_key_values=copy.deepcopy(prompt.cache),  # which would grow by the answer
            output_hidden_states=True,
            logits_to_keep=1,
        )
        positions = visual_token_positions(row[:, :-1], tokens[0], len(tokens)) - start
        states = output.hidden_states[-1]
        return visual_token_states(states, positions.to(states.device), len(tokens))

    def _visual_token_states(self, rows: list[list[int]], pixel_values: Tensor | None) -> Tensor:
        """Returns (B, N, D) from one pass over whole dialogues; padding on the right is never seen."""
        tokens = self._visual_token_ids
        input_ids, attention_mask = self._padded(rows)
        # Without the last token: the model, while it writes, never reads it.
        positions = torch.cat(
            [
                visual_token_positions(ids[None, : len(row) - 1], tokens[0], len(tokens))
                for ids, row in zip(input_ids, rows, strict=True)
            ]
        )
        output = self.mllm(
            input_ids=input_ids,
            attention_mask=attention_mask,
            **self._seen(pixel_values, list(range(len(rows)))),
            output_hidden_states=True,
            logits_to_keep=1,
        )
        return visual_token_states(output.hidden_states[-1], positions, len(tokens))

    def _encode_questions(self, questions: list[str]) -> tuple[Tensor, Tensor]:
        """Returns states (B, L, D) and embeds (B, Q, C) of B questions that are not answered."""
        rows, _, _ = tokenize_dialogues(self.processor, None, questions)
        input_ids, attention_mask = self._padded(rows)
        states, embeds = question_states(self.mllm, input_ids, attention_mask)
        return states, self.edit_head(*(x.to(self.edit_head.dtype) for x in (states, embeds)), attention_mask)

    def _padded(self, rows: list[list[int]]) -> tuple[Tensor, Tensor]:
        """Returns `input_ids` and `attention_mask`, each (B, L), padded on the right."""
        input_ids, attention_mask = padded(rows, self.processor.tokenizer.pad_token_id)
        return input_ids.to(self._execution_device), attention_mask.to(self._execution_device)

    def _seen(self, pixel_values: Tensor | None, rows: list[int]) -> dict[str, Tensor]:
        """Returns the argument that shows the language model some rows' pictures, if it sees any."""
        if pixel_values is None:
            return {}
        return {"pixel_values": pixel_values[rows].to(self._execution_device, self.mllm.dtype)}

    # map

    def _map(self, states: Tensor | None) -> Tensor:
        """Returns embeds (B, Q, C) from states (B, N, D); None is the null condition, (1, Q, C)."""
        embeds = visual_token_embeds(self.mllm, self._visual_token_ids)
        device = self._execution_device if states is None else states.device
        embeds = embeds.to(device, self.edit_head.dtype)
        return self.edit_head(torch.zeros_like(embeds) if states is None else states.to(embeds), embeds)

    # paint

    def _size_of(self, row: "_Row", height: int | None, width: int | None) -> tuple[int, int]:
        """Returns the working (width, height) of a row."""
        if row.encoded is None:
            return self._fit(row.picture, height, width)
        if (height, width) != (None, None):
            raise ConfigError("got height or width beside an encoded image; give them to encode_image")
        return row.encoded.size

    def _fit(self, original: Image.Image, height: int | None, width: int | None) -> tuple[int, int]:
        """Returns the working (width, height): the rule's, or one given by hand, down to the multiple."""
        if height is None and width is None:
            return self._working_size.fit(*original.size)
        multiple = self._working_size.multiple
        if height is None or width is None or min(height, width) < multiple:
            raise ConfigError(f"height, width are {height}, {width}; expected both, each {multiple} or more")
        return width - width % multiple, height - height % multiple

    def _pixels(self, picture: Image.Image, size: tuple[int, int]) -> Tensor:
        """Returns a picture at a size (w, h), as (3, h, w) in [-1, 1]."""
        pixels = torch.from_numpy(np.asarray(resize(picture, size), dtype=np.float32) / 127.5 - 1)
        return pixels.permute(2, 0, 1).to(self._execution_device)

    def _encode(self, pixels: list[Tensor]) -> Tensor:
        """Returns the `image_latents` (B, c, h, w): mode and unscaled, see `mgie.diffusion.encode_pair`."""
        if not pixels:
            return torch.empty(0)
        encoded = self.vae.encode(torch.stack(pixels).to(self.vae.dtype))
        return (encoded.latent_dist.mode() if "latent_dist" in encoded else encoded.latents).float()

    def _prepare(self, rows: "list[_Row]", size: tuple[int, int]) -> dict[str, Tensor]:
        """Returns `latents` (unit normal), `image_latents`, `prompt_embeds` and `negative_prompt_embeds`.

        And `pixels` (B, 3, h, w) of the sources, see `EncodedImage`, and `aspects` (B,) of the pictures.
        """
        pixels = [
            self._pixels(row.picture, size) if row.encoded is None else row.encoded.pixels for row in rows
        ]
        fresh = iter(
            self._encode([own for row, own in zip(rows, pixels, strict=True) if row.encoded is None])
        )
        image_latents = torch.stack(
            [next(fresh) if row.encoded is None else row.encoded.image_latents for row in rows]
        )
        device, shape = image_latents.device, image_latents.shape[1:]
        noise = []
        for row in rows:
            if row.latents is None:
                noise.append(randn_tensor(shape, generator=row.generator, device=device))
            elif row.latents.shape != shape:
                raise ConfigError(
                    f"latents are {tuple(row.latents.shape)}; this picture needs {tuple(shape)}"
                )
            else:
                noise.append(row.latents.to(image_latents))
        return {
            "pixels": torch.stack(pixels),
            "aspects": torch.tensor([row.picture.width / row.picture.height for row in rows], device=device),
            "latents": torch.stack(noise),
            "image_latents": image_latents,
            "prompt_embeds": torch.stack([row.prompt_embeds for row in rows]).to(device),
            "negative_prompt_embeds": torch.stack([row.negative_prompt_embeds for row in rows]).to(device),
        }

    def _paint(
        self,
        tensors: dict[str, Tensor],
        sampling: Sampling,
        generators: list[Generator | None] | None,
        callback: StepCallback | None,
        callback_inputs: Sequence[str],
    ) -> "_Painted":
        """Returns the edited latents, and what the UNet knows of them to the pixel.

        Args:
            tensors: as `_prepare` gives them.
            sampling: steps and guidance.
            generators: one for each row, for the noise that some solvers add at each step.
            callback: sees, and may replace, the tensors named in `callback_inputs` after each step.
            callback_inputs: see `callback`.
        """
        self.scheduler.set_timesteps(sampling.num_inference_steps, device=tensors["latents"].device)
        tensors["latents"] = tensors["latents"] * self.scheduler.init_noise_sigma
        draws = "generator" in inspect.signature(self.scheduler.step).parameters
        options = {"generator": generators} if draws else {}
        progress_bar: Any = self.progress_bar
        output, everywhere, painted = None, None, tensors["latents"]
        with progress_bar(total=len(self.scheduler.timesteps)) as bar:
            for step, timestep in enumerate(self.scheduler.timesteps):
                if self.interrupt:
                    break
                prediction, everywhere, output = self._predict(tensors, timestep, sampling)
                painted = self.scheduler.step(
                    prediction, timestep, tensors["latents"], return_dict=False, **options
                )[0]
                tensors["latents"] = painted
                if callback is not None:
                    tensors |= callback(
                        self, step, timestep, {name: tensors[name] for name in callback_inputs}
                    )
                bar.update()
        latents, unet, pixels = tensors["latents"], self.unet, tensors["pixels"]
        layers = getattr(output, "layers", None)
        if layers is None:
            return _Painted(latents, [None] * len(latents))
        rearrangements = unet.layers.rearrangements(layers, pixels)
        if everywhere is None or latents is not painted:  # the last word is a callback's
            return _Painted(latents, rearrangements)
        changed = unet.changed_pixels(output, pixels)
        parts = {i: (everywhere[i], row) for i, row in enumerate(changed) if row is not None}
        return _Painted(latents, rearrangements, parts)

    def _predict(
        self, tensors: dict[str, Tensor], timestep: Tensor, sampling: Sampling
    ) -> tuple[Tensor, Tensor | None, Any]:
        """Returns the UNet's guided prediction (B, c, h, w) in fp32, that of an edit of all, and its output.

        The output is of the B rows and more. The arguments are those of `_paint`; a UNet of InstructPix2Pix
        does not say what it would paint elsewhere.
        """
        image, text, null = (
            tensors[name] for name in ("image_latents", "prompt_embeds", "negative_prompt_embeds")
        )
        conditions = [(image, text)]
        if sampling.needs_image:
            conditions.append((image, null))
        if sampling.needs_uncond:
            conditions.append((torch.zeros_like(image), null))
        noisy = self.scheduler.scale_model_input(tensors["latents"], timestep)
        sample = torch.cat([torch.cat([noisy, picture], dim=1) for picture, _ in conditions])
        context = torch.cat([words for _, words in conditions])
        # Only a UNet that paints patterns reads it.
        added = {"aspects": tensors["aspects"].repeat(len(conditions))}
        output = self.unet(
            sample.to(self.unet.dtype), timestep, context.to(self.unet.dtype), added_cond_kwargs=added
        )
        prediction, everywhere = output.sample.float(), getattr(output, "everywhere", None)
        noise_text, *others = prediction.chunk(len(conditions))
        if everywhere is not None:
            everywhere = everywhere[: len(image)].float()
        if not sampling.needs_image:
            return noise_text, everywhere, output
        noise_image, *noise_uncond = others

        def guided(noise_text: Tensor) -> Tensor:
            return guide(
                noise_text,
                noise_image,
                noise_uncond[0] if noise_uncond else None,
                sampling.guidance_scale,
                sampling.image_guidance_scale,
            )

        return guided(noise_text), None if everywhere is None else guided(everywhere), output

    # return

    def _decode(self, latents: Tensor) -> np.ndarray:
        """Returns pictures (B, H, W, 3) in [0, 1] from latents (B, c, h, w) that are not scaled."""
        pixels = self.vae.decode(latents.to(self.vae.dtype)).sample.float()
        return (pixels / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()

    def _return(
        self,
        rows: "list[_Row]",
        image_latents: Tensor,
        painted: "_Painted",
        keep_native: bool,
        keep_unchanged: bool,
        seconds: dict[str, float],
    ) -> list[np.ndarray | Image.Image]:
        """Returns the edits; the way back needs the source through the same decoder, as edits of parts do.

        These are decoded as if they changed all: the autoencoder would smear over its outline what changes.
        """
        with _timed(seconds, "decode"):
            latents = painted.latents.clone()
            for i, (everywhere, _) in painted.parts.items():
                latents[i] = everywhere
            edits = list(self._decode(latents / self.vae.config.scaling_factor))
            needed = range(len(rows)) if keep_native else painted.parts
            fresh = [i for i in needed if rows[i].encoded is None]
            sources = {i: row.encoded.decoded for i, row in enumerate(rows) if row.encoded is not None}
            sources |= dict(zip(fresh, self._decode(image_latents[fresh]), strict=True)) if fresh else {}
            for i, (_, changed) in painted.parts.items():
                share = changed.permute(1, 2, 0).float().cpu().numpy()
                edits[i] = sources[i] + share * (edits[i] - sources[i])
            if not keep_native:
                return edits
        with _timed(seconds, "return"):
            return [
                return_to_native(
                    row.picture,
                    sources[i],
                    edits[i],
                    keep_unchanged=keep_unchanged,
                    mask=row.mask,
                    strength=row.strength,
                    rearrangement=painted.rearrangements[i],
                )
                for i, row in enumerate(rows)
            ]


@dataclass(frozen=True)
class _Painted:
    """B edits of one working size."""

    latents: Tensor
    """(B, c, h, w), scaled, in fp32."""
    rearrangements: Sequence[Rearrangement | None]
    parts: Mapping[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Of the rows that are edits of a part: the latents (c, h, w) if they changed all, and how much of each
    pixel they change, (1, H, W)."""


@dataclass(frozen=True)
class _Row:
    """One edit of a batch."""

    picture: Image.Image
    encoded: EncodedImage | None
    words: str
    prompt_embeds: Tensor
    """(Q, C)."""
    negative_prompt_embeds: Tensor
    """(Q, C)."""
    generator: Generator | None
    latents: Tensor | None
    """(c, h, w), unit normal."""
    strength: float
    mask: Image.Image | None


def _rows(
    pictures: list[Image.Image],
    encoded: list[EncodedImage | None],
    words: list[str],
    prompt_embeds: Tensor,
    negative_prompt_embeds: Tensor,
    generator: Generator | Sequence[Generator] | None,
    latents: Tensor | None,
    mask: Picture | Sequence[Picture | None] | None,
    strength: float | Sequence[float],
) -> list[_Row]:
    """Returns the batch row by row; what comes alone goes with every row."""
    generators = [generator] if generator is None or isinstance(generator, Generator) else list(generator)
    noise = [None] if latents is None else list(latents)
    masks, strengths = _as_list(mask), [float(value) for value in _as_list(strength)]
    num = _common_length(
        image=pictures, instruction=words, generator=generators, latents=noise, mask=masks, strength=strengths
    )
    for value in strengths:
        if not 0 <= value <= 1:
            raise ConfigError(f"strength is {value:g}; expected 0, the picture itself, to 1, the full edit")
    embeds = list(prompt_embeds), list(negative_prompt_embeds)
    columns: tuple[list[Any], ...] = (pictures, encoded, words, *embeds, generators, noise, strengths)
    rows = zip(*(_repeated(column, num) for column in columns), strict=True)
    return [
        _Row(*values, mask=mask and open_mask(mask, values[0].size))
        for values, mask in zip(rows, _repeated(masks, num), strict=True)
    ]


def _opened(image: Picture | EncodedImage) -> Image.Image:
    return image.picture if isinstance(image, EncodedImage) else open_image(image)


def _as_type(edit: np.ndarray | Image.Image, output_type: str) -> Any:
    """Returns a picture, or (H, W, 3) in [0, 1], in the form of `MGIEPipelineOutput.images`."""
    if output_type == "pil":
        if isinstance(edit, Image.Image):
            return edit
        return Image.fromarray((edit * 255).round().astype(np.uint8))
    pixels = np.asarray(edit, dtype=np.float32) / 255 if isinstance(edit, Image.Image) else edit
    return torch.from_numpy(pixels).permute(2, 0, 1) if output_type == "pt" else pixels


def _conditions(
    imagination: Imagination | None, prompt_embeds: Tensor | None, negative_prompt_embeds: Tensor | None
) -> tuple[list[str], Tensor, Tensor]:
    """Returns expressive instructions and both kinds of embeds, from whichever the caller gave."""
    if prompt_embeds is None:
        assert imagination is not None
        return (
            imagination.expressive_instructions,
            imagination.prompt_embeds,
            imagination.negative_prompt_embeds,
        )
    if imagination is not None:
        raise ConfigError("got imagination and prompt_embeds; expected one of them: leave the other out")
    if negative_prompt_embeds is None or negative_prompt_embeds.shape != prompt_embeds.shape:
        shape = None if negative_prompt_embeds is None else tuple(negative_prompt_embeds.shape)
        raise ConfigError(
            f"negative_prompt_embeds are {shape}; expected {tuple(prompt_embeds.shape)}, as prompt_embeds"
        )
    return [""] * len(prompt_embeds), prompt_embeds, negative_prompt_embeds


def _checked_words(name: str, text: str, processor: LlavaProcessor) -> str:
    """Returns `text` without blanks around it; refuses what would break the dialogue with the model."""
    text = checked_words(text, name)
    for token in processor.tokenizer.get_added_vocab():
        if token in text:
            raise ConfigError(f"the {name} contains {token}, which the model keeps for itself; leave it out")
    return text


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _common_length(**rows: Sequence[Any]) -> int:
    """Returns the number of rows; lists of length one fit any."""
    num = max(len(values) for values in rows.values())
    if num == 0:
        raise ConfigError(f"got no {' and no '.join(rows)}; expected one or more of each")
    if any(len(values) not in (1, num) for values in rows.values()):
        counts = ", ".join(f"{len(values)} {name}" for name, values in rows.items())
        raise ConfigError(f"got {counts}; expected as many of each, or one that goes with every row")
    return num


def _repeated(values: list[Any], num: int) -> list[Any]:
    return values * num if len(values) == 1 else values


@contextlib.contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    """Adds the time that the block takes to `seconds[step]`."""
    start = time.perf_counter()
    yield
    seconds[step] = seconds.get(step, 0.0) + time.perf_counter() - start
