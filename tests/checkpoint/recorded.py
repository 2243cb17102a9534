"""Our own numbers, recorded once, so that a change of them is seen where the original's are not at hand.

    python -m tests.checkpoint.recorded

records them again, in `recorded.safetensors`; a commit that does so says why they have changed.
"""

import tempfile
from pathlib import Path

import torch
from diffusers import DDIMScheduler, DDPMScheduler
from safetensors.torch import save_file
from torch import Generator, Tensor

from mgie.checkpoint.convert import convert
from mgie.data.collate import EditCollator, to_tensor
from mgie.data.dataset import Sample
from mgie.diffusion import Draws, encode_pair
from mgie.models.mgie import MGIE
from mgie.models.mllm import tokenize_dialogues, visual_token_ids
from mgie.pipeline import MGIEPipeline
from mgie.prompts import answer, question
from tests.checkpoint.original import write_original
from tests.conftest import picture

FILE = Path(__file__).with_suffix(".safetensors")
INSTRUCTION, WORDS = "make the sky red", "The sky would turn deep red."


def measure(folder: Path) -> dict[str, Tensor]:
    """Returns what the small model of `write_original` gives, from token ids to a picture and a loss."""
    parts = write_original(folder / "original")
    convert(parts.llava, parts.mgie, parts.diffusion, folder / "model")
    pipe = MGIEPipeline.from_pretrained(folder / "model")
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, clip_sample=False)
    photo = picture(48, 40)
    rows, _, pixel_values = tokenize_dialogues(
        pipe.processor, [photo], [question(INSTRUCTION)], [answer(WORDS)]
    )
    written, given = (pipe.encode_instruction(photo, INSTRUCTION, words) for words in (None, WORDS))
    latents = pipe(
        photo,
        imagination=given,
        num_inference_steps=2,
        # Little, since guidance multiplies the rounding that the number of threads changes.
        guidance_scale=2.0,
        image_guidance_scale=1.2,
        generator=Generator().manual_seed(0),
        output_type="latent",
    ).images[0]
    return {
        "input_ids": torch.tensor(rows[0]),
        "pixel_values": pixel_values[0, :, ::8, ::8].contiguous(),
        "visual_token_states.written": written.visual_token_states,
        "visual_token_states.given": given.visual_token_states,
        "prompt_embeds": given.prompt_embeds,
        "negative_prompt_embeds": given.negative_prompt_embeds[:1].contiguous(),
        "latents": latents,
        "losses": losses(pipe),
    }


def losses(pipe: MGIEPipeline) -> Tensor:
    """Returns language loss, denoising loss and gradient norm of one training step, (3,)."""
    module = MGIE(
        **{name: pipe.components[name] for name in ("mllm", "edit_head", "vae", "unet")},
        scheduler=DDPMScheduler(beta_schedule="scaled_linear"),
        visual_token_ids=visual_token_ids(pipe.processor),
    )
    source = to_tensor([torch.rand(16, 16, 3, generator=Generator().manual_seed(1)).numpy()])
    pixels = (source[0].permute(1, 2, 0).numpy() + 1) / 2
    batch = EditCollator(pipe.processor)(
        [Sample(picture(), pixels, 1 - pixels, question(INSTRUCTION), answer(WORDS))]
    )
    shape = encode_pair(module.vae, batch["source"], batch["target"])[1].shape
    found = module(batch, Draws.sample(Generator().manual_seed(2), shape))
    found["loss"].backward()
    norms = [p.grad.norm() for p in module.parameters() if p.grad is not None]
    return torch.stack([found["lm_loss"], found["diffusion_loss"], torch.stack(norms).norm()])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as work:
        save_file(measure(Path(work)), FILE)
