"""The page: what is where, and which action answers which event."""

import contextlib
import html
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.data_classes import ImageData
from PIL import Image

from mgie.demo import actions
from mgie.demo.actions import Results, Workbench
from mgie.demo.models import Models, Report, Step, notice
from mgie.errors import MGIEError

MAX_FILE_SIZE = "100mb"
MAX_QUEUE = 32
MAX_SESSIONS = 100
"""Users whose photos are kept in memory; beyond it the oldest go."""
DAY = 24 * 60 * 60
MAX_SEED = 2**32 - 1
NEW_SEEDS = 100_000
"""Few digits, to be read and typed."""
MAX_VARIANTS = 8

MODEL_EVENT: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1, "api_visibility": "private"}
"""One at a time, and in the queue, where users see their place."""
QUICK_EVENT: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}

FONTS = ["Segoe UI", "Roboto", "Helvetica Neue", "Noto Sans", "Arial", "sans-serif"]
CODE_FONTS = ["SF Mono", "Menlo", "Consolas", "Liberation Mono", "monospace"]
CSS = """
.gradio-container {max-width: 1240px !important; margin: auto}
#head h1 {margin: 0; font-size: 1.5rem}
#head p {margin: .1rem 0 0; opacity: .75}
#notice {font-size: .85rem}
#notice p {margin: .3rem 0}
#instruction textarea {font-size: 1.1rem}
#status {min-height: 2.6rem; padding: 0 .6rem}
#status {font-size: .85rem}
#status progress {width: 100%; height: .5rem; accent-color: #6366f1}
#history ol {margin: 0; padding-left: 1.4rem}
#history small {opacity: .75}
@media (max-width: 640px) {#top {flex-direction: column}}
"""


@dataclass(frozen=True, kw_only=True)
class _Controls:
    """The components that events read and write."""

    bench: gr.State
    model: gr.Dropdown
    told: gr.Markdown
    tabs: gr.Tabs
    mask: gr.Tab
    photo: gr.Image
    brush: gr.ImageEditor
    instruction: gr.Textbox
    edit: gr.Button
    compare: gr.ImageSlider
    status: gr.HTML
    words: gr.Textbox
    again: gr.Button
    strength: gr.Slider
    keep_unchanged: gr.Checkbox
    undo: gr.Button
    redo: gr.Button
    variants: gr.Button
    download: gr.Button
    gallery: gr.Gallery
    history: gr.HTML
    seed: gr.Number
    new_seed: gr.Checkbox
    num_variants: gr.Slider
    steps: gr.Slider
    guidance_scale: gr.Slider
    image_guidance_scale: gr.Slider

    @property
    def settings(self) -> list[Any]:
        """What every painting reads."""
        own = [self.steps, self.guidance_scale, self.image_guidance_scale]
        return [self.bench, self.brush, self.strength, self.keep_unchanged, *own]

    @property
    def view(self) -> list[Any]:
        """What shows a workbench, see `_view`."""
        buttons = [self.again, self.variants, self.download, self.undo, self.redo]
        return [self.compare, self.words, self.seed, self.gallery, self.history, self.status, *buttons]


