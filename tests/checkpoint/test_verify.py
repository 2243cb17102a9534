"""Each kind of wrong weights is found, with the right name and the likely cause."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image
from safetensors.torch import load_file, save_file

from mgie.checkpoint.verify import (
    check_edit,
    check_picture,
    check_vocabulary_size,
    check_widths,
    verify_model,
)
from mgie.errors import CheckpointError
from mgie.models.edit_head import EditHead
from mgie.models.loading import load_model
from mgie.models.unet import ChangeUNet2DConditionModel
from mgie.pipeline import MGIEPipeline

FILES = {
    "mllm": "mllm/model.safetensors",
    "edit_head": "edit_head/diffusion_pytorch_model.safetensors",
    "vae": "vae/diffusion_pytorch_model.safetensors",
    "unet": "unet/diffusion_pytorch_model.safetensors",
}
EMBEDDINGS = "language_model.model.embed_tokens.weight"
LM_HEAD = "language_model.lm_head.weight"


@pytest.fixture
def folder(pipeline_folder, tmp_path):
    return shutil.copytree(pipeline_folder, tmp_path / "model")


def edit_weights(folder, part, change):
    """Changes the weights of a part by a function of all its tensors."""
    tensors = load_file(folder / FILES[part])
    changed = change(tensors)
    save_file(tensors if changed is None else changed, folder / FILES[part], metadata={"format": "pt"})


def drop(tensors, key):
    del tensors[key]


def edit_json(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def write_sums(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    sums = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }
    (folder / "mgie.json").write_text(json.dumps({"sha256": sums}))


def findings(folder):
    """Returns all findings by check, those checks without any left out."""
    return {check.name: check.findings for check in verify_model(folder) if check.findings}


def only(folder, check):
    """Returns the one finding that there is, which is in the given check."""
    found = findings(folder)
    assert list(found) == [check], found
    (finding,) = found[check]
    assert "\n" not in str(finding)
    return finding


# Right ones.


def test_a_whole_model_passes_and_says_what_was_looked_at(pipeline, folder):
    steps = []
    checks = verify_model(folder, lambda done, total: steps.append((done, total)))
    assert [check.findings for check in checks] == [[]] * 5
    summary = {check.name: check.summary for check in checks}
    num = sum(len(getattr(pipeline, part).state_dict()) for part in FILES)
    assert summary["tensors"] == f"{num} in 4 parts, all as configured and finite"
    rows = pipeline.mllm.get_input_embeddings().weight.shape[0]
    assert f"{rows} tokens" in summary["vocabulary"]
    assert "no list in mgie.json" in summary["checksums"]
    sizes = sum((folder / file).stat().st_size for file in FILES.values())
    assert [done for done, _ in steps] == sorted({done for done, _ in steps})
    assert {total for _, total in steps} == {sizes} and 0.8 * sizes < steps[-1][0] <= sizes


def test_names_that_transformers_also_reads_are_right(folder):
    def modern(tensors):
        names = {}
        for name, tensor in tensors.items():
            name = name.replace("language_model.lm_head", "lm_head")
            name = name.replace("language_model.model", "model.language_model")
            if name.startswith("multi_modal"):
                name = f"model.{name}"
            names[name.replace("vision_tower.", "vision_tower.vision_model.")] = tensor
        assert names.keys().isdisjoint(tensors)
        return names

    edit_weights(folder, "mllm", modern)
    assert findings(folder) == {}
    MGIEPipeline.from_pretrained(folder)


def test_names_of_old_autoencoders_are_right(folder):
    blocks = {"block_out_channels": (8, 8), "norm_num_groups": 4, "latent_channels": 4}
    AutoencoderKL(
        **blocks,
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
    ).save_pretrained(folder / "vae")
    edit_json(folder / "model_index.json", vae=["diffusers", "AutoencoderKL"])
    new = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def old_names(tensors):
        for name in list(tensors):
            for key, old in new.items():
                if f".{key}." in name:
                    tensors[name.replace(f".{key}.", f".{old}.")] = tensors.pop(name)
        assert any(".proj_attn." in name for name in tensors)

    edit_weights(folder, "vae", old_names)
    assert findings(folder) == {}
    load_model(folder / "vae", AutoencoderKL)


def test_tied_embeddings_need_no_second_tensor(folder):
    config = folder / "mllm" / "config.json"
    text = json.loads(config.read_text())["text_config"] | {"tie_word_embeddings": True}
    edit_json(config, tie_word_embeddings=True, text_config=text)
    edit_weights(folder, "mllm", lambda tensors: drop(tensors, LM_HEAD))
    assert findings(folder) == {}


# Tensors.


@pytest.mark.parametrize("part", FILES)
def test_a_missing_tensor_is_named(folder, part):
    key = next(iter(load_file(folder / FILES[part])))
    edit_weights(folder, part, lambda tensors: drop(tensors, key))
    finding = only(folder, "tensors")
    assert (finding.part, finding.names, finding.problem) == (part, (key,), "is missing")


def test_a_tensor_too_many_is_named(folder):
    edit_weights(folder, "edit_head", lambda tensors: tensors.update(left_over=torch.zeros(2)))
    finding = only(folder, "tensors")
    assert (finding.part, finding.names) == ("edit_head", ("left_over",))
    assert finding.problem == "is not part of this model"


def test_a_misshapen_tensor_is_named_with_its_shapes(folder):
    edit_weights(folder, "edit_head", lambda tensors: tensors.update({"hid2feat.bias": torch.zeros(3)}))
    finding = only(folder, "tensors")
    assert finding.names == ("hid2feat.bias",)
    assert finding.problem == "is (3,), expected (16,)"
    assert "another size than config.json" in finding.cause


@pytest.mark.parametrize("part", FILES)
def test_a_nan_is_named_and_counted(folder, part):
    key, tensor = next(item for item in load_file(folder / FILES[part]).items() if item[1].numel() > 2)

    def spoil(tensors):
        tensors[key].view(-1)[[0, 2]] = float("nan")

    edit_weights(folder, part, spoil)
    finding = only(folder, "tensors")
    assert (finding.part, finding.names) == (part, (key,))
    assert finding.problem == f"is not finite: 2 of {tensor.numel()} values are NaN"


def test_an_overflow_of_half_precision_is_told_from_a_nan(folder):
    def overflow(tensors):
        halves = {name: tensor.half() for name, tensor in tensors.items()}
        halves["conv_in.bias"][1] = -float("inf")
        return halves

    edit_weights(folder, "unet", overflow)
    finding = only(folder, "tensors")
    assert finding.names == ("conv_in.bias",)
    assert "1 of 16 values are infinite" in finding.problem
    assert "too large for float16" in finding.cause


def test_a_missing_shard_is_named_and_the_others_are_read(pipeline, folder):
    (folder / FILES["mllm"]).unlink()
    pipeline.mllm.save_pretrained(folder / "mllm", max_shard_size="60KB")
    assert findings(folder) == {}
    first, second, *_ = sorted((folder / "mllm").glob("*.safetensors"))
    first.unlink()
    assert only(folder, "tensors").names == (first.name,)
    assert "a missing shard" in only(folder, "tensors").cause
    tensors = load_file(second)
    name = next(iter(tensors))
    tensors[name].view(-1)[0] = float("nan")
    save_file(tensors, second, metadata={"format": "pt"})
    assert [finding.names for finding in findings(folder)["tensors"]] == [(first.name,), (name,)]
    with pytest.raises(CheckpointError, match=first.name):
        MGIEPipeline.from_pretrained(folder)


@pytest.mark.parametrize("keep", [0, 5, 1000, -1])
def test_a_truncated_file_is_named(folder, keep):
    file = folder / FILES["unet"]
    file.write_bytes(file.read_bytes()[:keep])
    finding = only(folder, "tensors")
    assert (finding.part, finding.names) == ("unet", (file.name,))
    assert "damaged or cut off" in finding.problem and "a truncated file" in finding.cause


def test_weights_that_are_not_safetensors_are_told(folder):
    (folder / FILES["vae"]).rename(folder / "vae" / "diffusion_pytorch_model.bin")
    finding = only(folder, "tensors")
    assert (finding.part, finding.names) == ("vae", ("diffusion_pytorch_model.safetensors",))
    assert "no safetensors" in finding.cause


def test_a_broken_index_is_told(pipeline, folder):
    (folder / FILES["mllm"]).unlink()
    pipeline.mllm.save_pretrained(folder / "mllm", max_shard_size="60KB")
    (folder / "mllm" / "model.safetensors.index.json").write_text("{")
    assert "model.safetensors.index.json" in str(only(folder, "tensors"))


def test_delta_weights_are_recognised(folder):
    def delta(tensors):
        for name, tensor in tensors.items():
            if name.startswith("language_model.model.layers") or name.endswith("norm.weight"):
                tensors[name] = 1e-3 * torch.randn(tensor.shape)

    edit_weights(folder, "mllm", delta)
    finding = only(folder, "tensors")
    assert finding.part == "mllm"
    assert "language_model.model.norm.weight" in finding.names
    assert "these look like delta weights; convert them with --base" in str(finding)


def test_the_small_norms_of_llama_are_not_taken_for_deltas(folder):
    def llama(tensors):
        for name in tensors:
            if name.startswith("language_model") and name.endswith("norm.weight"):
                tensors[name] = torch.full_like(tensors[name], 0.03 if "layers.0.input" in name else 0.3)

    edit_weights(folder, "mllm", llama)
    assert findings(folder) == {}


# A UNet of another model.


def other_context(tensors):
    for name, tensor in tensors.items():
        if ".attn2.to_k." in name or ".attn2.to_v." in name:
            tensors[name] = torch.zeros(tensor.shape[0], 24)


def other_channels(tensors):
    tensors["conv_in.weight"] = tensors["conv_in.weight"][:, :4].clone()


@pytest.mark.parametrize(
    ("change", "config", "key", "tensor", "cause"),
    [
        (
            other_context,
            {"cross_attention_dim": 24},
            "cross_attention_dim",
            "attn2.to_k.weight",
            "this UNet is of another model: its context is 24 wide, the edit head gives 16",
        ),
        (other_channels, {"in_channels": 4}, "in_channels", "conv_in.weight", "a text-to-image UNet"),
    ],
)
def test_a_unet_of_another_model_is_recognised(folder, change, config, key, tensor, cause):
    edit_weights(folder, "unet", change)  # the weights alone
    finding = only(folder, "tensors")
    assert finding.part == "unet" and finding.names[0].endswith(tensor)
    assert cause in finding.cause
    edit_json(folder / "unet" / "config.json", **config)  # its whole folder
    finding = only(folder, "widths")
    assert (finding.part, finding.names) == ("unet", (key,))
    assert cause in finding.cause


@pytest.mark.parametrize(("num_queries", "fits"), [(8, True), (77, False)])
def test_a_change_unet_takes_all_that_the_edit_head_gives(num_queries: int, fits: bool):
    unet = ChangeUNet2DConditionModel(
        in_channels=8,
        out_channels=4,
        block_out_channels=(16,),
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=16,
        projection_class_embeddings_input_dim=8 * 16,
    )
    head = EditHead(
        mllm_dim=32, hidden_dim=16, context_dim=16, num_queries=num_queries, num_layers=1, feedforward_dim=16
    )
    findings = check_widths({"edit_head": head, "unet": unet})
    assert [finding.names for finding in findings] == (
        [] if fits else [("projection_class_embeddings_input_dim",)]
    )
    assert fits or "is 128, expected 1232" in findings[0].problem


def test_an_edit_head_of_another_model_is_recognised(folder):
    edit_json(folder / "edit_head" / "config.json", mllm_dim=48)
    edit_weights(folder, "edit_head", lambda t: t.update({"llm2hid.weight": torch.zeros(16, 48)}))
    finding = only(folder, "widths")
    assert (finding.part, finding.names) == ("edit_head", ("mllm_dim",))
    assert "is 48, expected 32" in finding.problem


# Vocabulary.


def cut_rows(num):
    def change(tensors):
        for name in (EMBEDDINGS, LM_HEAD):
            tensors[name] = tensors[name][:-num].clone()

    return change


@pytest.mark.parametrize(("num", "what"), [(8, "the 8 visual tokens"), (3, "LLaVA's 3 image tokens")])
def test_embeddings_without_the_added_tokens_are_recognised(pipeline, folder, num, what):
    edit_weights(folder, "mllm", cut_rows(num))
    rows = pipeline.mllm.get_input_embeddings().weight.shape[0]
    found = findings(folder)
    assert [finding.names for finding in found.pop("vocabulary")] == [(EMBEDDINGS,), (LM_HEAD,)]
    assert found == {}  # said once
    finding, _ = findings(folder)["vocabulary"]
    assert finding.part == "mllm"
    assert finding.problem == f"has {rows - num} rows, {num} fewer than the tokenizer's {rows}"
    assert finding.cause.startswith(f"just as many as {what}: the language model's files")


def test_a_vocabulary_whose_last_tokens_have_no_row_names_them(folder):
    text = json.loads((folder / "mllm" / "config.json").read_text())["text_config"]
    num = text["vocab_size"] - 6  # [IMG1] has the id 5, [IMG2] and those after it have none of these rows
    edit_json(folder / "mllm" / "config.json", text_config=text | {"vocab_size": 6})
    edit_weights(folder, "mllm", cut_rows(num))
    *sizes, rows = findings(folder)["vocabulary"]
    assert [size.names for size in sizes] == [(EMBEDDINGS,), (LM_HEAD,), ("vocab_size",)]
    assert {size.cause for size in sizes} == {"tokenizer and language model are of different models"}
    assert (rows.names, rows.problem) == (
        tuple(f"[IMG{i}]" for i in range(2, 8)),
        "has the id 6; the embeddings end at row 5",
    )


@pytest.mark.parametrize(
    ("size", "cause"),
    [
        (32011 - 11, "just as many as LLaVA's image tokens and the 8 visual tokens: the language model's"),
        (32011 + 8, "just as many as the 8 visual tokens: the tokenizer's"),
        (32064, "padded to a multiple of 64"),
        (50257, "of different models"),
    ],
)
def test_the_number_of_rows_tells_the_cause(size, cause):
    (finding,) = check_vocabulary_size(32011, {"lm_head.weight": size, "vocab_size": 32011}, 8)
    assert finding.names == ("lm_head.weight",)
    assert cause in finding.cause


def edit_tokenizer(folder, *swaps):
    """Replaces spellings in the tokenizer's files."""
    for path in (folder / "processor").glob("*.json"):
        text = path.read_text()
        for old, new in swaps:
            text = text.replace(old, new)
        path.write_text(text)


