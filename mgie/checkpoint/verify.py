"""Whether a model folder is whole and of one piece: its tensors, widths, vocabulary and checksums.

All that is wrong is found, not only the first of it. Weights are read tensor by tensor beside a model without
any, so a large model is verified in little memory.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel

from mgie.checkpoint.tokenizer import LLAVA_TOKENS
from mgie.checkpoint.weights import Weights
from mgie.errors import CheckpointError
from mgie.model_folder import INDEX_FILE, PROVENANCE_FILE, find_model_folder, read_json, sha256_of
from mgie.models.loading import empty_model, load_part, part_class, quiet_loading
from mgie.models.mllm import dialogue_text, saved_name
from mgie.prompts import NUM_VISUAL_TOKENS, answer, question, visual_tokens

if TYPE_CHECKING:
    from mgie.pipeline import MGIEPipeline

MODELS = ("mllm", "edit_head", "vae", "unet")
"""The parts that have weights."""
PARTS = (*MODELS, "processor", "scheduler")
EMBEDDINGS = "language_model.model.embed_tokens.weight"
LM_HEAD = "language_model.lm_head.weight"

_NORM = re.compile(r"language_model\.model\.(.*norm)\.weight")
_SMALLEST_NORM = 0.05
"""A language model's norms multiply by some tenths (LLaMA) or by values near 1, in the median over the
layers; what fine-tuning adds to them is some thousandths."""
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Names in the autoencoders of Stable Diffusion 1, which diffusers still reads."""

Progress = Callable[[int, int], None]
"""Takes the number of bytes read and that of all."""


@dataclass(frozen=True)
class Finding:
    """Something wrong with a model."""

    part: str
    """A part of the pipeline, or a file beside them."""
    names: tuple[str, ...]
    """The tensors, tokens, settings or files concerned."""
    problem: str
    """What is wrong with the first of them."""
    cause: str
    """The likely reason, or what to do."""

    def __str__(self) -> str:
        """Returns it as one line."""
        more = f" (and {len(self.names) - 1} more)" if len(self.names) > 1 else ""
        what = " ".join((*self.names[:1], self.problem)) + more
        return " ".join(f"{self.part}: {what}; {self.cause}".removesuffix("; ").split())


@dataclass(frozen=True)
class Check:
    """What was looked at under one heading, and what is wrong there."""

    name: str
    summary: str
    """What is right, if nothing is wrong."""
    findings: list[Finding]


def verify_model(name: str | Path, progress: Progress = lambda done, total: None) -> list[Check]:
    """Returns the checks of a model's parts, tensors, widths, vocabulary and checksums.

    Args:
        name: built-in name, folder, or hub id.
        progress: called after each tensor and file.

    Raises:
        CheckpointError: there is no such model.
    """
    folder = find_model_folder(name)
    index = read_json(folder / INDEX_FILE)
    with quiet_loading():
        parts, wrong_parts = _open_parts(folder, index)
        models = {part: parts[part] for part in MODELS if part in parts}
        listed, sums = _listed_sums(folder)
        meter = _Meter(progress, _bytes_to_read(folder, models, listed))
        context_dim = models["edit_head"].config.get("context_dim") if "edit_head" in models else None
        weights = {
            part: _read_part(part, model, folder / part, context_dim, meter) for part, model in models.items()
        }
        num_visual_tokens = index.get("num_visual_tokens", NUM_VISUAL_TOKENS)
        return [
            Check("parts", f"{len(PARTS)} of known classes", wrong_parts),
            _tensors_check(weights),
            Check("widths", "the parts fit each other", check_widths(models)),
            _vocabulary_check(parts, weights, num_visual_tokens),
            sums or check_sums(folder, listed, meter),
        ]


# Parts: are they there, and do their configurations describe something?


def _open_parts(folder: Path, index: Mapping[str, Any]) -> tuple[dict[str, Any], list[Finding]]:
    """Returns the parts, those with weights on the meta device, and what is wrong with the others."""
    parts, findings = {}, []
    for part in PARTS:
        entry = index.get(part)
        if not isinstance(entry, list):
            cause = "this is another kind of pipeline, or was saved without this part"
            findings.append(Finding(part, (INDEX_FILE,), "does not name this part", cause))
            continue
        try:
            if part in MODELS:
                parts[part] = empty_model(folder / part, part_class(folder, part, entry))
            else:
                parts[part] = load_part(folder, part, entry, torch.float32)
        except CheckpointError as error:
            findings.append(_from_error(part, error))
    return parts, findings


