"""Between the original's files and a pipeline folder, both ways.

The original is spread over four places: LLaVA-7B-v1 (the language model's layers and its projector), CLIP
(the vision tower), `mllm.pt` and `unet.pt` (what MGIE trained), and InstructPix2Pix (autoencoder, scheduler,
and the UNet's configuration). Tensors are read, checked and written one by one, so a conversion takes little
more memory than one shard.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import diffusers
import torch
from diffusers import AutoencoderKL, SchedulerMixin, UNet2DConditionModel
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    GenerationConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from mgie.checkpoint.tokenizer import LLAVA_TOKENS, PATCH_TOKEN, added_tokens, llama_tokenizer
from mgie.checkpoint.weights import Weights, write_sharded
from mgie.errors import CheckpointError
from mgie.model_folder import (
    INDEX_FILE,
    check_free,
    find_folder,
    read_json,
    replaced_folder,
    write_provenance,
)
from mgie.models.edit_head import EditHead
from mgie.models.loading import load_model, quiet_loading
from mgie.models.mllm import saved_name
from mgie.pipeline import MGIEPipeline
from mgie.prompts import NUM_VISUAL_TOKENS, visual_tokens

EMBEDDINGS, LM_HEAD, FINAL_NORM = "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"
NUM_HEADS = 4
"""Attention heads of the released edit head; shapes do not tell them."""
GENERATION = {"do_sample": False, "num_beams": 1, "max_new_tokens": 96, "no_repeat_ngram_size": 3}
"""How the original's demo generates."""
WORKING_SIZE = {"max_pixels": 512 * 512, "multiple": 8, "upscale": False}


@dataclass(frozen=True)
class Original:
    """The tensors of the original, wherever they lie."""

    language_model: Mapping[str, Tensor]
    """`model.layers.*`, `model.norm.*` and `model.mm_projector.*`; what else is there is passed over."""
    vision_tower: Mapping[str, Tensor]
    """`vision_model.*`."""
    trained: Mapping[str, Tensor]
    """`model.embed_tokens.weight`, `lm_head.weight`, `edit_head.*`, and perhaps `emb`."""
    unet: Mapping[str, Tensor]
    """The UNet's tensors by diffusers' names."""
    base: Mapping[str, Tensor] | None = None
    """LLaMA, where `language_model` holds the differences from it."""


@dataclass(frozen=True)
class _Prefixed(Mapping[str, Tensor]):
    """Those of the tensors whose name begins with a prefix, by the rest of their name."""

    weights: Mapping[str, Tensor]
    prefix: str

    def __iter__(self) -> Iterator[str]:
        return (name.removeprefix(self.prefix) for name in self.weights if name.startswith(self.prefix))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, name: str) -> Tensor:
        return self.weights[self.prefix + name]


def convert(
    llava: str | Path,
    mgie: str | Path,
    diffusion: str | Path,
    out: str | Path,
    *,
    vision_tower: str | Path | None = None,
    base: str | Path | None = None,
    dtype: torch.dtype | None = None,
) -> list[str]:
    """Writes the released model as a pipeline folder, whole or not at all; returns remarks for the user.

    Args:
        llava: folder or hub id of LLaVA-7B-v1, or of delta weights.
        mgie: folder with `mllm.pt` and `unet.pt`.
        diffusion: folder or hub id of InstructPix2Pix or Stable Diffusion 1.5, in diffusers' layout.
        out: folder to write; an older model there is replaced.
        vision_tower: folder or hub id of CLIP ViT-L/14; by default the one that LLaVA's configuration names.
        base: folder or hub id of LLaMA, if `llava` holds differences from it.
        dtype: type of all weights; by default as they are stored.

    Raises:
        CheckpointError: a file or tensor is missing, misshapen, not finite, or of another model.
    """
    places = _places(llava, diffusion, vision_tower)
    for name in ("mllm.pt", "unet.pt"):
        if not (Path(mgie) / name).is_file():
            raise CheckpointError(f"{mgie} has no {name}; expected the folder with mllm.pt and unet.pt")
    original = Original(
        language_model=Weights(places.llava),
        vision_tower=Weights(places.vision_tower),
        trained=Weights(Path(mgie) / "mllm.pt"),
        unet=Weights(Path(mgie) / "unet.pt"),
        base=Weights(find_folder(base, _WEIGHT_FILES)) if base is not None else None,
    )
    return _write_pipeline(original, places, Path(out), dtype)