def test_a_token_of_several_ids_is_named(folder):
    edit_tokenizer(folder, ("[IMG3]", "[IMAGE 3]"))
    finding = only(folder, "vocabulary")
    assert (finding.part, finding.names) == ("processor", ("[IMG3]",))
    assert finding.problem.startswith("is the ids [") and "was not added" in finding.cause


def test_visual_tokens_out_of_order_are_named(folder):
    edit_tokenizer(folder, ("[IMG2]", "[IMGx]"), ("[IMG3]", "[IMG2]"), ("[IMGx]", "[IMG3]"))
    finding = only(folder, "vocabulary")
    assert finding.names == tuple(f"[IMG{i}]" for i in range(8))
    assert "[4, 5, 7, 6, 8, 9, 10, 11]" in finding.problem


def test_a_tokenizer_without_a_padding_token_is_named(folder):
    path = folder / "processor" / "tokenizer_config.json"
    values = json.loads(path.read_text())
    del values["pad_token"]
    path.write_text(json.dumps(values))
    finding = only(folder, "vocabulary")
    assert (finding.names, finding.problem) == (("pad_token",), "is not set")


def test_another_image_token_in_the_configuration_is_named(folder):
    edit_json(folder / "mllm" / "config.json", image_token_index=9)
    finding = only(folder, "vocabulary")
    assert (finding.part, finding.names) == ("mllm", ("image_token_id",))
    assert finding.problem == "is 9; the tokenizer's id of <image> is 3"


