"""Our numbers beside those recorded from the original's own code, on its own small models.

    python -m tests.checkpoint.parity FIXTURES

prints, for each recorded quantity, the largest difference relative to the largest recorded value, and where
we differ on purpose.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    UNet2DConditionModel,
)
from PIL import Image
from safetensors.torch import load_file
from torch import Generator, Tensor

from mgie.checkpoint.convert import convert, convert_snapshot
from mgie.checkpoint.weights import Weights
from mgie.data.collate import IGNORED
from mgie.diffusion import Draws, encode_pair, target_latents
from mgie.models.mgie import MGIE, imagine
from mgie.models.mllm import tokenize_dialogues, visual_token_embeds, visual_token_ids
from mgie.models.unet import widen_conv_in
from mgie.pipeline import MGIEPipeline
from mgie.prompts import clean_expressive_instruction, question

CASES = range(5)
SOLVERS: tuple[tuple[str, Any, float, float], ...] = (
    ("ddim5", DDIMScheduler, 7.5, 1.5),
    ("euler5", EulerDiscreteScheduler, 7.5, 1.5),
    ("euler5_g4_i1", EulerDiscreteScheduler, 4.0, 1.0),
    ("euler5_g1_i1.5_nocfg", EulerDiscreteScheduler, 1.0, 1.5),
    ("euler_a5", EulerAncestralDiscreteScheduler, 7.5, 1.5),
)

Differences = dict[str, float]
"""Name of the quantity to its largest relative difference; of ids and texts, the number that differ."""


def relative(ours: Tensor, recorded: Tensor) -> float:
    """Returns the largest difference, relative to the largest recorded value."""
    assert ours.shape == recorded.shape, (ours.shape, recorded.shape)
    return float((ours.double() - recorded.double()).abs().max() / recorded.double().abs().max())


def as_tensor(picture: Path) -> Tensor:
    """Returns (3, H, W) in [-1, 1]."""
    with Image.open(picture) as image:
        return (
            torch.from_numpy(np.asarray(image.convert("RGB"), dtype=np.float32)).permute(2, 0, 1) / 127.5 - 1
        )


class Recorded:
    """The fixtures: models in the original's layout, and what its code made of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.demo = load_file(folder / "demo" / "demo.safetensors")
        self.texts = self.json("demo/demo.json")

    def json(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    def picture(self, case: int) -> Image.Image:
        return Image.open(self.folder / "inputs" / f"{case}.png").convert("RGB")

    def converted(self, out: Path, mgie: str = "mgie_7b") -> MGIEPipeline:
        """Returns the pipeline of the released layout."""
        places = self.folder / "checkpoints"
        convert(
            places / "LLaVA-7B-v1",
            places / mgie,
            places / "instruct-pix2pix",
            out,
            vision_tower=places / "clip-vit-large-patch14",
        )
        pipeline = MGIEPipeline.from_pretrained(out)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def trainable(self, out: Path) -> MGIE:
        """Returns what the original trained, from its snapshot, with the autoencoder of that training."""
        places = self.folder / "checkpoints"
        diffusion = places / "stable-diffusion-v1-5"
        tower = places / "clip-vit-large-patch14"
        convert_snapshot(places / "snapshot", places / "LLaVA-7B-v1", diffusion, out, vision_tower=tower)
        pipeline = MGIEPipeline.from_pretrained(out)
        vae = AutoencoderKL.from_config(AutoencoderKL.load_config(diffusion / "vae"))
        weights = Weights(places / "snapshot")
        names = [name for name in weights if name.startswith("vae.")]
        vae.load_state_dict({name.removeprefix("vae."): weights[name] for name in names})
        return MGIE(
            mllm=pipeline.mllm,
            edit_head=pipeline.edit_head,
            vae=vae,
            unet=pipeline.unet,
            scheduler=DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
            visual_token_ids=visual_token_ids(pipeline.processor),
        )


def compare_texts(recorded: Recorded, pipeline: MGIEPipeline) -> Differences:
    """Returns how many token ids and texts differ: tokenizer, dialogue of training, clean-up."""
    tokenizer = pipeline.processor.tokenizer
    cases = recorded.json("text/tokenizer_cases.json")
    wrong = [
        tokenizer(case.get("prompt", case.get("text"))).input_ids != case["input_ids"]
        for case in (*cases["prompts"], *cases["encode"])
    ]
    # The original writes the image's tokens for an `<image>` in an answer; for us that is text.
    rows = [row for row in recorded.json("train/preprocess.json") if row["name"] != "contains_image_token"]
    training = [training_row(pipeline, row) != row for row in rows]
    cleaned = [
        clean_expressive_instruction(case["input"]) != case.get("output", "")
        for case in recorded.json("text/remove_alter.json")
    ]
    return {
        f"token ids of {len(wrong)} texts": sum(wrong),
        f"ids and labels of {len(training)} training rows": sum(training),
        f"clean-up of {len(cleaned)} texts": sum(cleaned),
    }


def training_row(pipeline: MGIEPipeline, case: dict[str, Any]) -> dict[str, Any]:
    """Returns the recorded row with our ids and labels in the place of the original's.

    Two departures are undone here: the original cuts rows at 512 tokens, and learns nothing of an answer that
    has its own separators in it.
    """
    spoken = " ".join(f"[IMG{i}]" for i in range(8))
    (row,), (length,), _ = tokenize_dialogues(
        pipeline.processor,
        [Image.new("RGB", (56, 56))],
        [question(case["instruction"])],
        [f"{case['expressive']} {spoken}"],
    )
    labels = [IGNORED] * length + row[length:]
    if case["all_ignored"]:
        labels = [IGNORED] * len(row)
    return {**case, "input_ids": row[:512], "labels": labels[:512]}


def compare_demo(recorded: Recorded, pipeline: MGIEPipeline, case: int) -> Differences:
    """Returns the differences of one edit, from its prompt to its picture."""
    key, facts = f"case{case}.", recorded.texts[f"case{case}"]
    values = {name.removeprefix(key): value for name, value in recorded.demo.items() if name.startswith(key)}
    picture, found = recorded.picture(case), Differences()
    with mock.patch.object(
        pipeline.mllm, "generate", side_effect=pipeline.mllm.generate, autospec=True
    ) as generate:
        imagined = pipeline.encode_instruction(picture, facts["instruction"])
    asked = generate.call_args.kwargs
    found["input_ids"] = float((asked["input_ids"][0] != values["input_ids"]).sum())
    found["pixel_values"] = relative(asked["pixel_values"][0], values["pixel_values"])
    written = pipeline.mllm.generate(**asked)[0]
    found["generated ids"] = float(not torch.equal(written, values["output_ids"]))
    found["expressive instruction"] = float(imagined.expressive_instructions != [facts["expressive"]])
    found["visual token states"] = relative(imagined.visual_token_states[0], values["hid_picked"])
    found["prompt_embeds"] = relative(imagined.prompt_embeds, values["emb"])
    found["null condition"] = relative(imagined.negative_prompt_embeds, recorded.demo["NULL"])
    options = {"imagination": imagined, "height": picture.height, "width": picture.width}
    for name, *solver in SOLVERS:
        steps = torch.stack(list(solver_steps(pipeline, solver, picture, options, facts["seed"], values)))
        found[f"latents, {name}"] = relative(steps, values[f"{name}.latents_per_step"])
    generator = [Generator().manual_seed(facts["seed"])]
    latents = pipeline(picture, **options, generator=generator, output_type="latent").images[0]
    found["latents, 100 steps"] = relative(latents[None], values["final_latents"])
    generator = [Generator().manual_seed(facts["seed"])]
    edited = pipeline(picture, **options, generator=generator, keep_native=False).images[0]
    with Image.open(recorded.folder / "demo" / f"case{case}_output.png") as wanted:
        levels = np.asarray(edited, dtype=int) - np.asarray(wanted.convert("RGB"), dtype=int)
    found["picture, grey levels"] = float(np.abs(levels).max())
    return found


def solver_steps(
    pipeline: MGIEPipeline,
    solver: list[Any],
    picture: Image.Image,
    options: dict[str, Any],
    seed: int,
    values: dict[str, Tensor],
) -> Iterator[Tensor]:
    """Gives the latents after each of five steps of another solver, with the recorded noise."""
    scheduler_class, guidance_scale, image_guidance_scale = solver
    own, seen = pipeline.scheduler, []
    spacing = {"timestep_spacing": "leading"} if scheduler_class is DDIMScheduler else {}
    pipeline.scheduler = scheduler_class.from_config(own.config, **spacing)
    noise = iter(values["euler_a5.step_noise"])
    module = "diffusers.schedulers.scheduling_euler_ancestral_discrete.randn_tensor"
    with mock.patch(module, lambda *args, **kwargs: next(noise)):
        pipeline(
            picture,
            **options,
            generator=[Generator().manual_seed(seed)],
            num_inference_steps=5,
            guidance_scale=guidance_scale,
            image_guidance_scale=image_guidance_scale,
            output_type="latent",
            callback_on_step_end=lambda pipe, step, time, tensors: seen.append(tensors["latents"]) or {},
        )
    pipeline.scheduler = own
    return iter(seen)


def compare_training(recorded: Recorded, module: MGIE, run: str) -> Differences:
    """Returns the differences of one training step: losses, what they are made of, and gradients."""
    values = load_file(recorded.folder / "train" / "train_forward.safetensors")
    values = {k.removeprefix(f"{run}."): v for k, v in values.items() if k.startswith(f"{run}.")}
    rows = load_file(recorded.folder / "train" / "dataset.safetensors")
    facts = recorded.json("train/train_forward.json")[run]
    pictures = [
        torch.stack([as_tensor(recorded.folder / "train" / f"item{i}_p2p_{name}.png") for i in range(4)])
        for name in ("inp", "ans")
    ]
    batch = {
        **{name: rows[f"batch.{name}"].long() for name in ("input_ids", "labels", "attention_mask")},
        "pixel_values": torch.stack([rows[f"item{i}.image"] for i in range(4)]),
        "source": pictures[0],
        "target": pictures[1],
    }
    draws = Draws(
        latent_noise=values["vae_sample_eps"],
        condition_dropout=values["prob"],
        noise=values["noise"],
        timesteps=values["timesteps"],
    )
    module.zero_grad()
    losses = module(batch, draws)
    losses["loss"].backward()
    found = {
        name: relative(losses[ours].detach(), torch.tensor(facts[theirs]))
        for name, ours, theirs in (
            ("loss", "loss", "loss_total"),
            ("language loss", "lm_loss", "loss_ce"),
            ("denoising loss", "diffusion_loss", "loss_edit"),
        )
    }
    latent_dist, _ = encode_pair(module.vae, batch["source"], batch["target"])
    latents = target_latents(latent_dist, module.vae.config["scaling_factor"], draws.latent_noise)
    found["target latents"] = relative(latents, values["lat_ans"])
    embeddings: Any = module.mllm.get_input_embeddings()
    for name, parameters in (
        ("embed_tokens", [embeddings.weight]),
        ("lm_head", [module.mllm.lm_head.weight]),
        ("edit_head", module.edit_head.parameters()),
        ("unet", module.unet.parameters()),
    ):
        norms = torch.stack([p.grad.norm() for p in parameters if p.grad is not None])
        found[f"gradient norm, {name}"] = relative(
            norms.norm(), torch.tensor(facts["grad_norm_groups"][name])
        )
    if "hid_picked" in values:
        with torch.no_grad():
            _, states = imagine(module.mllm, batch, module.visual_token_ids)
            embeds = visual_token_embeds(module.mllm, module.visual_token_ids)
            found["visual token states"] = relative(states, values["hid_picked"])
            found["edit head"] = relative(module.edit_head(states, embeds), values["edit_out"])
    return found


def compare_half(recorded: Recorded, pipeline: MGIEPipeline) -> Differences:
    """Returns the differences with the released half-precision files, calculated in fp32."""
    found = Differences()
    for case in CASES:
        imagined = pipeline.encode_instruction(
            recorded.picture(case), recorded.texts[f"case{case}"]["instruction"]
        )
        key = f"case{case}.halfckpt."
        for name, ours, theirs in (
            ("visual token states", imagined.visual_token_states[0], "hid_picked"),
            ("prompt_embeds", imagined.prompt_embeds, "emb"),
        ):
            found[name] = max(found.get(name, 0.0), relative(ours, recorded.demo[key + theirs]))
    null = relative(imagined.negative_prompt_embeds, recorded.demo["halfckpt.NULL"])
    return {**found, "null condition": null}


@torch.no_grad()
def departures(recorded: Recorded, pipeline: MGIEPipeline, module: MGIE) -> dict[str, str]:
    """Returns where we differ on purpose, with what that does to the recorded values."""
    rows = recorded.json("train/preprocess.json")
    texts = recorded.json("text/remove_alter.json")
    masked = [row["name"] for row in rows if row["all_ignored"]]
    cut = [row["name"] for row in rows if not row["has_img0_label"] and not row["all_ignored"]]
    pictured = [row["name"] for row in rows if "<image>" in row["expressive"]]
    diffusion = recorded.folder / "checkpoints" / "stable-diffusion-v1-5"
    text_to_image: Any = UNet2DConditionModel.from_pretrained(diffusion / "unet", use_safetensors=False)
    generator = Generator().manual_seed(0)
    noise, context = (
        torch.randn(1, 4, 16, 16, generator=generator),
        torch.randn(1, 77, 24, generator=generator),
    )
    before = text_to_image(noise, 500, context).sample
    widened: Any = widen_conv_in(text_to_image, 8)
    source = torch.zeros_like(noise)
    ours = widened(torch.cat([noise, source], 1), 500, context).sample
    widened.conv_in.bias.copy_(torch.rand(8, generator=generator) * 0.24 - 0.12)  # PyTorch's own start
    theirs = widened(torch.cat([noise, source], 1), 500, context).sample

    with torch.enable_grad():
        found = compare_training(recorded, module, "natural")
        own_vae, module.vae = module.vae, pipeline.vae
        other = compare_training(recorded, module, "natural")["denoising loss"]
        module.vae = own_vae
    return {
        "`conv_in` keeps its bias when it is widened": "without a source picture the widened UNet's output "
        f"changes by {relative(ours, before):.1g} (with a new bias: {relative(theirs, before):.1g})",
        "an expressive instruction may be empty": f"{sum('raises' in text for text in texts)} of "
        f"{len(texts)} recorded texts stop the original",
        "token ids come from the tokenizer, not from constants": "none: all recorded ids are equal",
        "padding is masked and never seen": "none: the states of the padded rows differ by "
        f"{found['visual token states']:.1g}",
        "an instruction with `[IMG0]` is refused": "the original takes its visual tokens there",
        "rows of more than 512 tokens are not cut": f"{len(cut)} of {len(rows)} training rows loses its "
        "visual tokens in the original",
        "answers with separators of the dialogue are learned": f"{len(masked)} of {len(rows)} training "
        "rows teach the original nothing",
        "`<image>` in an answer is text": f"{len(pictured)} of {len(rows)} training rows gets the "
        "tokens of a second picture in the original",
        "the autoencoder is not drawn anew for training": "the recorded denoising loss, equal to "
        f"{found['denoising loss']:.0e} with the original's, changes by {other:.1%} with the pipeline's",
    }


def table(recorded: Recorded, work: Path) -> Iterator[tuple[str, Differences]]:
    """Gives the differences of everything that was recorded, group by group."""
    pipeline = recorded.converted(work / "released")
    yield "texts", compare_texts(recorded, pipeline)
    demos = [compare_demo(recorded, pipeline, case) for case in CASES]
    yield "edits", {name: max(demo[name] for demo in demos) for name in demos[0]}
    yield "half-precision files", compare_half(recorded, recorded.converted(work / "half", "mgie_7b_half"))
    module = recorded.trainable(work / "snapshot")
    for run in ("natural", "forced_prob"):
        yield f"training, {run}", compare_training(recorded, module, run)


def main() -> None:
    """Prints both tables in Markdown."""
    recorded = Recorded(Path(sys.argv[1]))
    with tempfile.TemporaryDirectory() as work:
        print("| recorded | quantity | largest relative difference |\n| --- | --- | --- |")
        for group, found in table(recorded, Path(work)):
            for name, difference in found.items():
                print(f"| {group} | {name} | {difference:.2g} |")
        print("\n| departure | effect on the recorded values |\n| --- | --- |")
        pipeline = MGIEPipeline.from_pretrained(Path(work) / "released")
        for name, effect in departures(recorded, pipeline, recorded.trainable(Path(work) / "again")).items():
            print(f"| {name} | {effect} |")


if __name__ == "__main__":
    main()
