"""Fixtures that all tests share: a pipeline of the real classes at toy size, random weights, and pictures."""

import os
from pathlib import Path
from typing import Any

if "PYTEST_XDIST_WORKER" in os.environ:  # several processes with a thread for each core would slow each other
    os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest
import yaml
from PIL import Image

ROOT = Path(__file__).parents[1]

WORDS = [
    "what will this image be like if 'make it red'",
    "what will this image be like if 'turn the picture blue, please'",
    "The house and the trees would turn deep red, as if seen through red glass.",
    "USER: ASSISTANT:",
]


def picture(width: int = 48, height: int = 40) -> Image.Image:
    """Returns a colourful picture with a soft ground and hard edges."""
    y, x = np.mgrid[0:height, 0:width]
    ground = np.stack([x / width, y / height, 0.5 + 0 * x], axis=-1)
    ground[(x // 8 + y // 8) % 2 == 0] *= 0.6
    return Image.fromarray((255 * ground).astype(np.uint8))


def build_pipeline():
    """Returns a new `MGIEPipeline` of toy size with fixed random weights, on the CPU in fp32."""
    import torch
    from diffusers import DPMSolverMultistepScheduler, UNet2DConditionModel

    from mgie.models.autoencoder import UnshuffleAutoencoder
    from mgie.models.edit_head import EditHead
    from mgie.models.mllm import build_mllm, build_processor, train_tokenizer
    from mgie.pipeline import MGIEPipeline

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        processor = build_processor(train_tokenizer(WORDS, vocab_size=300), image_size=32, patch_size=16)
        sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
        mllm = build_mllm(
            processor, vision={**sizes, "image_size": 32, "patch_size": 16, "projection_dim": 32}, text=sizes
        )
        mllm.generation_config.max_new_tokens = 12
        edit_head = EditHead(
            mllm_dim=32,
            hidden_dim=16,
            context_dim=16,
            num_queries=5,
            num_layers=1,
            num_heads=2,
            feedforward_dim=32,
        )
        vae = UnshuffleAutoencoder(latent_channels=4, encoder_channels=16, decoder_channels=(16, 16))
        unet = UNet2DConditionModel(
            in_channels=8,
            out_channels=4,
            block_out_channels=(16, 32),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=16,
            attention_head_dim=2,
            norm_num_groups=8,
        )
        scheduler = DPMSolverMultistepScheduler(
            prediction_type="v_prediction", timestep_spacing="trailing", rescale_betas_zero_snr=True
        )
    parts = {"mllm": mllm.eval(), "edit_head": edit_head.eval(), "vae": vae.eval(), "unet": unet.eval()}
    pipeline = MGIEPipeline(
        **parts,
        processor=processor,
        scheduler=scheduler,
        working_size={"max_pixels": 32 * 32, "multiple": 16, "upscale": True, "max_aspect": 2.0},
        num_inference_steps=3,
        guidance_scale=4.0,
        image_guidance_scale=1.5,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="session")
def pipeline():
    """The toy pipeline; tests leave it as they found it."""
    return build_pipeline()


@pytest.fixture(scope="session")
def pipeline_folder(pipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy pipeline on disk; tests copy it before they change it."""
    folder = tmp_path_factory.mktemp("model") / "toy"
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A picture file, 48 x 40 pixels."""
    path = tmp_path / "photo.png"
    picture().save(path)
    return path


def smoke_config(folder: Path, **changes: Any):
    """Returns the smoke configuration of a run in `folder` with changes, on the sample photographs."""
    from mgie.config import load_config

    values = {
        "output_dir": str(folder),
        "data.photographs": str(ROOT / "_data" / "photographs"),
        **changes,
    }
    overrides = [f"{key}={yaml.safe_dump(value, default_flow_style=True)}" for key, value in values.items()]
    return load_config(ROOT / "train" / "configs" / "smoke.yaml", overrides)


@pytest.fixture(scope="session")
def joint_run(tmp_path_factory: pytest.TempPathFactory):
    """A run folder after three steps, and the stage as it was trained, in memory; tests change neither."""
    import torch
    from accelerate.state import AcceleratorState

    import mgie.training.loop
    from mgie.training.stages import build_stage, language

    run, stages = tmp_path_factory.mktemp("joint") / "run", []

    def keep(config):
        stages.append(build_stage(config))
        return stages[-1]

    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        patch.setattr(language, "TOKENIZER_ROWS", 100)
        patch.setattr(mgie.training.loop, "build_stage", keep)
        mgie.training.loop.train(smoke_config(run, max_steps=3, save_every=3))
    AcceleratorState._reset_state(reset_partial_state=True)
    stages[0].module.eval()
    return run, stages[0]
