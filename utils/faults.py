"""What can be wrong with a dataset: each check a short function on the records of utils/survey.py."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from utils import edge_offset, lookalike
from utils.kinds import KINDS, LEVELS, NOTE, Kind
from utils.layouts.base import by_source

if TYPE_CHECKING:
    from utils.survey import Listing, Record

TINY = 0.005  # of the picture: some 15 pixels across where the network looks
SOMEBODY = 0.02  # of the picture: less may be a false alarm of the network
AGREES, DISAGREES = 0.7, 0.3  # IoU of mask and network
OFF, DISPUTED = (
    0.3,
    0.6,
)  # of 6,430 real pairs none lies below the first, 16 below the second, half of them right
SURE = 0.75  # of what the network takes for a person, where it hardly doubts
RARE = 0.05
BESIDE = 0.5  # pixels of pictures up to edge_offset.SIDE long
FEWEST = 20  # photos of a source: a single one's edge is blurred, or another one is near
KEPT_FIRST = ("test", "val", "train", "")  # of copies in several parts, the one in the first of these stays


class Item(NamedTuple):
    """One case: what to call it, its pair (and the one it is compared with), a remark, how bad (sorts)."""

    name: str
    records: tuple[Record, ...] = ()
    remark: str = ""
    badness: float = 0.0


@dataclass
class Finding:
    """All cases of one kind, worst first."""

    key: str
    items: list[Item] = field(default_factory=list)

    @property
    def kind(self) -> Kind:
        return KINDS[self.key]


def find(found: Listing, families: list[list[int]] | None = None) -> list[Finding]:
    """All faults of a listing that was surveyed, worst first. `families`: see `same_photos`."""
    records = found.records
    families = same_photos(records) if families is None else families
    cases: dict[str, list[Item]] = defaultdict(list)
    cases["unpaired"] = [
        Item(f"{part}/{path.parent.name}/{path.name}".lstrip("/")) for part, path in found.lonely
    ]
    cases["twice"] = [
        Item(f"{part}/{path.parent.name}/{path.name}".lstrip("/")) for part, path in found.twice
    ]
    for record in records:
        for key, remark, badness in of_record(record):
            cases[key].append(Item(record.name, (record,), remark, badness))
    for check in (_copies, _same_masks):
        for key, items in check(records, families).items():
            cases[key] += items
    shared = {item.name for item in cases["same_mask"]}
    for key in ("off", "disputed"):  # follows from another photo's mask
        cases[key] = [item for item in cases[key] if item.name not in shared]
    cases["beside"] = _beside(records)
    cases["mixed"], cases["same_name"] = _mixed(records), _same_names(records, cases)
    findings = [Finding(key, sorted(items, key=_worst)) for key, items in cases.items() if items]
    rank = list(KINDS)
    return sorted(
        findings,
        key=lambda f: (
            LEVELS.index(f.kind.level),
            -len(f.items) if f.kind.level != NOTE else 0,
            rank.index(f.key),
        ),
    )


def same_photos(records: list[Record]) -> list[list[int]]:
    """Places in `records` of photos that are the same or nearly so, and the matches that say it."""
    by_digest: dict[bytes, int] = {}
    known = []
    for place, record in enumerate(records):
        if record.image_digest:
            first = by_digest.setdefault(record.image_digest, place)
            known += [(first, place)] if first != place else []
    return [
        sorted({n for match in group for n in (match.first, match.second)})
        for group in lookalike.groups([record.look for record in records], known)
    ]


Fault = tuple[str, str, float]  # a key of KINDS, a remark, how bad


def of_record(record: Record) -> list[Fault]:
    """What is wrong with one pair alone; what only follows from another fault is not named."""
    if record.broken:
        return [("unreadable", record.broken, 0.0)]
    found = [wrong_values(record), wrong_size(record)]
    fits = record.turn > 1 or same_aspect(record.size, record.mask_size)
    if record.known and record.turn and fits:
        found.append(wrong_side(record) or off_person(record) or tiny(record))
    return [fault for fault in found if fault]


def same_aspect(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether one is the other made smaller, to within a pixel of rounding or one in a hundred."""
    scale = other[0] / size[0]
    return abs(size[1] * scale - other[1]) <= max(1, 0.01 * other[1], scale)


def wrong_values(record: Record) -> Fault | None:
    """How the mask is held: labels, palettes, channels."""
    if not record.held:
        return None
    key = "palette_misread" if record.held == "palette" and record.misread else record.held
    by = "" if record.known else "not clear which is the person"
    return key, f"the person is {record.person}" if record.person else by, float(not record.known)


def wrong_size(record: Record) -> Fault | None:
    """A mask that must be turned or resized to fit."""
    sizes = "mask {1}x{0}, photo {3}x{2}".format(*record.mask_size, *record.size)
    if record.turn != 1:
        remark = sizes if record.mask_size != record.size else "same size; the network sees it turned"
        return "turned", remark if record.turn else f"{sizes}, not clear which way", 1.0 - bool(record.turn)
    if record.size != record.mask_size:
        return (
            "size",
            sizes,
            abs(1 - record.mask_size[0] * record.size[1] / record.mask_size[1] / record.size[0]),
        )
    unsure = (
        record.orientation > 1 and record.iou is None and (record.orientation < 5 or len({*record.size}) == 1)
    )
    return ("turn_unsure", "", 0.0) if unsure else None


