"""What others rely on, and the order in which the files may lean on each other (DESIGN.md, section 3)."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import mgie

PACKAGE = Path(mgie.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
FLOORS = {
    "mgie.errors": 0,
    "mgie.files": 0,
    "mgie.config": 1,
    "mgie.prompts": 1,
    "mgie.images": 1,
    "mgie.model_folder": 1,
    "mgie.data.records": 1,
    "mgie.models": 2,
    "mgie.diffusion": 2.5,  # its losses are of what `models.layers` says
    "mgie.sampling": 2,
    "mgie.data": 2,
    "mgie.data.collate": 3,  # it tokenizes dialogues, so it stands on `models.mllm`
    "mgie.models.sight": 2.7,  # it asks `diffusion` which patches an edit is about
    "mgie.models.mgie": 3,
    "mgie.pipeline": 4,
    "mgie.session": 4.5,  # turns of the pipeline
    "mgie.batch": 5,
    "mgie.checkpoint": 5,
    "mgie.checkpoint.extract": 5.5,  # it reads training runs, so it stands on `training`
    "mgie.training": 5,
    "mgie.evaluation": 5,
    "mgie.cli": 6,
    "mgie.demo": 5.5,  # `mgie demo` starts it
    "mgie.server": 5.5,  # `mgie serve` starts it
    "mgie.__main__": 7,
    "mgie": 7,  # the public names, lazily
}
TORCH_FREE = ["mgie", "mgie.config", "mgie.prompts", "mgie.images", "mgie.model_folder", "mgie.data.records"]
TORCH_FREE += ["mgie.data.photographs", "mgie.data.synth", "mgie.batch", "mgie.cli"]
LONGEST_FUNCTION = 100


def home(module):
    """Returns the entry of `FLOORS` that a module belongs to."""
    return next(name for name in sorted(FLOORS, key=len, reverse=True) if f"{module}.".startswith(f"{name}."))


def imports(path):
    """Yields the modules of this package that a file imports, anywhere in it but for type checking."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else node.module


@pytest.mark.parametrize("module", [name for name in MODULES if FLOORS[home(name)] < 7])
def test_a_file_leans_only_on_floors_below(module):
    own = home(module)
    above = {
        other
        for other in imports(MODULES[module])
        if home(other) != own and FLOORS[home(other)] >= FLOORS[own]
    }
    assert not above


def loaded_after(code):
    """Returns the names of the modules that a fresh interpreter has loaded after some code."""
    program = f"{code}\nimport sys, json; print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=PACKAGE.parent)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    "code", [*(f"import {name}" for name in TORCH_FREE), "import mgie.cli; mgie.cli.main(['--help'])"]
)
def test_torch_is_not_loaded(code):
    heavy = {"torch", "transformers", "diffusers", "accelerate", "huggingface_hub", "scipy", "skimage"}
    assert not heavy & loaded_after(code)


def test_public_names():
    assert set(mgie.__all__) == {
        "CheckpointError",
        "ConfigError",
        "DataError",
        "EditSession",
        "EncodedImage",
        "ImageError",
        "Imagination",
        "MGIEError",
        "MGIEPipeline",
        "MGIEPipelineOutput",
        "SafetyError",
        "TrainingError",
        "__version__",
    }
    assert all(getattr(mgie, name) for name in mgie.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        mgie.nothing  # noqa: B018


def test_paths_that_are_written_into_model_folders(pipeline_folder):
    from mgie.models.unet import ChangeUNet2DConditionModel

    index = json.loads((pipeline_folder / "model_index.json").read_text())
    assert index["_class_name"] == "MGIEPipeline"
    assert index["edit_head"] == ["mgie.models.edit_head", "EditHead"]
    assert index["vae"] == ["mgie.models.autoencoder", "UnshuffleAutoencoder"]
    assert ChangeUNet2DConditionModel.__module__ == "mgie.models.unet"
    files = {str(path.relative_to(pipeline_folder)) for path in pipeline_folder.rglob("*") if path.is_file()}
    assert not {name for name in files if name.endswith((".bin", ".pt", ".pkl"))}


def functions():
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                yield f"{module}.{node.name}", node


def test_functions_fit_a_screen_or_two():
    def length(node):
        documented = isinstance(node.body[0], ast.Expr) and isinstance(node.body[0].value, ast.Constant)
        doc = node.body[0].end_lineno - node.body[0].lineno + 1 if documented else 0
        return node.end_lineno - node.lineno + 1 - doc

    assert not {name: length(node) for name, node in functions() if length(node) > LONGEST_FUNCTION}