def _from_error(part: str, error: CheckpointError) -> Finding:
    """Returns what an error says, as a finding: what is wrong, then mostly what to do."""
    problem, _, cause = str(error).partition("; ")
    return Finding(part, (), problem, cause)


# Tensors: present, shaped as the configuration says, finite, and not differences of weights.


@dataclass
class _PartWeights:
    """What the weight files of one part hold."""

    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def _tensors_check(weights: Mapping[str, _PartWeights]) -> Check:
    num = sum(len(part.shapes) for part in weights.values())
    findings = [finding for part in weights.values() for finding in part.findings]
    return Check("tensors", f"{num} in {len(weights)} parts, all as configured and finite", findings)


def _read_part(part: str, model: Any, where: Path, context_dim: int | None, meter: "_Meter") -> _PartWeights:
    """Returns what is in the weight files of a part, and what is wrong with it.

    Args:
        part: its name.
        model: it without weights, as its configuration says.
        where: its folder.
        context_dim: width C that the edit head gives, for the likely cause.
        meter: counts the bytes.
    """
    expected = {_known_name(name): tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    elsewhere = {_known_name(name) for name in getattr(model, "all_tied_weights_keys", {})}
    read, norms = _PartWeights(), {}
    try:
        files = _weight_files(where, model)
    except CheckpointError as error:
        read.findings.append(_from_error(part, error))
        return read
    for file, indexed in files.items():
        names = {_known_name(name) for name in indexed} or set(expected)
        try:
            weights = Weights(file)
        except CheckpointError as error:
            read.findings.append(_lost_file(part, file, names, error))
            elsewhere |= names
            continue
        for stored, tensor in weights.items():
            name = _known_name(stored)
            read.shapes[name] = tuple(tensor.shape)
            finding = _shape_finding(part, stored, read.shapes[name], expected.get(name), context_dim)
            read.findings += filter(None, (finding, broken := _non_finite(part, stored, tensor)))
            if _NORM.fullmatch(name) and not broken:
                norms[stored] = tensor.float().abs().mean().item()
            meter.add(tensor.numel() * tensor.element_size())
    cause = "weights of another model than config.json, or saved incompletely"
    missing = sorted(expected.keys() - read.shapes.keys() - elsewhere)
    read.findings += [Finding(part, (name,), "is missing", cause) for name in missing]
    read.findings = [*_grouped(read.findings), *_delta_findings(part, norms)]
    return read


def _lost_file(part: str, file: Path, names: Iterable[str], error: CheckpointError) -> Finding:
    """Returns a finding for a weight file that cannot be opened."""
    if not file.is_file():
        problem = f"is not there, nor are its tensors, {min(names)} for instance"
        sharded = "-of-" in file.name
        cause = "a missing shard: copy or download it again" if sharded else "no weights, or no safetensors"
        return Finding(part, (file.name,), problem, cause)
    reason = str(error.__cause__).splitlines()[0]
    cause = "a truncated file: copy or download it again"
    return Finding(part, (file.name,), f"is damaged or cut off ({reason})", cause)


def _known_name(name: str) -> str:
    """Returns one name for all the names that the libraries read a tensor by."""
    name = re.sub(r"^vision_tower\.vision_model\.", "vision_tower.", saved_name(name))
    return re.sub(
        r"(\.attentions\.\d+\.)(query|key|value|proj_attn)\.",
        lambda match: f"{match[1]}{_OLD_ATTENTION[match[2]]}.",
        name,
    )


def _weight_files(where: Path, model: Any) -> dict[Path, list[str]]:
    """Returns the weight files that a part should have, each with the names that an index gives it."""
    stem = "model" if isinstance(model, PreTrainedModel) else "diffusion_pytorch_model"
    index = where / f"{stem}.safetensors.index.json"
    if not index.is_file():
        return {where / f"{stem}.safetensors": []}
    files: dict[Path, list[str]] = {}
    for name, file in read_json(index).get("weight_map", {}).items():
        files.setdefault(where / file, []).append(name)
    return files


def _shape_finding(
    part: str, name: str, found: tuple[int, ...], expected: tuple[int, ...] | None, context_dim: int | None
) -> Finding | None:
    """Returns a finding for a shape that is not the expected one, None if there is no such tensor.

    A wrong number of rows of the vocabulary is left to the vocabulary's check.
    """
    if expected is None:
        cause = "weights of another model than config.json, or saved with something else"
        return Finding(part, (name,), "is not part of this model", cause)
    rows_alone = _known_name(name) in (EMBEDDINGS, LM_HEAD) and found[1:] == expected[1:]
    if found == expected or rows_alone:
        return None
    cause = "weights of another size than config.json says"
    if part == "unet" and name == "conv_in.weight" and 2 * found[1] == expected[1]:
        cause = f"a text-to-image UNet: its {found[1]} channels were not widened for the source picture"
    elif part == "unet" and re.search(r"\.attn2\.to_[kv]\.weight$", name) and found[-1] != context_dim:
        cause = _other_unet(found[-1], context_dim)
    return Finding(part, (name,), f"is {found}, expected {expected}", cause)


def _other_unet(context: Any, given: Any) -> str:
    return f"this UNet is of another model: its context is {context} wide, the edit head gives {given}"


def _non_finite(part: str, name: str, tensor: Tensor) -> Finding | None:
    if tensor.numel() == 0 or all(bound.isfinite() for bound in torch.aminmax(tensor)):
        return None  # the extremes of a tensor with a NaN are NaN, and take no memory, unlike `isfinite`
    num, num_nan = int((~tensor.isfinite()).sum()), int(tensor.isnan().sum())
    kind = "NaN" if num_nan else "infinite"
    cause = "training diverged before it was saved, or the file was changed"
    if not num_nan and tensor.dtype == torch.float16:
        cause = "values too large for float16: convert again, to bfloat16 or float32"
    return Finding(part, (name,), f"is not finite: {num} of {tensor.numel()} values are {kind}", cause)


def _delta_findings(part: str, norms: Mapping[str, float]) -> list[Finding]:
    """Returns a finding if the norms' mean absolute values are those of differences between two models."""
    if not norms or (typical := median(norms.values())) >= _SMALLEST_NORM:
        return []
    problem = f"and its like are about {typical:.1g}, where a language model's norms are about 1"
    cause = "these look like delta weights; convert them with --base"
    return [Finding(part, tuple(norms), problem, cause)]


def _grouped(findings: Iterable[Finding]) -> list[Finding]:
    """Returns one finding for all tensors of a part that are wrong for the same reason."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.part, finding.cause), []).append(finding)
    return [
        Finding(part, tuple(name for one in group for name in one.names), group[0].problem, cause)
        for (part, cause), group in groups.items()
    ]


# Widths: do the parts fit each other?


def check_widths(models: Mapping[str, Any]) -> list[Finding]:
    """Returns where one part gives another width than the next one takes, by their configurations.

    Args:
        models: the parts that are there; any of `MODELS` may be missing.
    """
    config = {part: model.config for part, model in models.items()}
    states = config["mllm"].get_text_config().hidden_size if "mllm" in config else None
    context = config["edit_head"].get("context_dim") if "edit_head" in config else None
    takes_text = "unet" in config and config["unet"].get("class_embed_type") == "projection"
    text = context * config["edit_head"].num_queries if context and takes_text else None
    latents = config["vae"].get("latent_channels") if "vae" in config else None
    head = "this edit head is of another model than the language model, which gives states of its own width"
    other = "this UNet is of another model than the edit head, which has a number of queries of its own"
    narrow = "a text-to-image UNet, not widened for the source picture, or another autoencoder's UNet"
    rules = [
        ("edit_head", "mllm_dim", states, "what the language model gives", head),
        ("unet", "cross_attention_dim", context, "what the edit head gives", None),
        ("unet", "projection_class_embeddings_input_dim", text, "all that the edit head gives", other),
        ("unet", "in_channels", latents and 2 * latents, "noisy latents and source latents", narrow),
        ("unet", "out_channels", latents, "the autoencoder's latents", "another autoencoder's UNet"),
    ]
    findings = []
    for part, key, wanted, what, cause in rules:
        if part in config and wanted is not None and (got := config[part].get(key)) != wanted:
            problem = f"is {got}, expected {wanted}: {what}"
            findings.append(Finding(part, (key,), problem, cause or _other_unet(got, wanted)))
    return findings


# Vocabulary: tokenizer, embeddings and special tokens.


def _vocabulary_check(
    parts: Mapping[str, Any], weights: Mapping[str, _PartWeights], num_visual_tokens: int
) -> Check:
    if "processor" not in parts:
        return Check("vocabulary", "not looked at, since there is no processor", [])
    processor, findings = parts["processor"], []
    num_rows = len(processor.tokenizer)
    if "mllm" in parts:
        config, shapes = parts["mllm"].config, weights["mllm"].shapes
        sizes = {name: shapes[name][0] for name in (EMBEDDINGS, LM_HEAD) if shapes.get(name)}
        sizes["vocab_size"] = config.get_text_config().vocab_size
        findings += check_vocabulary_size(num_rows, sizes, num_visual_tokens)
        findings += check_image_token(processor, config)
        num_rows = min(sizes.values())
    findings += check_tokens(processor, num_rows, num_visual_tokens)
    return Check("vocabulary", f"{num_rows} tokens and as many rows; each special token is one id", findings)


def check_vocabulary_size(num_tokens: int, sizes: Mapping[str, int], num_visual_tokens: int) -> list[Finding]:
    """Returns which of the language model's sizes are not the tokenizer's.

    Args:
        num_tokens: number of tokens that the tokenizer knows.
        sizes: rows of the language model's tensors, and its configuration's `vocab_size`, by name.
        num_visual_tokens: number N of visual tokens.
    """
    findings = []
    for name, size in sizes.items():
        if size != num_tokens:
            fewer = "fewer" if size < num_tokens else "more"
            problem = f"has {size} rows, {abs(size - num_tokens)} {fewer} than the tokenizer's {num_tokens}"
            if name == "vocab_size":
                problem = f"is {size}, {abs(size - num_tokens)} {fewer} than the tokenizer's {num_tokens}"
            cause = _vocabulary_cause(size - num_tokens, size, num_visual_tokens)
            findings.append(Finding("mllm", (name,), problem, cause))
    return findings


def _vocabulary_cause(difference: int, size: int, num_visual_tokens: int) -> str:
    added = {
        num_visual_tokens: f"the {num_visual_tokens} visual tokens",
        len(LLAVA_TOKENS): f"LLaVA's {len(LLAVA_TOKENS)} image tokens",
        num_visual_tokens
        + len(LLAVA_TOKENS): f"LLaVA's image tokens and the {num_visual_tokens} visual tokens",
        1: "the image token",
    }
    lacking = "the language model's" if difference < 0 else "the tokenizer's"
    if (tokens := added.get(abs(difference))) is not None:
        return f"just as many as {tokens}: {lacking} files are from before these were added"
    if difference > 0 and size % 64 == 0:
        return "the rows were padded to a multiple of 64: cut them to the tokenizer's number"
    return "tokenizer and language model are of different models"


def check_image_token(processor: Any, config: Any) -> list[Finding]:
    """Returns a finding if the language model looks for the picture at another token than the processor."""
    image_id = processor.tokenizer.convert_tokens_to_ids(processor.image_token)
    if config.image_token_id == image_id:
        return []
    problem = f"is {config.image_token_id}; the tokenizer's id of {processor.image_token} is {image_id}"
    return [
        Finding("mllm", ("image_token_id",), problem, "processor and language model are of different models")
    ]


def check_tokens(processor: Any, num_rows: int, num_visual_tokens: int) -> list[Finding]:
    """Returns what is wrong with the special tokens and the chat template.

    Args:
        processor: tokenizer and image token.
        num_rows: rows of the embeddings.
        num_visual_tokens: number N of visual tokens.
    """
    tokenizer = processor.tokenizer
    visual = visual_tokens(num_visual_tokens)
    tokens = {token: token for token in (processor.image_token, *visual)}
    tokens |= {f"{kind}_token": getattr(tokenizer, f"{kind}_token") for kind in ("bos", "eos", "pad")}
    findings = []
    for kind, token in tokens.items():
        ids = tokenizer.encode(token, add_special_tokens=False) if token is not None else []
        if token is None:
            cause = "the tokenizer was saved without it; set it in tokenizer_config.json"
            findings.append(Finding("processor", (kind,), "is not set", cause))
        elif len(ids) != 1 or (kind == token and ids[0] == tokenizer.unk_token_id):
            problem = f"is the ids {ids}, expected one of its own"
            cause = "it was not added to the tokenizer as a special token"
            findings.append(Finding("processor", (token,), problem, cause))
        elif ids[0] >= num_rows:
            problem = f"has the id {ids[0]}; the embeddings end at row {num_rows - 1}"
            cause = "the embeddings are from before it was added"
            findings.append(Finding("processor", (token,), problem, cause))
    if not any(set(finding.names) & {processor.image_token, *visual} for finding in findings):
        findings += _dialogue_findings(processor, visual)
    return _grouped(findings)


def _dialogue_findings(processor: Any, visual: Sequence[str]) -> list[Finding]:
    """Returns what is wrong with a dialogue, where each of the tokens in it has one id."""
    tokenizer = processor.tokenizer
    ids = tokenizer.convert_tokens_to_ids(list(visual))
    if ids != list(range(ids[0], ids[0] + len(ids))):
        cause = "they were added in another order, or one by one between other tokens"
        return [
            Finding(
                "processor", tuple(visual), f"has, with those after it, the ids {ids}, not in a row", cause
            )
        ]
    try:
        text = dialogue_text(processor, question("make it red"), answer("Red.", len(visual)))
    except Exception as error:  # templates are programs, and fail in any way
        reason = f"cannot be rendered: {type(error).__name__}: {error}"
        return [
            Finding("processor", ("chat_template",), reason, "write it for a user's and an assistant's turn")
        ]
    findings = []
    if (times := text.count(processor.image_token)) != 1:
        problem = f"gives the image token {processor.image_token} {times} times, expected once"
        cause = "the template of another model"
        findings.append(Finding("processor", ("chat_template",), problem, cause))
    row = tokenizer(text, add_special_tokens=False).input_ids
    start = row.index(ids[0]) if ids[0] in row else len(row)
    if row[start : start + len(ids)] != ids:
        problem = f"does not begin the ids {ids} in a dialogue, but {row[start : start + len(ids)]}"
        cause = "the tokenizer puts something between the visual tokens, or the template drops the answer"
        findings.append(Finding("processor", (visual[0],), problem, cause))
    return findings


# Checksums, as they were written with the model.


def _listed_sums(folder: Path) -> tuple[dict[str, str], Check | None]:
    """Returns the SHA-256 of each file as `mgie.json` has them; or none, and the check that says so."""
    nothing = f"no list in {PROVENANCE_FILE}, so nothing was compared"
    if not (folder / PROVENANCE_FILE).is_file():
        return {}, Check("checksums", nothing, [])
    try:
        listed = read_json(folder / PROVENANCE_FILE).get("sha256", {})
    except CheckpointError as error:
        return {}, Check("checksums", nothing, [_from_error(PROVENANCE_FILE, error)])
    if not isinstance(listed, dict):
        cause = "write the model again"
        finding = Finding(PROVENANCE_FILE, ("sha256",), "is no object of files and checksums", cause)
        return {}, Check("checksums", nothing, [finding])
    return listed, None if listed else Check("checksums", nothing, [])


def check_sums(folder: Path, listed: Mapping[str, str], meter: "_Meter") -> Check:
    """Returns which files of a model are not those that were written with it.

    Args:
        folder: the model.
        listed: SHA-256 by relative path.
        meter: counts the bytes.
    """
    findings = []
    for name, digest in listed.items():
        if not (folder / name).is_file():
            cause = "an incomplete copy: copy or download it again"
            findings.append(Finding(PROVENANCE_FILE, (name,), "is not there", cause))
            continue
        if sha256_of(folder / name) != digest:
            cause = "changed or damaged after the model was written: copy or download it again"
            findings.append(Finding(PROVENANCE_FILE, (name,), "has another checksum than listed", cause))
        meter.add((folder / name).stat().st_size)
    paths = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())
    others = [path.as_posix() for path in paths if path.as_posix() not in listed]
    others = [name for name in others if name != PROVENANCE_FILE and not Path(name).name.startswith(".")]
    for name in others:
        if Path(name).parts[0] in PARTS:  # others, a README for instance, are not read with the model
            cause = "added after the model was written: remove it, or write the model again"
            findings.append(Finding(PROVENANCE_FILE, (name,), "is not in the list", cause))
    beside = f"; not listed: {', '.join(others)}" if others else ""
    return Check("checksums", f"{len(listed)} files as they were written{beside}", findings)


@dataclass
class _Meter:
    """Counts the bytes that were read."""

    progress: Progress
    total: int
    done: int = 0

    def add(self, num: int) -> None:
        self.done += num
        self.progress(self.done, max(self.total, self.done))


def _bytes_to_read(folder: Path, models: Iterable[str], listed: Iterable[str]) -> int:
    weights = (file for part in models for file in (folder / part).glob("*.safetensors"))
    files = [*weights, *(folder / name for name in listed)]
    return sum(file.stat().st_size for file in files if file.is_file())


# The self-test: an edit, as a user would make one.


def check_edit(load: Callable[[], "MGIEPipeline"], num_inference_steps: int = 2) -> Check:
    """Returns whether a model loads and edits a made picture.

    Args:
        load: loads the pipeline.
        num_inference_steps: few, since it is not asked whether the edit is a good one.
    """
    photo = _photo()
    try:
        pipeline = load()
    except CheckpointError as error:
        return Check("edit", "", [_from_error("edit", error)])
    try:
        imagination = pipeline.encode_instruction(photo, "make it red")
        options: dict[str, Any] = {"imagination": imagination, "num_inference_steps": num_inference_steps}
        bare, edit = (
            pipeline(photo, generator=torch.Generator().manual_seed(0), **options, **form).images[0]
            for form in ({"keep_native": False, "output_type": "np"}, {})
        )
    except Exception as error:  # a wrong model fails anywhere in the libraries
        problem = f"stopped: {type(error).__name__}: {error}"
        cause = "the parts do not work together; --debug with `mgie edit` shows where"
        return Check("edit", "", [Finding("edit", (), problem, cause)])
    words = imagination.expressive_instructions[0]
    summary = f"{photo.width} x {photo.height} pixels in {num_inference_steps} steps, imagined as: {words}"
    return Check("edit", summary, check_picture(photo, bare, edit))


def check_picture(photo: Image.Image, bare: np.ndarray, edit: Image.Image) -> list[Finding]:
    """Returns what is wrong with an edit.

    Args:
        photo: what was edited.
        bare: (H, W, 3) in [0, 1], as it was decoded, at working size.
        edit: the result for the user.
    """
    findings = []
    if not np.isfinite(bare).all():
        num, cause = (
            int((~np.isfinite(bare)).sum()),
            "a part overflows in this number type: try --dtype float32",
        )
        findings.append(Finding("edit", (), f"{num} of {bare.size} values are not finite", cause))
    elif np.ptp(bare, axis=(0, 1)).max() < 1 / 255:
        cause = "the weights are empty, or the UNet and the autoencoder are of different models"
        findings.append(Finding("edit", (), "the decoded picture is of one colour", cause))
    if edit.size != photo.size or edit.mode != "RGB":
        problem = f"the result is {edit.mode} {edit.size}, expected RGB {photo.size}"
        findings.append(Finding("edit", (), problem, "the working size in model_index.json is wrong"))
    return findings


def _photo() -> Image.Image:
    """Returns a picture with soft ground and hard edges, of a size that is no multiple of anything."""
    y, x = np.mgrid[0:76, 0:100]
    ground = np.stack([x / 99, y / 75, 0.5 + 0 * x], axis=-1)
    ground[(x - 60) ** 2 + (y - 30) ** 2 < 400] = (0.9, 0.8, 0.3)
    return Image.fromarray((255 * ground).astype(np.uint8))