def convert_snapshot(
    snapshot: str | Path,
    llava: str | Path,
    diffusion: str | Path,
    out: str | Path,
    *,
    vision_tower: str | Path | None = None,
    dtype: torch.dtype | None = None,
) -> list[str]:
    """Writes a training snapshot of the original's as a pipeline folder; returns remarks for the user.

    The snapshot has neither tokenizer nor configurations: `llava` and `diffusion` give them. The autoencoder
    is `diffusion`'s: the original's training starts with parts of its own drawn anew, unlike its pipeline's.

    Args:
        snapshot: folder with the shards that the original's trainer wrote.
        llava: as for `convert`; its weights are not read.
        diffusion: as for `convert`.
        out: folder to write; an older model there is replaced.
        vision_tower: as for `convert`; its weights are not read.
        dtype: as for `convert`.

    Raises:
        CheckpointError: as for `convert`.
    """
    places, weights = _places(llava, diffusion, vision_tower), Weights(snapshot)
    original = Original(
        language_model=weights,
        vision_tower=_Prefixed(weights, "model.vision_tower."),
        trained=weights,
        unet=_Prefixed(weights, "unet."),
    )
    return _write_pipeline(original, places, Path(out), dtype)


def convert_back(model: Path, out: str | Path, dtype: torch.dtype | None = None) -> None:
    """Writes `mllm.pt` (with `emb`) and `unet.pt` of a pipeline folder, for the original's code.

    Args:
        model: pipeline folder whose language model is LLaVA-v1's, with one linear projector.
        out: folder to write.
        dtype: type of all weights; by default as they are stored. The original's own are float16.

    Raises:
        CheckpointError: the original's code cannot hold this model.
    """
    out = Path(out)
    check_free(out, "mllm.pt")
    config = read_json(model / "mllm" / "config.json")
    if config.get("projector_hidden_act") != "linear":
        raise CheckpointError(
            f"{model} has not LLaVA-v1's linear projector, so the original's code cannot run it; only a "
            "converted model, or one trained from it, can go back"
        )
    index = read_json(model / INDEX_FILE)
    kind, unet_class = index.get("conditioning", "mgie"), index["unet"][-1]
    if kind != "mgie" or unet_class != UNet2DConditionModel.__name__:
        raise CheckpointError(
            f"{model} has conditioning {kind} and a {unet_class}, which the original's code does not know; "
            "expected mgie and UNet2DConditionModel"
        )
    mllm = Weights(model / "mllm")
    names = {EMBEDDINGS: saved_name("model.language_model.embed_tokens.weight"), LM_HEAD: saved_name(LM_HEAD)}
    trained = {name: mllm[saved] for name, saved in names.items()}
    trained |= {f"edit_head.{name}": tensor for name, tensor in Weights(model / "edit_head").items()}
    trained["emb"] = trained[EMBEDDINGS][-NUM_VISUAL_TOKENS:][None]
    unet = dict(Weights(model / "unet"))
    with replaced_folder(out) as new:
        for name, tensors in (("mllm.pt", trained), ("unet.pt", unet)):
            torch.save(
                {key: _cast(value, dtype).contiguous().clone() for key, value in tensors.items()}, new / name
            )


# Where things are.

_WEIGHT_FILES = ("*.json", "*.bin", "*.safetensors", "*.model")
_DIFFUSION_FILES = ("unet/config.json", "vae/*", "scheduler/*", "model_index.json")


