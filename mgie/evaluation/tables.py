"""Results as tables: JSON with every case, Markdown for people; the same results give the same bytes."""

import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mgie.errors import DataError
from mgie.files import write_whole

MODEL, BARE, COPY, AUTOENCODER = "model", "model, bare", "copy input", "autoencoder only"
ROWS: Mapping[str, str] = {
    MODEL: "the edit as users get it, at the photograph's own size",
    BARE: "the decoded picture at working size, without the way back, against the target at that size",
    COPY: "the photograph unchanged: what doing nothing costs",
    AUTOENCODER: "the target after the autoencoder and the way back: what is lost without painting",
}
"""What each row of the tables is."""

_DIGITS = 5
_STANDARD_ERROR = "l1_standard_error"
_HEADINGS = {
    "l1": "L1",
    "ssim": "SSIM",
    "lpips": "LPIPS",
    "clip_image": "CLIP image",
    "clip_text": "CLIP text",
    "dino": "DINO",
    "success": "edit success",
}
Figures = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One record and what came of it."""

    id: str
    family: str
    """Family of the made edit; "other" for pairs of unknown origin."""
    kind: str
    """Kind of the family: see `Family.kind`; "other" for pairs of unknown origin."""
    instruction: str
    expressive_instruction: str
    """What the model wrote."""
    figures: Mapping[str, Figures]
    """Metrics by name for each row; `success` is 1 or 0 and only there for made edits."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One statement about how a model behaves."""

    name: str
    value: float
    wanted: str
    met: bool


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """All that was found out about one model; either part may be empty."""

    model: str
    cases: Sequence[Case] = ()
    findings: Sequence[Finding] = ()


def to_json(evaluation: Evaluation) -> str:
    """Returns the figures overall and by family, the findings, and every case, as indented JSON."""
    values = {
        "model": evaluation.model,
        **_summary(evaluation.cases),
        "behaviour": [asdict(finding) for finding in evaluation.findings],
        "cases": [asdict(case) for case in evaluation.cases],
    }
    return json.dumps(_rounded(values), indent=1, ensure_ascii=False) + "\n"


def to_markdown(evaluation: Evaluation) -> str:
    """Returns the tables for people: overall, by family, and behaviour."""
    parts = [f"# Evaluation of {evaluation.model}"]
    if evaluation.cases:
        summary = _summary(evaluation.cases)
        groups = {f"Mean over {summary['count']} edits": summary["micro"]}
        groups |= {f"Mean over {len(summary['families'])} families": summary["macro"]}
        for heading, group in groups.items():
            parts += [f"## {heading}", _overall_table(group["rows"])]
            parts.append(f"L1 of *{MODEL}* is {group['ratio']:.3f} of the L1 of *{COPY}*.")
        parts.append("\n".join(f"- *{row}*: {meaning}." for row, meaning in ROWS.items()))
        if len(summary["kinds"]) > 1:
            parts += ["## By kind of edit", _family_table("kind", summary["kinds"])]
        parts += ["## By family", _family_table("family", summary["families"])]
    if evaluation.findings:
        cells = [
            [finding.name, f"{finding.value:.4g}", finding.wanted, "yes" if finding.met else "no"]
            for finding in evaluation.findings
        ]
        parts += ["## Behaviour", _table(["what", "value", "wanted", "met"], cells)]
    return "\n\n".join(parts) + "\n"


def write_tables(evaluation: Evaluation, folder: Path) -> tuple[Path, Path]:
    """Writes `evaluation.json` and `evaluation.md`, each whole or not at all, and returns their paths.

    Raises:
        DataError: if the folder cannot be written to.
    """
    files = folder / "evaluation.json", folder / "evaluation.md"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in zip(files, (to_json(evaluation), to_markdown(evaluation)), strict=True):
            write_whole(file, text.encode())
    except OSError as error:
        raise DataError(
            f"cannot write to {folder} ({error.strerror}); choose a folder that is writable"
        ) from error
    return files


