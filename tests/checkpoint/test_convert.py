"""Conversion of the original's layout, on small models of our own in that layout."""

import pickle
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import CLIPModel, LlamaConfig, LlamaForCausalLM, LlavaForConditionalGeneration

from mgie.checkpoint.convert import (
    Original,
    _edit_head,
    _mllm_config,
    _mllm_tensors,
    _Places,
    _unet,
    convert,
    convert_back,
    convert_snapshot,
)
from mgie.checkpoint.weights import Weights
from mgie.errors import CheckpointError
from mgie.models.edit_head import EditHead
from mgie.models.mllm import saved_name, tokenize_dialogues
from mgie.pipeline import MGIEPipeline
from tests.checkpoint.original import (
    CLIP,
    LLAVA,
    TEXT,
    UNET,
    OriginalFolders,
    real_size,
    toy_unet,
    write_json,
    write_original,
    write_shards,
)
from tests.conftest import picture


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> OriginalFolders:
    return write_original(tmp_path_factory.mktemp("original") / "parts")


@pytest.fixture(scope="module")
def converted(untouched: OriginalFolders, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("converted") / "model"
    assert convert(untouched.llava, untouched.mgie, untouched.diffusion, out) == []
    return out


@pytest.fixture
def folders(untouched: OriginalFolders, tmp_path: Path) -> OriginalFolders:
    """The original's parts, to be spoiled at will."""
    for name, folder in asdict(untouched).items():
        shutil.copytree(folder, tmp_path / name)
    return OriginalFolders(**{name: tmp_path / name for name in asdict(untouched)})


def converting(folders: OriginalFolders, out: Path, **options: Any) -> list[str]:
    options = {"vision_tower": folders.vision_tower, **options}
    return convert(folders.llava, folders.mgie, folders.diffusion, out, **options)


def weights_of(folder: Path) -> dict[str, dict[str, Tensor]]:
    return {part: dict(Weights(folder / part)) for part in ("mllm", "edit_head", "unet", "vae")}


def same(first: dict[str, dict[str, Tensor]], second: dict[str, dict[str, Tensor]]) -> bool:
    return all(
        first[part].keys() == second[part].keys()
        and all(torch.equal(first[part][name], second[part][name]) for name in first[part])
        for part in first
    )


@torch.no_grad()
def test_the_language_model_is_its_parts_put_together(converted: Path, untouched: OriginalFolders):
    """The same logits as LLaMA's own class, with the picture's projected features put in by hand."""
    pipe = MGIEPipeline.from_pretrained(converted)
    (row,), _, pixel_values = tokenize_dialogues(pipe.processor, [picture()], ["make it red"])
    llava, trained = dict(Weights(untouched.llava)), Weights(untouched.mgie / "mllm.pt")
    names = ("model.embed_tokens.weight", "lm_head.weight")
    llama = LlamaForCausalLM(LlamaConfig(vocab_size=len(pipe.processor.tokenizer), **TEXT)).eval()
    layers = {name: t for name, t in llava.items() if "mm_projector" not in name and "inv_freq" not in name}
    llama.load_state_dict({**layers, **{name: trained[name] for name in names}})
    clip = CLIPModel.from_pretrained(untouched.vision_tower).vision_model.eval()
    features = clip(pixel_values, output_hidden_states=True).hidden_states[-2][:, 1:]
    weight, bias = (llava[f"model.mm_projector.{name}"] for name in ("weight", "bias"))
    embeds = llama.get_input_embeddings()(torch.tensor([row]))
    image_id = pipe.processor.tokenizer.convert_tokens_to_ids("<im_patch>")
    places = torch.tensor(row) == image_id
    assert places.sum() == 16
    embeds[0, places] = (features @ weight.T + bias)[0]
    expected = llama(inputs_embeds=embeds).logits
    logits = pipe.mllm(input_ids=torch.tensor([row]), pixel_values=pixel_values).logits
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


def test_the_rest_is_taken_as_it_is(converted: Path, untouched: OriginalFolders):
    ours, trained = weights_of(converted), Weights(untouched.mgie / "mllm.pt")
    assert same({"unet": ours["unet"]}, {"unet": dict(Weights(untouched.mgie / "unet.pt"))})
    assert same({"vae": ours["vae"]}, {"vae": dict(Weights(untouched.diffusion / "vae"))})
    for name, tensor in ours["edit_head"].items():
        assert torch.equal(tensor, trained[f"edit_head.{name}"])


def test_it_edits_as_the_original_is_asked(converted: Path):
    pipe = MGIEPipeline.from_pretrained(converted)
    pipe.set_progress_bar_config(disable=True)
    assert type(pipe.scheduler).__name__ == "EulerAncestralDiscreteScheduler"
    assert pipe.defaults == {
        "num_visual_tokens": 8,
        "working_size": {"max_pixels": 512 * 512, "multiple": 8, "upscale": False, "max_aspect": None},
        "num_inference_steps": 100,
        "guidance_scale": 7.5,
        "image_guidance_scale": 1.5,
        "conditioning": "mgie",
        "copy_bias": 0.0,
    }
    assert pipe.mllm.generation_config.no_repeat_ngram_size == 3
    (row,), _, _ = tokenize_dialogues(pipe.processor, [picture()], ["what?"])
    assert pipe.processor.tokenizer.decode(row).replace("<s> A", "<s>A") == (
        "<s>A chat between a curious user and an artificial intelligence assistant. The assistant gives "
        "helpful, detailed, and polite answers to the user's questions. USER: what? <im_start>"
        + " <im_patch>" * 16
        + " <im_end> ASSISTANT:"
    )
    out = pipe(picture(50, 40), "make it red", num_inference_steps=2)
    assert isinstance(out.images[0], Image.Image) and out.images[0].size == (50, 40)


def test_checksums_are_written(converted: Path):
    import json

    from mgie.model_folder import sha256_of

    listed = json.loads((converted / "mgie.json").read_text())["sha256"]
    files = {p.relative_to(converted).as_posix() for p in converted.rglob("*") if p.is_file()}
    assert listed.keys() == files - {"mgie.json"}
    assert all(sha256_of(converted / name) == digest for name, digest in listed.items())


def test_a_type_can_be_chosen(untouched: OriginalFolders, tmp_path: Path):
    converting(untouched, tmp_path / "model", dtype=torch.bfloat16)
    for part in weights_of(tmp_path / "model").values():
        assert {tensor.dtype for tensor in part.values()} == {torch.bfloat16}


def test_differences_from_llama_become_the_same_model(
    folders: OriginalFolders, converted: Path, tmp_path: Path
):
    full = loaded(folders.llava)
    shared = [name for name in full if "projector" not in name and "inv_freq" not in name]
    base = {
        name: torch.randn_like(full[name]) if "norm" not in name else full[name].clone() for name in shared
    }
    write_shards(folders.llava, {**full, **{name: full[name] - base[name] for name in shared}}, 2)
    llama = tmp_path / "llama"
    llama.mkdir()
    write_shards(llama, base, 1)
    with pytest.raises(
        CheckpointError, match=r"'model.norm.weight' is about zero .* delta weights; .* --base"
    ):
        converting(folders, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    converting(folders, tmp_path / "model", base=llama)
    ours, whole = weights_of(tmp_path / "model")["mllm"], weights_of(converted)["mllm"]
    assert ours.keys() == whole.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, whole[name], rtol=0, atol=1e-6)


def test_full_weights_are_not_added_to_the_base(folders: OriginalFolders, tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"look like full weights; leave out --base"):
        converting(folders, tmp_path / "model", base=folders.llava)


def test_a_snapshot_is_the_same_model(folders: OriginalFolders, converted: Path, tmp_path: Path):
    for path in (*folders.llava.glob("*.bin"), *folders.vision_tower.glob("*.safetensors")):
        path.unlink()  # only tokenizer and configurations are needed of these
    remarks = convert_snapshot(
        folders.snapshot,
        folders.llava,
        folders.diffusion,
        tmp_path / "model",
        vision_tower=folders.vision_tower,
    )
    assert len(remarks) == 1 and "'emb'" in remarks[0]
    assert same(weights_of(tmp_path / "model"), weights_of(converted))


def test_the_way_back_and_forth_changes_nothing(folders: OriginalFolders, converted: Path, tmp_path: Path):
    convert_back(converted, tmp_path / "back")
    for name in ("mllm.pt", "unet.pt"):
        back, first = (torch.load(f / name, weights_only=True) for f in (tmp_path / "back", folders.mgie))
        assert back.keys() == first.keys()
        assert all(torch.equal(back[key], first[key]) for key in first)
    convert_back(converted, tmp_path / "half", torch.float16)
    half = torch.load(tmp_path / "half" / "mllm.pt", weights_only=True)
    assert {tensor.dtype for tensor in half.values()} == {torch.float16}


def test_a_model_of_another_kind_cannot_go_back(pipeline_folder: Path, tmp_path: Path):
    with pytest.raises(CheckpointError, match="linear projector"):
        convert_back(pipeline_folder, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_missing_emb_is_derived_and_told(folders: OriginalFolders, converted: Path, tmp_path: Path):
    change(folders.mgie / "mllm.pt", lambda tensors: tensors.pop("emb"))
    remarks = converting(folders, tmp_path / "model")
    assert len(remarks) == 1 and "'emb' is not in mllm.pt" in remarks[0]
    assert same(weights_of(tmp_path / "model"), weights_of(converted))


def loaded(folder: Path) -> dict[str, Tensor]:
    """Returns copies: what is mapped from a file must not be written over it."""
    return {name: tensor.clone() for name, tensor in Weights(folder).items()}


def change(path: Path, spoil: Any) -> None:
    tensors = torch.load(path, weights_only=True)
    spoil(tensors)
    torch.save(tensors, path)


def lose_shard(f: OriginalFolders) -> None:
    (f.llava / "pytorch_model-00002-of-00002.bin").unlink()


def lose_rows(f: OriginalFolders) -> None:
    def spoil(tensors: dict[str, Tensor]) -> None:
        for name in ("model.embed_tokens.weight", "lm_head.weight"):
            tensors[name] = tensors[name][:-8]

    change(f.mgie / "mllm.pt", spoil)


def other_unet(f: OriginalFolders) -> None:
    torch.save(dict(toy_unet(8, cross_attention_dim=24).state_dict()), f.mgie / "unet.pt")


def text_to_image_unet(f: OriginalFolders) -> None:
    torch.save(dict(toy_unet(4).state_dict()), f.mgie / "unet.pt")


def cut_off(f: OriginalFolders) -> None:
    path = f.llava / "pytorch_model-00001-of-00002.bin"
    path.write_bytes(path.read_bytes()[:-2000])


def not_a_number(f: OriginalFolders) -> None:
    change(f.mgie / "mllm.pt", lambda tensors: tensors["edit_head.query"][0, 0, 0].fill_(float("nan")))


def lose_tensor(f: OriginalFolders) -> None:
    change(f.mgie / "unet.pt", lambda tensors: tensors.pop("conv_out.bias"))


def lose_layer(f: OriginalFolders) -> None:
    whole = loaded(f.llava)
    del whole["model.layers.1.mlp.up_proj.weight"]
    write_shards(f.llava, whole, 2)


def other_emb(f: OriginalFolders) -> None:
    change(f.mgie / "mllm.pt", lambda tensors: tensors.update(emb=tensors["emb"] + 1))


def code(f: OriginalFolders) -> None:
    (f.mgie / "unet.pt").write_bytes(pickle.dumps(print))


def other_diffusion(f: OriginalFolders) -> None:
    toy_unet(4, cross_attention_dim=24).save_pretrained(f.diffusion / "unet")


def no_scheduler(f: OriginalFolders) -> None:
    write_json(f.diffusion / "scheduler" / "scheduler_config.json", {"_class_name": "Nothing"})


def other_tokenizer(f: OriginalFolders) -> None:
    (f.llava / "tokenizer.model").write_bytes(b"nothing")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lose_shard, "lacks the shard pytorch_model-00002-of-00002.bin"),
        (
            lose_rows,
            r"'model.embed_tokens.weight' has 343 rows; expected 351: 340 of LLaMA, 3 of LLaVA, 8 vis",
        ),
        (other_unet, r"unet: tensor 'down_blocks.*attn2.*' is \(8, 24\), the configuration says \(8, 8\)"),
        (text_to_image_unet, r"unet: tensor 'conv_in.weight' is \(8, 4, 3, 3\), .*\(8, 8, 3, 3\)"),
        (cut_off, r"pytorch_model-00001-of-00002.bin is damaged or cut off"),
        (not_a_number, "edit_head: tensor 'query' is not finite"),
        (lose_tensor, "unet: tensor 'conv_out.bias' is missing"),
        (lose_layer, r"tensor 'language_model.model.layers.1.mlp.up_proj.weight' is missing"),
        (other_emb, "'emb' is not the embeddings"),
        (code, "reading it could run its author's code"),
        (other_diffusion, "takes a context 24 wide, the edit head gives 8"),
        (no_scheduler, "names the class 'Nothing'"),
        (other_tokenizer, "expected LLaMA's sentencepiece file"),
    ],
)
def test_wrong_weights_are_named(folders: OriginalFolders, tmp_path: Path, spoil: Any, message: str):
    spoil(folders)
    with pytest.raises(CheckpointError, match=message) as caught:
        converting(folders, tmp_path / "model")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model").exists() and not (tmp_path / "model.new").exists()