@dataclass(frozen=True)
class _Places:
    llava: Path
    vision_tower: Path
    diffusion: Path


def _places(llava: str | Path, diffusion: str | Path, vision_tower: str | Path | None) -> _Places:
    folder = find_folder(llava, _WEIGHT_FILES)
    named = read_json(folder / "config.json").get("mm_vision_tower")
    tower = vision_tower or named
    if tower is None:
        raise CheckpointError(f"{folder} names no mm_vision_tower; give the vision tower's folder")
    return _Places(folder, find_folder(tower, _WEIGHT_FILES), find_folder(diffusion, _DIFFUSION_FILES))


# What the pipeline is made of, without weights.


def _mllm_config(places: _Places, tokenizer: PreTrainedTokenizerFast) -> LlavaConfig:
    """Returns LLaVA's configuration in transformers' terms."""
    llava = read_json(places.llava / "config.json")
    clip = read_json(places.vision_tower / "config.json")
    vision: Any = CLIPVisionConfig(**clip.get("vision_config", clip))
    own = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act")
    own += ("max_position_embeddings", "rms_norm_eps")
    ids: dict[str, Any] = _special_ids(tokenizer)
    text = LlamaConfig(vocab_size=len(tokenizer), **{key: llava[key] for key in own if key in llava}, **ids)
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=cast(int, tokenizer.convert_tokens_to_ids(PATCH_TOKEN)),
        # LLaVA-v1's one linear layer is the first of transformers' two; the second one is the identity.
        projector_hidden_act="linear",
        vision_feature_layer=llava.get("mm_vision_select_layer", -2),
        vision_feature_select_strategy="default",
        image_seq_length=(vision.image_size // vision.patch_size) ** 2,
        **ids,
    )


def _special_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    return {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}


def _edit_head(trained: Mapping[str, Tensor]) -> EditHead:
    """Returns the edit head without weights, in the sizes of the tensors."""
    shapes = {name: tuple(tensor.shape) for name, tensor in _Prefixed(trained, "edit_head.").items()}
    try:
        hidden_dim, mllm_dim = shapes["llm2hid.weight"]
        return EditHead(
            mllm_dim=mllm_dim,
            hidden_dim=hidden_dim,
            context_dim=shapes["hid2feat.weight"][0],
            num_queries=shapes["query"][1],
            num_layers=sum(name.endswith("linear1.weight") for name in shapes if ".encoder." in name),
            num_heads=NUM_HEADS,
            feedforward_dim=shapes["mapper.encoder.layers.0.linear1.weight"][0],
        )
    except KeyError as error:
        raise CheckpointError(
            f"there is no tensor 'edit_head.{error.args[0]}'; expected the edit head in mllm.pt"
        ) from error


def _processor(
    places: _Places, tokenizer: PreTrainedTokenizerFast, config: CLIPVisionConfig
) -> LlavaProcessor:
    return LlavaProcessor(
        image_processor=CLIPImageProcessorPil.from_pretrained(places.vision_tower, local_files_only=True),
        tokenizer=tokenizer,
        patch_size=config.patch_size,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token=PATCH_TOKEN,
        chat_template=tokenizer.chat_template,
    )


def _scheduler(places: _Places) -> SchedulerMixin:
    folder = places.diffusion / "scheduler"
    name = read_json(folder / "scheduler_config.json").get("_class_name", "")
    scheduler_class = getattr(diffusers, name, None)
    if scheduler_class is None:
        raise CheckpointError(f"{folder} names the class '{name}'; expected a scheduler of diffusers")
    return scheduler_class.from_pretrained(folder, local_files_only=True)


# Writing.


