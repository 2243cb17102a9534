"""The original's layout on disk, with small random models and a small sentencepiece model of our own."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import sentencepiece
import torch
from diffusers import AutoencoderKL, EulerAncestralDiscreteScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel, LlamaConfig, LlamaForCausalLM

from mgie.models.edit_head import EditHead
from mgie.prompts import visual_tokens

WORDS = [
    "A chat between a curious user and an artificial intelligence assistant.",
    "The assistant gives helpful, detailed, and polite answers to the user's questions.",
    "USER: what will this image be like if 'make the sky red' ASSISTANT: The sky would turn deep red.",
    "the trees and the house would be seen through pale fog, with all colours fading into a light grey",
]
VISION = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2}
TEXT = {"hidden_size": 12, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 2}
CONTEXT = 8

# The released model's sizes.
LLAVA = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "hidden_act": "silu"}
LLAVA |= {"num_attention_heads": 32, "max_position_embeddings": 2048, "mm_vision_select_layer": -2}
CLIP = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24}
CLIP |= {"num_attention_heads": 16, "image_size": 224, "patch_size": 14}
UNET = {"in_channels": 4, "out_channels": 4, "cross_attention_dim": 768, "attention_head_dim": 8}


@dataclass(frozen=True)
class OriginalFolders:
    """Where the parts of a toy original lie."""

    llava: Path
    vision_tower: Path
    mgie: Path
    diffusion: Path
    snapshot: Path


@torch.no_grad()
def write_original(root: Path) -> OriginalFolders:
    """Writes all parts of an original with fixed random weights, and a training snapshot of the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _write(root)


def _write(root: Path) -> OriginalFolders:
    folders = OriginalFolders(*(root / name for name in ("llava", "clip", "mgie", "diffusion", "snapshot")))
    for folder in (folders.llava, folders.mgie):
        folder.mkdir(parents=True)
    num_pieces = write_sentencepiece(folders.llava / "tokenizer.model")
    num_tokens = num_pieces + 3 + len(visual_tokens())

    llama = LlamaForCausalLM(LlamaConfig(vocab_size=num_tokens, **TEXT))
    for parameter in llama.parameters():
        parameter.copy_(torch.randn_like(parameter) * (0.3 if parameter.ndim > 1 else 0.1))
        parameter.add_(1.0 if parameter.ndim == 1 else 0.0)
    projector = nn.Linear(VISION["hidden_size"], TEXT["hidden_size"])
    text = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    clip = CLIPModel(
        CLIPConfig(
            text_config={**text, "vocab_size": 16, "max_position_embeddings": 8},
            vision_config={**VISION, "image_size": 32, "patch_size": 8},
        )
    )
    edit_head = EditHead(
        mllm_dim=TEXT["hidden_size"],
        hidden_dim=16,
        context_dim=CONTEXT,
        num_queries=5,
        num_layers=2,
        feedforward_dim=24,
    )
    unet = toy_unet(in_channels=8)
    vae = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, layers_per_block=1)

    whole = dict(llama.state_dict())
    whole |= {f"model.mm_projector.{name}": tensor for name, tensor in projector.state_dict().items()}
    trained = {name: whole[name] for name in ("model.embed_tokens.weight", "lm_head.weight")}
    trained |= {f"edit_head.{name}": tensor for name, tensor in edit_head.state_dict().items()}
    torch.save({**trained, "emb": whole["model.embed_tokens.weight"][-8:][None]}, folders.mgie / "mllm.pt")
    torch.save(dict(unet.state_dict()), folders.mgie / "unet.pt")

    # LLaVA's own embeddings differ, and lack the visual tokens; each layer also keeps a buffer.
    llava = {name: torch.randn_like(t[:-8]) if name in trained else t for name, t in whole.items()}
    llava["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(3)
    write_shards(folders.llava, llava, 2)
    config = {**TEXT, "model_type": "llava", "hidden_act": "silu", "vocab_size": num_tokens - 8}
    config |= {"mm_vision_tower": str(folders.vision_tower), "mm_vision_select_layer": -2}
    write_json(folders.llava / "config.json", config)

    clip.save_pretrained(folders.vision_tower)
    sizes = {"size": 32, "crop_size": 32, "do_resize": True, "do_center_crop": True}
    write_json(folders.vision_tower / "preprocessor_config.json", {**sizes, "do_normalize": True})

    toy_unet(in_channels=4).save_pretrained(folders.diffusion / "unet")
    vae.save_pretrained(folders.diffusion / "vae")
    EulerAncestralDiscreteScheduler(beta_schedule="scaled_linear").save_pretrained(
        folders.diffusion / "scheduler"
    )

    vision = {f"vision_model.{name}": t for name, t in clip.vision_model.state_dict().items()}
    snapshot = {**whole, **{name: t for name, t in trained.items() if name.startswith("edit_head.")}}
    snapshot |= {f"model.vision_tower.{name}": tensor for name, tensor in vision.items()}
    snapshot |= {f"unet.{name}": tensor for name, tensor in unet.state_dict().items()}
    snapshot |= {f"vae.{name}": torch.zeros_like(tensor) for name, tensor in vae.state_dict().items()}
    folders.snapshot.mkdir()
    write_shards(folders.snapshot, snapshot, 3)
    return folders


def toy_unet(in_channels: int, cross_attention_dim: int = CONTEXT) -> UNet2DConditionModel:
    """Returns a new UNet of toy size."""
    return UNet2DConditionModel(
        in_channels=in_channels,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=cross_attention_dim,
        attention_head_dim=2,
        norm_num_groups=4,
    )


def write_sentencepiece(path: Path) -> int:
    """Writes a sentencepiece model as LLaMA's is made, and returns its number of pieces."""
    size = 340
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(WORDS * 8),
            model_writer=file,
            model_type="bpe",
            vocab_size=size,
            byte_fallback=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            minloglevel=2,
        )
    return size


