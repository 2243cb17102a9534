"""The models of a demo: each is loaded once, all run in one thread, and each says what it can do."""

import queue
import re
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from PIL import Image

from mgie.errors import ConfigError
from mgie.model_folder import PROVENANCE_FILE, RATES, by_rate, find_model_folder, read_json

if TYPE_CHECKING:
    from mgie.pipeline import MGIEPipeline

T = TypeVar("T")

CARD_FILE = "README.md"
_SENTENCES = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_TOLD = ("**State", "**Limits", "**Limitations")
"""How the paragraphs of a model card begin that say what a model can do."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """How far some work has come."""

    text: str
    done: int
    """Of `total` parts of the work."""
    total: int
    preview: Image.Image | None = None
    """What the picture looks like so far: RGB, at working size."""
    words: str | None = None
    """The expressive instruction, once there is one."""


Report = Callable[[Step], None]


class Models:
    """The models that a demo offers.

    All work with them is done in one thread, one piece after the other: a pipeline cannot run twice at once,
    and two at a time would not be faster.

    Args:
        names: built-in names, pipeline folders or hub ids; the first is the one to begin with.
        load: returns the pipeline of a name.
    """

    def __init__(self, names: Sequence[str], load: "Callable[[str], MGIEPipeline]") -> None:
        self.names = list(dict.fromkeys(names))
        self._load = load
        self._loaded: dict[str, MGIEPipeline] = {}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mgie-model")

    def get(self, name: str) -> "MGIEPipeline":
        """Returns the pipeline of a name, loaded if it was not yet; to be called in `run` or `steps`.

        Raises:
            MGIEError: the demo does not offer it, or it cannot be loaded.
        """
        if name not in self.names:
            raise ConfigError(f"this demo has no model '{name}'; expected one of {', '.join(self.names)}")
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def run(self, work: Callable[[], T]) -> T:
        """Returns what `work` returns, done in the models' thread."""
        return self._thread.submit(work).result()

    def steps(self, work: Callable[[Report], T]) -> Generator[Step, None, T]:
        """Yields what `work` reports while the models' thread does it; returns what it returns."""
        reports: queue.SimpleQueue[Step | None] = queue.SimpleQueue()
        future: Future[T] = self._thread.submit(work, reports.put)
        future.add_done_callback(lambda _: reports.put(None))
        while (step := reports.get()) is not None:
            yield step
        return future.result()


def notice(name: str) -> str:
    """Returns what a model can do, in Markdown: from its card, or what else its folder tells.

    Of the card these are the first sentence, and the paragraphs on state and limits.

    Raises:
        CheckpointError: there is no such model.
    """
    folder = find_model_folder(name)
    card = folder / CARD_FILE
    told = _from_card(card.read_text(encoding="utf-8", errors="replace")) if card.is_file() else []
    if not told:
        told = ["This model has no card that says what it can do: try it on pictures that you know."]
    provenance = read_json(folder / PROVENANCE_FILE) if (folder / PROVENANCE_FILE).is_file() else {}
    if rates := provenance.get(RATES):
        told.append("**How often edits land, on pictures and words held out**")
        landing = {rate: families for rate, families in by_rate(rates).items() if rate > 0}
        told.append("\n".join(f"- {rate:.0%}: {', '.join(families)}" for rate, families in landing.items()))
        return "\n\n".join(told)
    config = provenance.get("training_config")
    data = config.get("data") if isinstance(config, dict) else None
    families = data.get("families") if isinstance(data, dict) else None
    if isinstance(families, list | dict) and families:
        known = ", ".join(sorted({str(family).replace("_", " ") for family in families}))
        told.append(f"**Edits that it was trained on.** {known}.")
    return "\n\n".join(told)


def _from_card(card: str) -> list[str]:
    """Returns a model card's first sentence and the paragraphs on state and limits."""
    if card.startswith("---\n"):  # front matter of a hub card
        card = card.partition("\n---\n")[2]
    paragraphs = [" ".join(paragraph.split()) for paragraph in card.split("\n\n")]
    prose = [text for text in paragraphs if text and not text.startswith(("#", "|", "-", "<", "!", "`"))]
    opening = [_SENTENCES.split(text)[0] for text in prose[:1] if not text.startswith("**")]
    return opening + [text for text in prose if text.startswith(_TOLD)]