def _write_pipeline(original: Original, places: _Places, out: Path, dtype: torch.dtype | None) -> list[str]:
    check_free(out)
    tokenizer = llama_tokenizer(places.llava / "tokenizer.model")
    _check_vocabulary(original.trained, len(tokenizer))
    remarks = _checked_emb(original.trained)
    _check_delta(original)
    config = _mllm_config(places, tokenizer)
    with torch.device("meta"):
        mllm = LlavaForConditionalGeneration(config)
        edit_head = _edit_head(original.trained)
        unet = _unet(places, edit_head)
    with quiet_loading():
        folder = places.diffusion / "vae"
        safe = any(folder.glob("*.safetensors"))
        vae = load_model(folder, AutoencoderKL, dtype or torch.float32, use_safetensors=safe)
    pipeline = MGIEPipeline(
        mllm=mllm,
        processor=_processor(places, tokenizer, cast(CLIPVisionConfig, config.vision_config)),
        edit_head=edit_head,
        vae=vae,
        unet=unet,
        scheduler=_scheduler(places),
        working_size=WORKING_SIZE,
    )
    with replaced_folder(out) as new:
        pipeline.save_config(new)
        for name in ("processor", "scheduler", "vae"):
            getattr(pipeline, name).save_pretrained(new / name)
        config.save_pretrained(new / "mllm")
        ids = {
            key: getattr(config.text_config, key) for key in ("bos_token_id", "eos_token_id", "pad_token_id")
        }
        GenerationConfig(**GENERATION, **ids).save_pretrained(new / "mllm")
        expected = {saved_name(name): tensor for name, tensor in mllm.state_dict().items()}
        _write_part(new / "mllm", "model", _mllm_tensors(original), expected, "LLaVA", dtype)
        for name, part, tensors in (
            ("edit_head", edit_head, _Prefixed(original.trained, "edit_head.")),
            ("unet", unet, original.unet),
        ):
            part.save_config(new / name)
            stem = "diffusion_pytorch_model"
            _write_part(new / name, stem, tensors.items(), part.state_dict(), name, dtype)
        write_provenance(new, {"converted_from": "the original's layout (LLaVA-v1, CLIP, mllm.pt, unet.pt)"})
    return remarks


def _unet(places: _Places, edit_head: EditHead) -> UNet2DConditionModel:
    """Returns the UNet without weights: the diffusion model's, with channels for the source."""
    config = read_json(places.diffusion / "unet" / "config.json")
    context, wanted = config.get("cross_attention_dim"), edit_head.config["context_dim"]
    if context != wanted:
        raise CheckpointError(
            f"the UNet in {places.diffusion} takes a context {context} wide, the edit head gives {wanted}; "
            "this is the UNet of another model"
        )
    config["in_channels"] = 2 * config["out_channels"]
    return cast(UNet2DConditionModel, UNet2DConditionModel.from_config(config))


def _mllm_tensors(original: Original) -> Iterator[tuple[str, Tensor]]:
    """Gives the tensors of transformers' LLaVA by the names that it is saved with."""
    for name in (EMBEDDINGS, LM_HEAD):
        yield saved_name(_llama_name(name)), _get(original.trained, name, "mllm.pt")
    projector = "model.multi_modal_projector"
    for name, tensor in original.language_model.items():
        if name.startswith("model.mm_projector."):
            yield saved_name(f"{projector}.linear_1.{name.rsplit('.', 1)[1]}"), tensor
            if name.endswith("bias"):
                yield saved_name(f"{projector}.linear_2.weight"), torch.eye(len(tensor), dtype=tensor.dtype)
                yield saved_name(f"{projector}.linear_2.bias"), torch.zeros_like(tensor)
        elif name.startswith(("model.layers.", "model.norm.")) and not name.endswith("rotary_emb.inv_freq"):
            if original.base is not None:
                tensor = tensor + _get(original.base, name, "the base")
            yield saved_name(_llama_name(name)), tensor
    for name, tensor in original.vision_tower.items():
        if name.startswith("vision_model.") and not name.endswith("position_ids"):
            yield saved_name(f"model.vision_tower.{name.removeprefix('vision_model.')}"), tensor