def write_shards(folder: Path, tensors: dict[str, Tensor], num: int) -> None:
    """Writes tensors as PyTorch's files with an index, as transformers did."""
    weight_map = {}
    for i in range(num):
        name = f"pytorch_model-{i + 1:05d}-of-{num:05d}.bin"
        part = dict(list(tensors.items())[i::num])
        torch.save(part, folder / name)
        weight_map |= dict.fromkeys(part, name)
    write_json(folder / "pytorch_model.bin.index.json", {"metadata": {}, "weight_map": weight_map})


def write_json(path: Path, values: Mapping[str, object]) -> None:
    path.write_text(json.dumps(values), encoding="utf-8")


def real_size() -> dict[str, tuple[int, ...]]:
    """Returns names and shapes of LLaVA-7B-v1 and of CLIP's vision tower, as their papers have them."""
    width, inner, vision, vision_inner = 4096, 11008, 1024, 4096
    shapes: dict[str, tuple[int, ...]] = {
        "model.norm.weight": (width,),
        "model.mm_projector.weight": (width, vision),
        "model.mm_projector.bias": (width,),
        "vision_model.embeddings.class_embedding": (vision,),
        "vision_model.embeddings.patch_embedding.weight": (vision, 3, 14, 14),
        "vision_model.embeddings.position_embedding.weight": (257, vision),
    }
    for i in range(32):
        layer = f"model.layers.{i}"
        shapes |= {f"{layer}.self_attn.{name}_proj.weight": (width, width) for name in "qkvo"}
        shapes |= {f"{layer}.mlp.{name}_proj.weight": (inner, width) for name in ("gate", "up")}
        shapes[f"{layer}.mlp.down_proj.weight"] = (width, inner)
        shapes |= {f"{layer}.{name}_layernorm.weight": (width,) for name in ("input", "post_attention")}
    norms = ["pre_layrnorm", "post_layernorm"]
    for i in range(24):
        layer = f"vision_model.encoder.layers.{i}"
        norms += [f"encoder.layers.{i}.layer_norm{j}" for j in (1, 2)]
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= {f"{layer}.self_attn.{name}.weight": (vision, vision)}
            shapes |= {f"{layer}.self_attn.{name}.bias": (vision,)}
        shapes |= {
            f"{layer}.mlp.fc1.weight": (vision_inner, vision),
            f"{layer}.mlp.fc1.bias": (vision_inner,),
        }
        shapes |= {f"{layer}.mlp.fc2.weight": (vision, vision_inner), f"{layer}.mlp.fc2.bias": (vision,)}
    return shapes | {
        f"vision_model.{norm}.{name}": (vision,) for norm in norms for name in ("weight", "bias")
    }