@pytest.mark.parametrize(
    ("template", "names", "problem"),
    [
        ("{{ messages[0]['content'] + messages[1]['content'] }}", "chat_template", "<image> 0 times"),
        ("<image><image>{{ messages[1]['content'] }}", "chat_template", "<image> 2 times"),
        ("<image>{{ messages[0]['content'] }}", "[IMG0]", "does not begin the ids"),
        ("<image>{{ messages[7]['content'] }}", "chat_template", "cannot be rendered: UndefinedError"),
    ],
)
def test_a_wrong_chat_template_is_named(folder, template, names, problem):
    (folder / "processor" / "chat_template.jinja").write_text(template)
    finding = only(folder, "vocabulary")
    assert finding.names == (names,) and problem in finding.problem


# Parts and checksums.


def test_wrong_parts_are_named_and_the_others_checked(folder):
    index = json.loads((folder / "model_index.json").read_text())
    del index["vae"]
    index["scheduler"] = ["os", "system"]
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "edit_head" / "config.json").write_text("{")
    edit_weights(folder, "unet", lambda tensors: drop(tensors, "conv_in.bias"))
    found = findings(folder)
    assert [finding.part for finding in found["parts"]] == ["edit_head", "vae", "scheduler"]
    assert "config.json" in str(found["parts"][0]) and "does not name" in str(found["parts"][1])
    assert [finding.names for finding in found["tensors"]] == [("conv_in.bias",)]
    shutil.rmtree(folder / "processor")
    assert [finding.part for finding in findings(folder)["parts"]] == [
        "edit_head",
        "vae",
        "processor",
        "scheduler",
    ]


