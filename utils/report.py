"""The doctor's findings as one HTML page: no network needed, thumbnails inside, readable on a phone."""

from __future__ import annotations

import base64
from collections.abc import Callable
from html import escape
from pathlib import Path

import cv2
import numpy as np

from utils import survey
from utils.faults import Finding, Item
from utils.files import write_text
from utils.images import ImageError, encode, read_image, read_mask, resize, to_uint8
from utils.kinds import NOTE
from utils.segmenter import Segmenter
from utils.sheets import side_by_side
from utils.survey import Listing, Record

EXAMPLES = 8
HEIGHT = 150
SHARE_BINS = 20
BROADEST = 3.0  # of a thumbnail, times its height

STYLE = """
:root{color-scheme:light dark;--ink:#1c1c1e;--soft:#6b6b70;--line:#d8d8dc;--page:#fff;--bar:#3b6ea5}
@media(prefers-color-scheme:dark){:root{--ink:#ececf0;--soft:#a0a0a8;--line:#3a3a40;--page:#161618;--bar:#7fb0e6}}
body{font:16px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:70rem;margin:0 auto;padding:1rem}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin:0 0 .3rem}section{border-top:1px solid var(--line);padding:1rem 0}
.level{font-size:.8rem;padding:.1rem .45rem;border-radius:.6rem;color:#fff;background:#777;margin-right:.4rem;white-space:nowrap}
.wrong{background:#b3261e}.untidy{background:#9a6700}p{margin:.2rem 0}.soft{color:var(--soft)}
.cases{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,15rem),1fr));gap:.8rem;margin-top:.6rem}
figure{margin:0;min-width:0}figure img{max-width:100%;height:auto;display:block;border-radius:4px}
figcaption{font-size:.85rem;overflow-wrap:anywhere}
summary{cursor:pointer;margin-top:.5rem}details p{font-size:.85rem;overflow-wrap:anywhere}
svg{width:100%;max-width:40rem;height:auto}svg rect{fill:var(--bar)}svg text{fill:var(--ink);font:11px system-ui,sans-serif}
"""
LISTED = 200


def write(
    path: Path,
    title: str,
    facts: list[str],
    findings: list[Finding],
    found: Listing,
    network: Segmenter | None,
) -> None:
    """Write the page. `facts`: lines for its head, what was looked at and how."""
    good = not any(finding.kind.level != NOTE for finding in findings)
    head = "No faults found." if good else "Faults found, the worst first."
    parts = [f"<h1>Dataset doctor: {escape(title)}</h1>", f"<p><strong>{head}</strong></p>"]
    parts += [f"<p class=soft>{escape(line)}</p>" for line in facts]
    parts += [_section(finding, network) for finding in findings]
    parts.append(_histograms(found.records))
    write_text(
        path,
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width,initial-scale=1">'
        f"<title>Dataset doctor: {escape(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n",
    )


def shares(records: list[Record]) -> list[int]:
    """How many masks have 0-5 %, 5-10 %, ... of their photo as person."""
    found = [record.share for record in records if record.share is not None]
    return np.histogram(found, SHARE_BINS, (0, 1))[0].tolist()


def resolutions(records: list[Record]) -> dict[str, int]:
    """How many photos have a shorter side of up to 128, 256, 512, ... pixels."""
    edges = [0, 128, 256, 512, 1024, 2048, 4096, 1 << 30]
    found = np.histogram([min(record.size) for record in records if min(record.size)], edges)[0]
    names = [*(f"below {edge}" for edge in edges[1:-1]), f"{edges[-2]} and more"]
    return dict(zip(names, found.tolist(), strict=True))


def _section(finding: Finding, network: Segmenter | None) -> str:
    kind = finding.kind
    figures = [_figure(finding.key, item, network) for item in finding.items[:EXAMPLES]]
    rest = finding.items[EXAMPLES:]
    names = ", ".join(escape(item.name) for item in rest[:LISTED]) + (", ..." if len(rest) > LISTED else "")
    more = f"<details><summary>{len(rest)} more</summary><p>{names}</p></details>" if rest else ""
    return (
        f"<section id={finding.key}><h2><span class='level {kind.level}'>{kind.level}</span>"
        f"{len(finding.items):,} &times; {escape(kind.title)}</h2>"
        f"<p>Why it matters: {escape(kind.why)}</p><p>What to do: {escape(kind.remedy)}</p>"
        f"<div class=cases>{''.join(figures)}</div>{more}</section>"
    )