def build_app(models: Models) -> gr.Blocks:
    """Returns the page, ready to be launched; the first model is loaded.

    Args:
        models: those that the user can choose from.

    Raises:
        MGIEError: there is no such model, or it cannot be loaded.
    """
    results = Results()
    with gr.Blocks(title="MGIE", analytics_enabled=False, delete_cache=(DAY // 24, DAY)) as app:
        controls = _layout(models)
        _connect_photo(controls, models)
        _connect_painting(controls, models)
        _connect_session(controls, results)
        _connect_api(controls, models, results)
    return app.queue(max_size=MAX_QUEUE, default_concurrency_limit=4)


def launch(app: gr.Blocks, host: str, port: int | None, **options: Any) -> tuple[Any, str, str]:
    """Serves the page; nothing is asked of any other machine.

    Args:
        app: from `build_app`.
        host: address to listen at.
        port: None for the first free one.
        options: of `gradio.Blocks.launch`.
    """
    return app.launch(
        server_name=host,
        server_port=port,
        share=False,
        show_error=True,
        quiet=True,
        max_file_size=MAX_FILE_SIZE,
        state_session_capacity=MAX_SESSIONS,
        theme=gr.themes.Soft(primary_hue="indigo", font=FONTS, font_mono=CODE_FONTS),
        css=CSS,
        footer_links=["api"],
        run_history=False,
        **options,
    )


def _layout(models: Models) -> _Controls:
    first = models.names[0]
    part: dict[str, Any] = {"bench": gr.State(None)}
    with gr.Row(equal_height=False, elem_id="top"):
        gr.Markdown(
            "# MGIE\nSay what to change. A language model imagines the result, then it is painted.",
            elem_id="head",
        )
        part["model"] = gr.Dropdown(
            models.names,
            value=first,
            label="Model",
            interactive=len(models.names) > 1,
            scale=0,
            min_width=240,
        )
    with gr.Accordion("What this model can do", open=True):
        part["told"] = gr.Markdown(notice(first), elem_id="notice")
    with gr.Row(equal_height=False):
        with gr.Column():
            part |= _inputs()
        with gr.Column():
            part |= _outputs(models)
    return _Controls(**part)


def _inputs() -> dict[str, Any]:
    """Returns the components of the left column: photo, mask, instruction."""
    part: dict[str, Any] = {}
    with gr.Tabs() as part["tabs"]:
        with gr.Tab("Photo", id="photo"):
            part["photo"] = gr.Image(
                type="filepath",
                format="png",
                sources=["upload", "webcam", "clipboard"],
                show_label=False,
                height=300,
                buttons=["fullscreen"],
                elem_id="photo",
            )
            # On the instance: for a subclass, gradio would write a stub file beside this one.
            vars(part["photo"])["preprocess"] = _file_as_it_came
        with gr.Tab("Only here", id="mask") as part["mask"]:
            gr.Markdown("Paint over what may change; the rest stays as it is, byte for byte.")
            part["brush"] = gr.ImageEditor(
                type="pil",
                image_mode="RGBA",
                format="png",
                sources=(),
                transforms=(),
                layers=False,
                brush=gr.Brush(colors=[("#ff2d55", 0.6)], color_mode="fixed", default_size=40),
                show_label=False,
                buttons=[],
                height=420,
                elem_id="brush",
            )
    part["instruction"] = gr.Textbox(
        label="Instruction",
        placeholder="make it look like night",
        max_lines=1,
        autofocus=True,
        elem_id="instruction",
    )
    part["edit"] = gr.Button("Edit", variant="primary", elem_id="edit")
    gr.Examples(
        [[text] for text in actions.INSTRUCTIONS],
        [part["instruction"]],
        label="Instructions",
        api_visibility="private",
    )
    if photographs := actions.example_photographs():
        gr.Examples(
            [[path] for path in photographs], [part["photo"]], label="Photos", api_visibility="private"
        )
    return part


def _file_as_it_came(payload: ImageData | None) -> str | None:
    """Returns the path of an uploaded file, which `open_photo` then looks at; gradio would decode it."""
    return None if payload is None else payload.path


def _advanced(models: Models) -> dict[str, Any]:
    own = _own_settings(models, models.names[0])
    part: dict[str, Any] = {}
    with gr.Row():
        part["seed"] = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=MAX_SEED, elem_id="seed")
        part["new_seed"] = gr.Checkbox(True, label="A new seed for every edit")
    part["steps"] = gr.Slider(1, 100, own["num_inference_steps"], step=1, label="Denoising steps")
    part["guidance_scale"] = gr.Slider(0, 20, own["guidance_scale"], step=0.1, label="Weight of the words")
    part["image_guidance_scale"] = gr.Slider(
        0, 5, own["image_guidance_scale"], step=0.1, label="Weight of the photo"
    )
    part["num_variants"] = gr.Slider(2, MAX_VARIANTS, 4, step=1, label="Number of variants")
    return part


def _outputs(models: Models) -> dict[str, Any]:
    """Returns the components of the right column: the comparison, the words, next actions, settings."""
    part: dict[str, Any] = {}
    part["compare"] = gr.ImageSlider(
        label="Before and after", format="png", height=420, buttons=["fullscreen"], elem_id="compare"
    )
    part["status"] = gr.HTML(elem_id="status", padding=False)
    part["words"] = gr.Textbox(
        label="What the model imagines; change it and paint again",
        lines=2,
        max_lines=6,
        elem_id="words",
    )
    with gr.Row():
        part["again"] = gr.Button("Paint again", interactive=False, elem_id="again", size="md", min_width=80)
        part["variants"] = gr.Button(
            "Variants", interactive=False, elem_id="variants", size="md", min_width=80
        )
        part["undo"] = gr.Button("Undo", interactive=False, elem_id="undo", size="md", min_width=80)
        part["redo"] = gr.Button("Redo", interactive=False, elem_id="redo", size="md", min_width=80)
        part["download"] = gr.Button(
            "Download", interactive=False, elem_id="download", size="md", min_width=80
        )
    with gr.Row():
        part["strength"] = gr.Slider(0, 1, 1, step=0.05, label="Strength", elem_id="strength", scale=2)
        part["keep_unchanged"] = gr.Checkbox(True, label="Keep what did not change", elem_id="keep")
    part["gallery"] = gr.Gallery(
        label="Variants: choose one",
        format="png",
        columns=4,
        height=170,
        object_fit="cover",
        allow_preview=False,
        interactive=False,
        buttons=[],
        visible=False,
        elem_id="gallery",
    )
    with gr.Accordion("History", open=True):
        part["history"] = gr.HTML(elem_id="history")
    with gr.Accordion("Advanced", open=False, elem_id="advanced"):
        part |= _advanced(models)
    return part


def _connect_photo(on: _Controls, models: Models) -> None:
    """Connects what comes in: the photo and the model."""

    def open_photo(path: str | None, model: str) -> tuple[Any, ...]:
        with _told():
            bench = actions.open_workbench(path, models, model) if path is not None else None
        return bench, None, gr.Tabs(selected="photo"), *_view(bench)

    def unroll(bench: Workbench | None) -> Any:
        if bench is None or bench.canvas_unrolled:
            return gr.skip()
        bench.canvas_unrolled = True
        return _canvas(bench)

    # The model's thread is waited for, so it is no quick event.
    on.photo.change(open_photo, [on.photo, on.model], [on.bench, on.brush, on.tabs, *on.view], **MODEL_EVENT)
    # Only now: a canvas that gets its picture while it cannot be seen shows it at a fifth of its size.
    on.mask.select(unroll, on.bench, on.brush, **QUICK_EVENT)
    on.brush.clear(_canvas, on.bench, on.brush, **QUICK_EVENT)  # the bin takes the picture away too

    def use_model(bench: Workbench | None, name: str) -> tuple[Any, ...]:
        with _told():
            actions.use_model(bench, models, name)
            return notice(name), name, *_own_settings(models, name).values()

    def keep_model(bench: Workbench | None) -> str:
        return models.names[0] if bench is None else bench.session.model

    own = [on.steps, on.guidance_scale, on.image_guidance_scale]
    on.model.input(
        use_model, [on.bench, on.model], [on.told, on.model, *own], show_progress_on=on.told, **MODEL_EVENT
    ).failure(keep_model, on.bench, on.model, **QUICK_EVENT)


def _connect_painting(on: _Controls, models: Models) -> None:
    """Connects what runs the model: edit, paint again, variants, strength."""
    painted = [on.compare, on.words, on.status]
    painting: dict[str, Any] = {"show_progress_on": on.status, "show_progress": "minimal", **MODEL_EVENT}

    def begin(*values: Any) -> Iterator[tuple[Any, ...]]:
        *settings, instruction, seed, new_seed = values
        bench = settings[0]
        seed = random.randrange(NEW_SEEDS) if new_seed or seed is None else int(seed)

        def work(report: Report) -> None:
            actions.edit(bench, instruction, seed, _settings(*settings), report)

        yield from _streamed(models, bench, work)

    def again(*values: Any) -> Iterator[tuple[Any, ...]]:
        *settings, words, seed = values
        bench = settings[0]

        def work(report: Report) -> None:
            actions.again(bench, words, int(seed or 0), _settings(*settings), report)

        yield from _streamed(models, bench, work)

    def adjust(*values: Any) -> Iterator[tuple[Any, ...]]:
        """Paints the turn again, if there is one yet, after a slider was moved."""
        bench: Workbench | None = values[0]
        if bench is not None and bench.turn is not None:
            yield from again(*values)

    def variants(*values: Any) -> Iterator[tuple[Any, ...]]:
        *settings, num = values
        bench = settings[0]

        def work(report: Report) -> None:
            actions.paint_variants(bench, int(num), _settings(*settings), report)

        yield from _streamed(models, bench, work)

    def then_show(event: Any) -> None:
        event.success(_view, on.bench, on.view, **QUICK_EVENT)
        # The picture as it was; what the user has written stays to be mended.
        event.failure(lambda bench: _view(bench)[0], on.bench, on.compare, **QUICK_EVENT)
        event.failure(lambda: "", None, on.status, **QUICK_EVENT)

    then_show(
        gr.on(
            [on.edit.click, on.instruction.submit],
            begin,
            [*on.settings, on.instruction, on.seed, on.new_seed],
            painted,
            **painting,
        )
    )
    last = [*on.settings, on.words, on.seed]
    then_show(on.again.click(again, last, painted, **painting))
    then_show(on.variants.click(variants, [*on.settings, on.num_variants], painted, **painting))
    then_show(gr.on([on.strength.release, on.keep_unchanged.input], adjust, last, painted, **painting))


def _connect_session(on: _Controls, results: Results) -> None:
    """Connects what needs no model: undo, redo, choice of a variant, download."""

    def undo(bench: Workbench | None) -> tuple[Any, ...]:
        with _told():
            actions.undo(bench)
        return _view(bench)

    def redo(bench: Workbench | None) -> tuple[Any, ...]:
        with _told():
            actions.redo(bench)
        return _view(bench)

    def choose(bench: Workbench | None, chosen: gr.SelectData) -> tuple[Any, ...]:
        with _told():
            actions.choose_variant(bench, chosen.index)
        return _view(bench)

    # In the model's queue too, so that no turn goes away while it is painted again.
    hidden: dict[str, Any] = {"show_progress": "hidden", **MODEL_EVENT}
    on.undo.click(undo, on.bench, on.view, **hidden)
    on.redo.click(redo, on.bench, on.view, **hidden)
    on.gallery.select(choose, on.bench, on.view, **hidden)

    def save(bench: Workbench | None) -> str:
        with _told():
            return results.save(bench)

    # The file is written when it is wanted: a large PNG takes longer than an edit.
    file = gr.File(visible=False)
    on.download.click(
        save, on.bench, file, show_progress="minimal", show_progress_on=on.status, api_visibility="private"
    ).success(None, file, None, js=_DOWNLOAD, api_visibility="private")


_DOWNLOAD = """(file) => {
    const link = document.createElement("a");
    link.href = file.url;
    link.download = file.orig_name;
    link.click();
}"""


def _connect_api(on: _Controls, models: Models, results: Results) -> None:
    """Connects what programs call: a whole edit of a photo, which knows nothing of the page's session."""

    def edit(image: str, instruction: str, seed: int) -> tuple[str, str]:
        with _told():
            return actions.edit_once(image, instruction, int(seed or 0), models, models.names[0], results)

    edited = gr.Image(label="Edited", type="filepath", format="png", visible=False)
    gr.Button(visible=False).click(
        edit,
        [on.photo, on.instruction, on.seed],
        [edited, on.words],
        **{**MODEL_EVENT, "api_visibility": "public"},
        api_name="edit",
        api_description="Edits a photo; the result is a PNG of its size, and what the model imagined.",
    )


def _streamed(
    models: Models, bench: Workbench | None, work: Callable[[Report], None]
) -> Iterator[tuple[Any, ...]]:
    """Yields picture, words and status while some work with the model goes on."""
    with _told():
        for step in models.steps(work):
            pair = None if step.preview is None or bench is None else _pair(bench, step.preview)
            yield pair or gr.skip(), gr.skip() if step.words is None else step.words, _bar(step)


def _view(bench: Workbench | None) -> tuple[Any, ...]:
    """Returns what the components of `_Controls.view` show of a workbench."""
    turn = None if bench is None else bench.turn
    variants = [] if bench is None else bench.variants
    pictures = [(actions.shown(variant.image, 320), f"seed {variant.edit.seed}") for variant in variants]
    usable = [gr.update(interactive=turn is not None)] * 3
    return (
        None if bench is None else _pair(bench, actions.shown(bench.session.image)),
        "" if turn is None else turn.edit.expressive_instruction,
        gr.skip() if turn is None else turn.edit.seed,
        gr.update(value=pictures, visible=bool(pictures), selected_index=None),
        actions.history(bench),
        "",
        *usable,
        gr.update(interactive=turn is not None),
        gr.update(interactive=bench is not None and bench.session.can_redo),
    )


def _canvas(bench: Workbench | None) -> dict[str, Any] | None:
    """Returns what the brush paints over: the photo, nothing drawn yet."""
    return None if bench is None else {"background": bench.before, "layers": [], "composite": None}


def _pair(bench: Workbench, after: Image.Image) -> tuple[Image.Image, Image.Image]:
    """Returns before and after in one size, as the slider needs them."""
    return bench.before, after.resize(bench.before.size, Image.Resampling.BILINEAR)


def _bar(step: Step) -> str:
    value = f'value="{step.done}" max="{step.total}"' if step.done else ""  # without one it only moves
    return f"<progress {value}></progress> {html.escape(step.text)} ..."


def _settings(
    bench: Workbench | None,
    drawn: dict[str, Any] | None,
    strength: float,
    keep_unchanged: bool,
    steps: float,
    guidance_scale: float,
    image_guidance_scale: float,
) -> dict[str, Any]:
    """Returns the settings of `MGIEPipeline.__call__` from the values of `_Controls.settings`."""
    size = None if bench is None else bench.session.photo.image.size
    mask = actions.drawn_mask(drawn["layers"], size) if drawn and size else None
    return {
        "mask": mask,
        "strength": strength,
        "keep_unchanged": keep_unchanged,
        "num_inference_steps": int(steps),
        "guidance_scale": guidance_scale,
        "image_guidance_scale": image_guidance_scale,
    }


def _own_settings(models: Models, name: str) -> dict[str, Any]:
    """Returns steps and guidance that a model prefers."""
    config = models.run(lambda: models.get(name)).config
    return {key: config[key] for key in ("num_inference_steps", "guidance_scale", "image_guidance_scale")}


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Makes a user's mistake a notice on the page, in one line, and nothing in the log."""
    try:
        yield
    except MGIEError as error:
        # The page takes the message for HTML.
        message = html.escape(" ".join(str(error).split()), quote=False)
        raise gr.Error(message, print_exception=False) from None