def test_a_class_that_is_no_model_is_refused(folder):
    edit_json(folder / "model_index.json", unet=["diffusers", "DDIMScheduler"])
    finding = only(folder, "parts")
    assert finding.part == "unet" and "DDIMScheduler is no model" in finding.problem


def test_files_that_changed_went_or_came_are_named(folder):
    write_sums(folder)
    (folder / "README.md").write_text("beside the parts, so it may be there")
    *_, sums = verify_model(folder)
    assert sums.findings == [] and sums.summary.endswith("not listed: README.md")

    edit_json(folder / "scheduler" / "scheduler_config.json", beta_end=0.013)
    (folder / "mllm" / "generation_config.json").unlink()
    (folder / "unet" / "more.json").write_text("{}")
    found = {finding.names: finding.problem for finding in findings(folder)["checksums"]}
    assert found == {
        ("scheduler/scheduler_config.json",): "has another checksum than listed",
        ("mllm/generation_config.json",): "is not there",
        ("unet/more.json",): "is not in the list",
    }


@pytest.mark.parametrize(("text", "problem"), [("{", "cannot read"), ('{"sha256": [1]}', "is no object")])
def test_a_broken_list_of_checksums_is_told(folder, text, problem):
    (folder / "mgie.json").write_text(text)
    assert problem in str(only(folder, "checksums"))


