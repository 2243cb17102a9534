"""A note in a picture's metadata: which model changed it, by which words and seed. Text only.

The note is an XMP block. Beside the edits it says, in IPTC's vocabulary, that the picture is a photograph
with parts made by a trained model, which is what archives and platforms look for.
"""

import html
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

_NAMESPACE = "urn:mgie:edits:1"
_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
_BLOCK = re.compile(r'<rdf:Description rdf:about="" xmlns:mgie="urn:mgie:edits:1".*?/>', re.DOTALL)
_EDITS = re.compile(r'mgie:edits="([^"]*)"')
_PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"></rdf:RDF></x:xmpmeta>'
    '<?xpacket end="w"?>'
)
_END = "</rdf:RDF>"
_MAX_BYTES = 16_000
"""Of the edits told: a JPEG holds 64 kB of metadata in all, so of very many turns the newest are kept."""


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One edit, as a reader of the file needs it to make it again."""

    model: str
    instruction: str
    expressive_instruction: str
    seed: int


def read_edits(xmp: str | None) -> list[Edit]:
    """Returns the edits that a picture's XMP packet tells of, oldest first; none where there is no note."""
    found = _EDITS.search(xmp or "")
    try:
        rows = json.loads(html.unescape(found.group(1))) if found else []
        return [Edit(**row) for row in rows]
    except (ValueError, TypeError):  # somebody else's, or damaged
        return []


def with_edits(xmp: str | None, edits: Sequence[Edit]) -> str:
    """Returns the XMP packet with a note of these edits, in place of an earlier note; the rest stays."""
    rows = [asdict(edit) for edit in edits]
    while len(rows) > 1 and len(json.dumps(rows)) > _MAX_BYTES:
        del rows[0]
    packet = without_edits(xmp)
    if packet is None or packet.count(_END) != 1:
        packet = _PACKET
    block = (
        f'<rdf:Description rdf:about="" xmlns:mgie="{_NAMESPACE}"'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        f' Iptc4xmpExt:DigitalSourceType="{_SOURCE_TYPE}"'
        f' mgie:edits="{html.escape(json.dumps(rows))}"/>'
    )
    return packet.replace(_END, block + _END)


def without_edits(xmp: str | None) -> str | None:
    """Returns the XMP packet without our note."""
    return xmp and _BLOCK.sub("", xmp)