def success_rates(cases: Sequence[Case]) -> dict[str, dict[str, float]]:
    """Returns number of edits and rate of success, as users get them, by family; for a model's folder."""
    families = _summary(cases).get("families", {})
    return {
        name: {"edits": group["count"], "success": round(group["rows"][MODEL]["success"], 3)}
        for name, group in families.items()
        if "success" in group["rows"][MODEL]
    }


def _summary(cases: Sequence[Case]) -> dict[str, Any]:
    """Returns the means over all cases (micro), over the families' means (macro), and of each family."""
    if not cases:
        return {"count": 0}
    families, kinds = (
        {
            name: _group([case for case in cases if getattr(case, part) == name])
            for name in sorted({getattr(case, part) for case in cases})
        }
        for part in ("family", "kind")
    )
    rows = {row: _means([group["rows"][row] for group in families.values()]) for row in ROWS}
    for figures in rows.values():
        figures.pop(_STANDARD_ERROR, None)  # a mean of standard errors says nothing
    return {
        "count": len(cases),
        "micro": _group(cases),
        "macro": {"count": len(cases), "ratio": _ratio(rows), "rows": rows},
        "kinds": kinds,
        "families": families,
    }


def _group(cases: Sequence[Case]) -> dict[str, Any]:
    rows = {row: _means([case.figures[row] for case in cases]) for row in ROWS}
    for row, figures in rows.items():
        values = [case.figures[row]["l1"] for case in cases]
        if len(values) > 1:
            figures[_STANDARD_ERROR] = statistics.stdev(values) / len(values) ** 0.5
    return {"count": len(cases), "ratio": _ratio(rows), "rows": rows}


def _ratio(rows: Mapping[str, Figures]) -> float:
    return rows[MODEL]["l1"] / max(rows[COPY]["l1"], 1e-6)


def _means(figures: Sequence[Figures]) -> Figures:
    """Returns the mean of each metric over those that have it."""
    values = {name: [row[name] for row in figures if name in row] for row in figures for name in row}
    return {name: statistics.fmean(column) for name, column in values.items()}


def _overall_table(rows: Mapping[str, Figures]) -> str:
    present = {name for figures in rows.values() for name in figures}
    names = [name for name in _HEADINGS if name in present]
    cells = [[row, *(_cell(name, figures) for name in names)] for row, figures in rows.items()]
    return _table(["", *(_HEADINGS[name] for name in names)], cells)


def _family_table(heading: str, families: Mapping[str, dict[str, Any]]) -> str:
    """Returns L1, edit success and SSIM of the rows that differ, one line for each family, or kind."""
    columns: dict[str, Callable[[Mapping[str, Figures]], str]] = {
        f"{_HEADINGS[name]} {row}": lambda rows, name=name, row=row: _cell(name, rows[row])
        for name, row in (
            *(("l1", row) for row in ROWS),
            ("success", MODEL),
            ("success", BARE),
            ("success", AUTOENCODER),
            ("ssim", MODEL),
            ("lpips", MODEL),
        )
    }
    cells = [
        [
            name,
            str(group["count"]),
            f"{group['ratio']:.2f}",
            *(column(group["rows"]) for column in columns.values()),
        ]
        for name, group in families.items()
    ]
    return _table([heading, "edits", "L1 model / copy", *columns], cells)


def _cell(name: str, figures: Figures) -> str:
    if name not in figures:
        return "-"
    if name == "success":
        return f"{figures[name]:.1%}"
    spread = f" ± {figures[_STANDARD_ERROR]:.4f}" if name == "l1" and _STANDARD_ERROR in figures else ""
    return f"{figures[name]:.4f}{spread}"


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(heading) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heading, rule, *rows))


def _rounded(value: Any) -> Any:
    """Returns the values with floats cut to few digits, so that the last bit of a sum changes no file."""
    if isinstance(value, float):
        return round(value, _DIGITS)
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value