def test_every_problem_is_told_at_once(folder):
    write_sums(folder)
    edit_weights(folder, "vae", lambda tensors: drop(tensors, "encoder.1.bias"))
    edit_weights(
        folder, "unet", lambda tensors: tensors.update({"conv_out.bias": torch.full((4,), float("nan"))})
    )
    edit_weights(folder, "mllm", cut_rows(8))
    found = findings(folder)
    assert [finding.part for finding in found["tensors"]] == ["vae", "unet"]
    assert [finding.names for finding in found["vocabulary"]] == [(EMBEDDINGS,), (LM_HEAD,)]
    assert {finding.names[0] for finding in found["checksums"]} == {FILES[p] for p in ("vae", "unet", "mllm")}


# The self-test edit.


def test_an_edit_is_tried(pipeline):
    check = check_edit(lambda: pipeline, num_inference_steps=1)
    assert check.findings == [] and "100 x 76 pixels in 1 steps" in check.summary


def test_a_model_that_does_not_load_or_run_is_told(pipeline, folder):
    drop_key = "conv_in.bias"
    edit_weights(folder, "unet", lambda tensors: drop(tensors, drop_key))
    (finding,) = check_edit(lambda: MGIEPipeline.from_pretrained(folder)).findings
    assert drop_key in finding.problem and "copy the model again" in finding.cause

    def unfit():
        head = type(pipeline.edit_head).from_config({**pipeline.edit_head.config, "context_dim": 24})
        return MGIEPipeline(**{**pipeline.components, "edit_head": head, **pipeline.defaults})

    (finding,) = check_edit(unfit).findings
    assert finding.problem.startswith("stopped: RuntimeError")


@pytest.mark.parametrize(
    ("bare", "size", "mode", "problem"),
    [
        (np.nan, (6, 4), "RGB", "values are not finite"),
        (0.5, (6, 4), "RGB", "is of one colour"),
        (None, (4, 6), "RGB", "the result is RGB (4, 6), expected RGB (6, 4)"),
        (None, (6, 4), "L", "the result is L (6, 4), expected RGB (6, 4)"),
    ],
)
def test_a_wrong_picture_is_told(bare, size, mode, problem):
    pixels = np.linspace(0, 1, 72).reshape(4, 6, 3)
    photo = Image.new("RGB", (6, 4))
    assert check_picture(photo, pixels, photo) == []
    wrong = pixels if bare is None else np.where(pixels >= 0, bare, 0)
    (finding,) = check_picture(photo, wrong, Image.new(mode, size))
    assert problem in finding.problem


def test_there_is_no_such_model(tmp_path: Path):
    with pytest.raises(CheckpointError, match="there is no model"):
        verify_model(tmp_path / "nothing")