def test_something_else_is_not_overwritten(untouched: OriginalFolders, tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    for make in (lambda: converting(untouched, tmp_path), lambda: convert_back(tmp_path, tmp_path)):
        with pytest.raises(CheckpointError, match="choose another"):
            make()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_at_real_size_the_names_and_shapes_are_the_released_ones(tmp_path: Path):
    """MGIE-7B without weights: nothing of it can be downloaded here, but its sizes are known."""
    for name in ("llava", "clip", "diffusion/unet"):
        (tmp_path / name).mkdir(parents=True)
    write_json(tmp_path / "llava" / "config.json", LLAVA)
    write_json(tmp_path / "clip" / "config.json", {"vision_config": CLIP})
    write_json(tmp_path / "diffusion" / "unet" / "config.json", UNET)
    places = _Places(tmp_path / "llava", tmp_path / "clip", tmp_path / "diffusion")
    with torch.device("meta"):
        tensors = {name: torch.empty(shape) for name, shape in real_size().items()}
        trained = {name: torch.empty(32011, 4096) for name in ("model.embed_tokens.weight", "lm_head.weight")}
        head = EditHead().state_dict()
        trained |= {f"edit_head.{name}": tensor for name, tensor in head.items()}
        edit_head = _edit_head(trained)
        mllm = LlavaForConditionalGeneration(_mllm_config(places, ReleasedTokenizer()))
        whole_unet = _unet(places, edit_head)
        ours = dict(_mllm_tensors(Original(tensors, tensors, trained, {})))
    expected = {saved_name(name): tensor.shape for name, tensor in mllm.state_dict().items()}
    assert {name: tensor.shape for name, tensor in ours.items()} == expected
    assert mllm.config.image_seq_length == 256 and mllm.config.image_token_id == 32000
    assert edit_head.config["num_layers"] == 4 and edit_head.config["hidden_dim"] == 512
    assert {name: t.shape for name, t in edit_head.state_dict().items()} == {
        n: t.shape for n, t in head.items()
    }
    assert whole_unet.conv_in.weight.shape == (320, 8, 3, 3)
    assert sum(p.numel() for p in whole_unet.parameters()) == 859_520_964 + 4 * 320 * 9  # SD 1.5, widened


class ReleasedTokenizer:
    """Has the sizes of the released tokenizer."""

    bos_token_id, eos_token_id, pad_token_id = 1, 2, 0

    def __len__(self) -> int:
        return 32011

    def convert_tokens_to_ids(self, token: str) -> int:
        return {"<im_patch>": 32000}[token]