def _llama_name(name: str) -> str:
    """Returns the name in transformers' LLaVA of a tensor of LLaMA's."""
    return name.replace("model.", "model.language_model.", 1) if name.startswith("model.") else name


def _get(weights: Mapping[str, Tensor], name: str, where: str) -> Tensor:
    if name not in weights:
        raise CheckpointError(f"there is no tensor '{name}' in {where}; expected LLaVA-v1 and MGIE's mllm.pt")
    return weights[name]


def _cast(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    return tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor


def _write_part(
    folder: Path,
    stem: str,
    tensors: Iterable[tuple[str, Tensor]],
    expected: Mapping[str, Tensor],
    source: str,
    dtype: torch.dtype | None,
) -> None:
    """Writes the tensors, each as the part without weights has it, or raises with the first that is not."""
    missing = dict.fromkeys(expected)

    def checked() -> Iterator[tuple[str, Tensor]]:
        for name, tensor in tensors:
            problem = None
            if name not in missing:
                problem = "is not part of this model"
            elif tensor.shape != expected[name].shape:
                problem = f"is {tuple(tensor.shape)}, the configuration says {tuple(expected[name].shape)}"
            elif not tensor.isfinite().all():
                problem = "is not finite"
            if problem:
                raise CheckpointError(
                    f"{source}: tensor '{name}' {problem}; it is damaged or of another model"
                )
            cast = _cast(tensor, dtype)
            if cast is not tensor and not cast.isfinite().all():
                raise CheckpointError(
                    f"{source}: tensor '{name}' is too large for {dtype}; take torch.bfloat16"
                )
            del missing[name]
            yield name, cast

    write_sharded(folder, stem, checked())
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise CheckpointError(
            f"{source}: tensor '{next(iter(missing))}' is missing{more}; it is incomplete or of another model"
        )


# What goes wrong with these weights more than with others.


def _check_vocabulary(trained: Mapping[str, Tensor], num_tokens: int) -> None:
    """Embeddings and output layer must have one row for each token id."""
    for name in (EMBEDDINGS, LM_HEAD):
        rows = len(_get(trained, name, "mllm.pt"))
        if rows != num_tokens:
            raise CheckpointError(
                f"mllm.pt: '{name}' has {rows} rows; expected {num_tokens}: "
                f"{num_tokens - len(added_tokens())} of LLaMA, {len(LLAVA_TOKENS)} of LLaVA, "
                f"{NUM_VISUAL_TOKENS} visual tokens ({visual_tokens()[0]}..{visual_tokens()[-1]}); this "
                "checkpoint was trained with other added tokens"
            )


def _checked_emb(trained: Mapping[str, Tensor]) -> list[str]:
    """Checks that `emb` is the visual tokens' embeddings, which is all that it can be."""
    rows = trained[EMBEDDINGS][-NUM_VISUAL_TOKENS:].float()
    if "emb" not in trained:
        return ["'emb' is not in mllm.pt: taken from the last 8 rows of the embeddings, which it equals"]
    emb = trained["emb"].float().reshape(-1, rows.shape[1])
    if emb.shape != rows.shape or not torch.allclose(emb, rows, rtol=1e-2, atol=1e-3):
        raise CheckpointError(
            "mllm.pt: 'emb' is not the embeddings of the visual tokens; the two are of different trainings"
        )
    return []


def _check_delta(original: Original) -> None:
    """The final norm's weights are about one or more in LLaMA, and about zero in differences from it."""
    norm = _get(original.language_model, FINAL_NORM, "LLaVA").float().abs().mean().item()
    if norm < 0.1 and original.base is None:
        raise CheckpointError(
            f"LLaVA: '{FINAL_NORM}' is about zero ({norm:.2g}): these look like delta weights; give LLaMA, "
            "which they are differences from, as --base"
        )
    if norm >= 0.1 and original.base is not None:
        raise CheckpointError(
            f"LLaVA: '{FINAL_NORM}' is not about zero ({norm:.2g}): these look like full weights; leave out "
            "--base"
        )