def _figure(key: str, item: Item, network: Segmenter | None) -> str:
    picture = _thumbnail(key, item, network)
    image = ""
    if picture is not None:
        data = base64.b64encode(encode(picture, ".jpg")).decode()
        height, width = picture.shape[:2]
        image = f"<img width={width} height={height} alt='' src='data:image/jpeg;base64,{data}'>"
    remark = f"<br><span class=soft>{escape(item.remark)}</span>" if item.remark else ""
    return f"<figure>{image}<figcaption>{escape(item.name)}{remark}</figcaption></figure>"


def _thumbnail(key: str, item: Item, network: Segmenter | None) -> np.ndarray | None:
    """Photo and mask side by side; the two photos of copies; beside a mask off the person what the network sees."""
    try:
        if key in ("copies", "copies_across", "leak", "near"):
            return _row([_photo(record) for record in item.records])
        if key == "same_mask":
            return _row([_photo(item.records[0]), _mask(item.records[0]), _photo(item.records[1])])
        if not item.records:
            return None
        record = item.records[0]
        photo = _photo(record)
        pictures = [photo, _mask(record)]
        if network and key in ("off", "disputed", "inverted", "empty", "full"):
            pictures.append(_grey(network(photo)))
        return _row(pictures)
    except (ImageError, OSError):
        return None


def _row(pictures: list[np.ndarray]) -> np.ndarray:
    """Side by side at one height, or smaller where one is very wide."""
    aspect = sum(picture.shape[1] / picture.shape[0] for picture in pictures)
    height = max(24, round(min(HEIGHT, HEIGHT * BROADEST / aspect)))
    scaled = [resize(p, height, max(1, round(height * p.shape[1] / p.shape[0]))) for p in pictures]
    return side_by_side(scaled, 4)


def _photo(record: Record) -> np.ndarray:
    return (
        read_image(record.image, at_least=2 * HEIGHT)
        if isinstance(record.image, Path)
        else record.image.read()
    )


def _mask(record: Record) -> np.ndarray:
    """The mask as training reads it, and where that differs, as it was meant."""
    seen = read_mask(record.mask) if isinstance(record.mask, Path) else record.mask.read()
    picture = _grey(seen)
    meant = survey.meant_mask(record) if record.misread else None
    return picture if meant is None else side_by_side([picture, _grey(meant.astype(np.float32) / 255)], 4)


def _grey(alpha: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(to_uint8(alpha), cv2.COLOR_GRAY2RGB)


def _histograms(records: list[Record]) -> str:
    counts = shares(records)
    judged = [record for record in records if record.share is not None]
    soft = sum(record.soft for record in judged)
    named = {f"{100 * place // SHARE_BINS} %": count for place, count in enumerate(counts)}
    parts = {
        part: sum(record.part == part for record in records)
        for part in dict.fromkeys(r.part for r in records)
    }
    mean = float(np.mean([record.share for record in judged])) if judged else 0.0
    lines = [
        ", ".join(f"{count:,} in {part}" if part else f"{count:,} pairs" for part, count in parts.items()),
        f"{soft:,} masks are soft, {len(judged) - soft:,} hard",
        f"the person is {mean:.0%} of all pixels, mean over the photos",
    ]
    return (
        f"<section><h2>The set</h2>{''.join(f'<p>{line}.</p>' for line in lines)}"
        f"<p>Share of the photo that is person, from ... on:</p>{_bars(named, every=2)}"
        f"<p>Shorter side of the photos in pixels:</p>{_bars(resolutions(records))}</section>"
    )


def _bars(counts: dict[str, int], every: int = 1) -> str:
    """A histogram as inline SVG."""
    width, height, top = 600, 110, max([1, *counts.values()])
    step = width / len(counts)
    pieces: list[str] = []
    scale: Callable[[int], float] = lambda count: height * count / top  # noqa: E731
    for place, (name, count) in enumerate(counts.items()):
        tall = scale(count)
        pieces.append(
            f'<rect x="{place * step + 1:.1f}" y="{14 + height - tall:.1f}" width="{step - 2:.1f}" height="{tall:.1f}">'
            f"<title>{escape(name)}: {count:,}</title></rect>"
        )
        middle = place * step + step / 2
        if count:
            pieces.append(
                f'<text x="{middle:.1f}" y="{10 + height - tall:.1f}" text-anchor="middle">{count}</text>'
            )
        if place % every == 0:
            pieces.append(
                f'<text x="{middle:.1f}" y="{height + 28}" text-anchor="middle">{escape(name)}</text>'
            )
    return f'<svg viewBox="0 0 {width} {height + 34}" role="img">{"".join(pieces)}</svg>'
