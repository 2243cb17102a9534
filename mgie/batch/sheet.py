"""The contact sheet of a batch: one page of HTML that needs nothing but the files beside it."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from mgie.batch.run import RowResult

THUMBS = "thumbs"
"""Folder of the small pictures."""

_STYLE = """
:root { color-scheme: light dark; --ground: #f6f6f4; --card: #fff; --ink: #1c1c1a; --soft: #6b6b66;
  --line: #e2e2dd; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ground: #161615; --card: #21211f; --ink: #ecece8;
  --soft: #a3a39c; --line: #35352f; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem; max-width: 90rem; background: var(--ground); color: var(--ink);
  font: 15px/1.45 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.5rem; }
header p, .soft { color: var(--soft); }
header p { margin: .25rem 0 1.5rem; }
main { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(22rem, 100%), 1fr)); }
article, .failed { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; }
article { overflow: hidden; overflow-wrap: anywhere; }
article > p { margin: .35rem .9rem; }
article > p:last-child { margin-bottom: .8rem; font-size: .85rem; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 2px; margin-bottom: .7rem; }
.pair img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; background: var(--ground); }
.instruction { font-weight: 600; }
.failed { margin: 0 0 1.5rem; padding: .8rem 1rem; border-color: var(--bad); }
.failed h2 { margin: 0 0 .4rem; font-size: 1rem; color: var(--bad); }
.failed ul { margin: 0; padding-left: 1.2rem; overflow-wrap: anywhere; }
a { color: inherit; }
"""


def thumb_names(output: str) -> tuple[str, str]:
    """Returns the paths of the small pictures before and after, relative to the batch's folder."""
    return f"{THUMBS}/{output}.before.jpg", f"{THUMBS}/{output}.after.jpg"


def contact_sheet(results: "Sequence[RowResult]", model: str) -> str:
    """Returns the page: failed rows first, then before and after of each edit, in the order of the rows.

    Args:
        results: of all rows.
        model: the model's name.
    """
    failed = [result for result in results if result.status == "failed"]
    edited = [result for result in results if result.status == "ok"]
    count = f"{len(edited)} {'picture' if len(edited) == 1 else 'pictures'} edited"
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{count} by {escape(model)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
        f"<header><h1>{count}</h1><p>by {escape(model)}; a picture opens at full size</p></header>",
    ]
    if failed:
        parts += [
            f'<section class="failed"><h2>{len(failed)} of {len(results)} rows failed</h2>\n<ul>',
            *(
                f"<li>row {result.row}, {escape(result.image)}: "
                f'<span class="soft">{escape(result.error or "")}</span></li>'
                for result in failed
            ),
            "</ul></section>",
        ]
    parts += ["<main>", *map(_card, edited), "</main>\n</body>\n</html>\n"]
    return "\n".join(parts)


def _card(result: "RowResult") -> str:
    assert result.output is not None
    before, after = map(quote, thumb_names(result.output))
    full, name = quote(result.output), escape(result.output)
    shown = f'loading="lazy" alt="{{}}: {escape(result.image)}" title="{{}}"'
    words = result.expressive_instruction
    return (
        f'<article id="row-{result.row}"><a class="pair" href="{full}">'
        f'<img src="{before}" {shown.replace("{}", "before")}>'
        f'<img src="{after}" {shown.replace("{}", "after")}></a>\n'
        f'<p class="instruction">{escape(result.instruction)}</p>\n'
        + (f"<p>{escape(words)}</p>\n" if words else "")
        + f'<p class="soft">{escape(result.id or f"row {result.row}")} &middot; '
        f'<a href="{full}">{name}</a> &middot; seed {result.seed}</p></article>'
    )
