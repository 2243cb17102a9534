"""MGIE: edits photographs by instructions, with a multimodal language model that imagines the edit first."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mgie.errors import (
        CheckpointError,
        ConfigError,
        DataError,
        ImageError,
        MGIEError,
        SafetyError,
        TrainingError,
    )
    from mgie.pipeline import EncodedImage, Imagination, MGIEPipeline, MGIEPipelineOutput
    from mgie.session import EditSession

_HOMES = {
    "CheckpointError": "mgie.errors",
    "ConfigError": "mgie.errors",
    "DataError": "mgie.errors",
    "EditSession": "mgie.session",
    "EncodedImage": "mgie.pipeline",
    "ImageError": "mgie.errors",
    "Imagination": "mgie.pipeline",
    "MGIEError": "mgie.errors",
    "MGIEPipeline": "mgie.pipeline",
    "MGIEPipelineOutput": "mgie.pipeline",
    "SafetyError": "mgie.errors",
    "TrainingError": "mgie.errors",
}
__all__ = [
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
]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first asked for: `import mgie` itself loads no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'mgie' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)
