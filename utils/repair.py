"""A repaired copy of a dataset: what can be set right without guessing is, the rest is left out and said.

The copy has the standard layout and the same parts. Photos are copied byte by byte (a photo turned by EXIF is
turned by every reader here; its mask is what gets turned). A mask without a fault is copied too; a repaired one
is written as grey PNG.
"""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from utils import cli, faults, survey
from utils.faults import AGREES, DISAGREES, Finding, same_aspect
from utils.files import replacing, write_text
from utils.images import resize, turn, write_image
from utils.survey import Listing, Record

COLUMNS = ("part", "file", "action", "what", "why")
VALUES = {
    "zero_one": "0/1 written as 0/255",
    "ignore": "label 1 written as 255, the ignored outline given to the nearer side",
    "palette": "palette written as grey",
    "channel": "the channel or colour of the person written as grey",
    "labels": "the person's label written as 255",
    "alpha": "alpha channel written as grey",
}


class Plan(NamedTuple):
    """What is done to one pair: why it is left out, or the changes to its mask and why each."""

    left_out: str = ""
    changes: tuple[tuple[str, str], ...] = ()
    invert: bool = False


def check_target(out: Path, dataset: Path) -> None:
    """Raises ValueError unless `out` is a new or empty folder apart from `dataset`."""
    target, source = out.resolve(), dataset.resolve()
    if target == source or source in target.parents or target in source.parents:
        raise ValueError(f"{out}: the repaired copy must lie beside {dataset}, not inside or around it")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"{out}: exists and is not an empty folder: give --fix another one")


def repair(found: Listing, findings: list[Finding], out: Path) -> dict[str, int]:
    """Write the copy and `changes.csv`; returns how many pairs were "kept", "changed" and "left out"."""
    plans = make_plans(found, findings)
    rows, counts = [], {"kept": 0, "changed": 0, "left out": 0}
    for part, path in [*found.lonely, *found.twice]:
        why = (
            "no partner of the same name" if (part, path) in found.lonely else "second file of the same name"
        )
        rows.append((part, f"{path.parent.name}/{path.name}", "left out", "", why))
    for record in cli.progress(found.records, "repair", unit="pair"):
        plan = plans[id(record)]
        if not plan.left_out:
            try:
                _write(record, plan, out)
            except ValueError as error:  # became unreadable, or its network's choice is gone
                plan = Plan(cli.one_line(error))
        action = "left out" if plan.left_out else "changed" if plan.changes else "kept"
        counts[action] += 1
        photo = plan.left_out or ""
        rows.append((record.part, _file(record.image), "left out" if photo else "kept", "", photo))
        for what, why in plan.changes or (("", plan.left_out),):
            rows.append((record.part, _file(record.mask), action, what, why))
    write_text(out / "changes.csv", _table(rows))
    return counts


def make_plans(found: Listing, findings: list[Finding]) -> dict[int, Plan]:
    """The plan of each record, by its id()."""
    shared = {id(i.records[0]): i for f in findings if f.key == "same_mask" for i in f.items}
    owner: dict[bytes, Record] = {}  # of the photos that share a mask the one it suits best
    for item in shared.values():
        record = item.records[0]
        if (record.iou or 0) > max(
            AGREES, owner[record.mask_digest].iou if record.mask_digest in owner else 0
        ):
            owner[record.mask_digest] = record
    plans = {}
    for record in found.records:
        foreign = id(record) in shared and owner.get(record.mask_digest) is not record
        plans[id(record)] = _plan(record, shared[id(record)].remark if foreign else "")
    # Copies come last: one whose twin was left out for another reason is the only one there is.
    stands: dict[int, Record] = {}  # for a copy left out, the one that stays in its place
    for finding in findings:
        if finding.key not in ("copies", "copies_across", "leak"):
            continue
        for item in finding.items:
            record, stays = (standing(record, stands) for record in item.records)
            if record is not stays and not plans[id(stays)].left_out and not plans[id(record)].left_out:
                loser = _worse_mask(record, stays) if finding.key == "copies" else record
                winner = stays if loser is record else record
                plans[id(loser)] = Plan(f"{finding.kind.title}: {winner.name} stays")
                stands[id(loser)] = winner
    return plans