def wrong_side(record: Record) -> Fault | None:
    """Empty, full and inverted masks, by shape and, where it looked, by the network."""
    if record.shape == "empty":
        if record.seen is None:
            return "empty", "", 0.0
        sees = f"the network sees a person on {record.seen:.0%}"
        return ("empty", sees, record.seen) if record.seen > SOMEBODY else ("nobody", "", 0.0)
    if record.shape == "full":
        return None if record.iou is not None and record.iou > AGREES else ("full", "", 0.0)
    if record.iou is None or record.iou_inverse is None:
        return ("inverted", "by its shape", 0.0) if record.shape else None
    witnessed = record.iou_inverse > AGREES and record.iou < DISAGREES
    if not witnessed and not (record.shape and record.iou_inverse > record.iou):
        return None
    by = (
        "by shape and network"
        if witnessed and record.shape
        else "by the network"
        if witnessed
        else "by its shape"
    )
    return "inverted", f"{by}: IoU {record.iou:.2f}, turned over {record.iou_inverse:.2f}", record.iou_inverse


def off_person(record: Record) -> Fault | None:
    """A mask that overlaps little with what the network sees: a fault only where that is sure of somebody."""
    if record.iou is None or record.share is None or record.shape or record.share < SOMEBODY:
        return None
    if record.iou >= DISPUTED:
        return None
    key = "off" if record.iou < OFF and record.seen > SOMEBODY and record.sure > SURE else "disputed"
    return key, f"IoU {record.iou:.2f} with the network", 1 - record.iou


def tiny(record: Record) -> Fault | None:
    if record.share is None or record.shape or record.share >= TINY:
        return None
    return "tiny", f"{record.share:.2%} of the photo", -record.share


def _copies(records: list[Record], families: list[list[int]]) -> dict[str, list[Item]]:
    """Photos that are the same or nearly so, across parts and within; each beside the one that stays."""
    cases: dict[str, list[Item]] = defaultdict(list)
    for family in families:
        members = sorted((records[place] for place in family), key=lambda r: KEPT_FIRST.index(r.part))
        stays: list[Record] = []
        for record in members:
            twin = next((r for r in stays if r.image_digest and r.image_digest == record.image_digest), None)
            other = twin or (stays[0] if stays else None)
            if other is not None:
                across = record.part != members[0].part
                key = ("copies_across" if twin else "leak") if across else "copies" if twin else "near"
                cases[key].append(Item(record.name, (record, other), f"as {other.name}"))
            if record.part == members[0].part:
                stays.append(record)
    return cases


def _same_masks(records: list[Record], families: list[list[int]]) -> dict[str, list[Item]]:
    """Byte-identical masks of photos that are not the same."""
    family = {place: number for number, group in enumerate(families) for place in group}
    sharing: dict[bytes, list[int]] = defaultdict(list)
    for place, record in enumerate(records):
        if record.mask_digest and record.shape not in ("empty", "full") and not record.broken:
            sharing[record.mask_digest].append(place)
    items = []
    for places in sharing.values():
        if len({family.get(place, -1 - place) for place in places}) > 1:
            first = records[places[0]]
            for place in places:
                other = first if place != places[0] else records[places[1]]
                items.append(Item(records[place].name, (records[place], other), f"mask of {other.name}"))
    return {"same_mask": items}


def _mixed(records: list[Record]) -> list[Item]:
    judged = [record for record in records if record.share is not None and not record.shape]
    soft = sum(record.soft for record in judged)
    if not RARE * len(judged) <= soft <= (1 - RARE) * len(judged):
        return []
    rarer = soft <= len(judged) / 2
    return [
        Item(record.name, (record,), "soft" if record.soft else "hard")
        for record in judged
        if record.soft == rarer
    ]


def _beside(records: list[Record]) -> list[Item]:
    """Sources (by the beginning of the names) whose masks are drawn tight or generous, by all of their photos."""
    records = [record for record in records if record.edge is not None]
    sources = by_source((record.stem for record in records), FEWEST)
    if not sources and len(records) >= FEWEST:
        sources = {"all": list(range(len(records)))}
    items = []
    for name, places in sources.items():
        some = [records[place] for place in places]
        pixels = edge_offset.offset(np.mean([record.edge for record in some], axis=0))
        if pixels is not None and abs(pixels) >= BESIDE:
            own = pixels * float(np.median([max(record.size) / record.measured for record in some]))
            where = "outside" if pixels > 0 else "inside"
            items.append(Item(name, (), f"{len(some):,} photos, {abs(own):.1f} pixels {where}", abs(pixels)))
    return items


def _same_names(records: list[Record], cases: dict[str, list[Item]]) -> list[Item]:
    copies = {item.name for key in ("copies_across", "leak") for item in cases[key]}
    counts = Counter(record.stem for record in records)
    return [
        Item(record.name, (record,))
        for record in records
        if counts[record.stem] > 1 and record.part == "train" and record.name not in copies
    ]


def _worst(item: Item) -> tuple[float, str]:
    return -item.badness, item.name