def standing(record: Record, stands: dict[int, Record]) -> Record:
    """The record, or the one that stays in its place."""
    while id(record) in stands:
        record = stands[id(record)]
    return record


def _plan(record: Record, shares_mask: str) -> Plan:
    remarks = {key: remark for key, remark, _ in faults.of_record(record)}
    agrees = record.iou is not None and record.iou > AGREES
    if record.broken:
        return Plan(record.broken)
    if not record.known:
        return Plan(f"{record.held}: not clear which pixels are the person")
    if record.turn == 0:
        return Plan(f"not clear which way the mask must be turned: {remarks['turned']}")
    fits = record.mask_size[::-1] if record.turn >= 5 else record.mask_size
    if not same_aspect(record.size, fits):
        return Plan(f"sizes do not fit: {remarks['size']}")
    if "full" in remarks:
        return Plan("mask covers the whole photo")
    if "off" in remarks:
        return Plan(f"mask not on the person: {remarks['off']}")
    if "empty" in remarks and record.seen is not None:
        return Plan(f"empty mask, but {remarks['empty']}")
    if shares_mask:
        return Plan(f"{shares_mask}, and nothing shows that it belongs here")
    changes = [(VALUES[record.held], record.held)] if record.held else []
    if record.turn != 1:
        witness = "where the network agrees" if agrees else "by the photo's EXIF"
        changes.append((f"mask turned as EXIF {record.turn}, {witness}", remarks["turned"]))
    if fits != record.size:
        changes.append((f"mask resized to {record.size[1]}x{record.size[0]}", "another size than its photo"))
    inverted = "inverted" in remarks
    if inverted and not _certainly_inverted(record):
        return Plan(f"inverted {remarks['inverted']}; shape and network do not both say so")
    if inverted:
        changes.append(("mask turned over", f"inverted {remarks['inverted']}"))
    return Plan("", tuple(changes), inverted)


def _certainly_inverted(record: Record) -> bool:
    """Whether its shape says so, and the network if it looked."""
    network = record.iou is None or (record.iou_inverse > AGREES and record.iou < DISAGREES)
    return record.shape == "probably inverted" and network


def _worse_mask(record: Record, other: Record) -> Record:
    """Of two copies of a photo the one whose mask the network likes less; the later one if it cannot say."""
    if (
        record.mask_digest != other.mask_digest
        and None not in (record.iou, other.iou)
        and record.iou > other.iou
    ):
        return other
    return record


def _write(record: Record, plan: Plan, out: Path) -> None:
    """Copy the photo, and the mask or its repaired form; both whole or not at all."""
    place = out / record.part
    mask = place / "masks" / f"{record.stem}.png"
    if plan.changes or not isinstance(record.mask, Path):
        values = survey.meant_mask(record)
        if values is None:
            raise ValueError(f"{record.mask}: is not what it was when the doctor looked")
        values = resize(turn(values, record.turn), *record.size)
        write_image(mask, 255 - values if plan.invert else values)
    else:
        _copy(record.mask, mask.with_name(record.stem + record.mask.suffix))
    if isinstance(record.image, Path):
        _copy(record.image, place / "images" / (record.stem + record.image.suffix))
    else:
        write_image(place / "images" / f"{record.stem}.png", np.ascontiguousarray(record.image.read()))


def _copy(source: Path, target: Path) -> None:
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def _file(picture: Any) -> str:
    return f"{picture.parent.name}/{picture.name}" if isinstance(picture, Path) else str(picture)


def _table(rows: list[tuple]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(sorted(rows))
    return text.getvalue()
