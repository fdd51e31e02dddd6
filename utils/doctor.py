"""python -m utils.doctor DATASET --report doctor.html

Look for what is wrong with photos and masks before training on them: files that do not pair or read, masks of
another size, turned, inverted, empty, 0/1, in the wrong channel or not on the person, copies across the parts.

    python -m utils.doctor DATASET --fix OUT      # writes a repaired copy and OUT/changes.csv

Exit code 0: healthy (perhaps with notes), 1: faults found, 2: bad input. DATASET is never changed.
"""

from __future__ import annotations

import time
from pathlib import Path

from utils import cli, dataset, faults, repair, report, segmenter, survey
from utils.faults import Finding
from utils.files import write_json
from utils.kinds import NOTE
from utils.layouts.base import DatasetError

NAMED = 3
MODEL = Path(__file__).resolve().parent.parent / "checkpoints/live_int8.tflite"


def main() -> int:
    parser = cli.parser(__doc__)
    parser.add_argument("dataset", type=Path, help="folder of photos and masks")
    parser.add_argument("--report", type=Path, metavar="FILE.html", help="write the findings with thumbnails")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the findings with all names")
    parser.add_argument("--fix", type=Path, metavar="OUT", help="write a repaired copy to this new folder")
    add = parser.add_mutually_exclusive_group().add_argument
    add("--model", type=Path, default=MODEL, metavar="FILE", help="network that judges where the person is")
    add("--no-network", action="store_true", help="judge by the files alone")
    parser.add_argument(
        "--photos", type=cli.positive, default=4000, help="the network looks at so many at most"
    )
    parser.add_argument("--layout", metavar="NAME", help="how DATASET is laid out, where that is not clear")
    parser.add_argument("--category", default="person", help="the class that counts where there are several")
    args = parser.parse_args()
    if args.fix:
        repair.check_target(args.fix, args.dataset)
    for written in filter(None, (args.report, args.json)):
        if written.is_dir():  # said before the survey, which may take minutes
            raise ValueError(f"{written}: is a folder: give the name of a file")
    began = time.perf_counter()
    found = survey.listing(args.dataset, args.layout, args.category)
    network = None if args.no_network else segmenter.open(args.model)
    survey.survey(found.records, network, args.photos)
    findings = faults.find(found)
    facts = describe(found, network, args, time.perf_counter() - began)
    for line in [*facts, *map(summary, findings)]:
        print(line)
    if args.report:
        report.write(args.report, args.dataset.name, facts, findings, found, network)
        print(f"written: {args.report}")
    if args.json:
        write_json(args.json, as_json(found, findings))
        print(f"written: {args.json}")
    if args.fix:
        counts = repair.repair(found, findings, args.fix)
        said = ", ".join(f"{count:,} {action}" for action, count in counts.items())
        print(f"written: {args.fix}: {said}; why is in {args.fix / 'changes.csv'}")
    faulty = any(finding.kind.level != NOTE for finding in findings)
    print(following(args, faulty))
    return int(faulty)


def describe(found: survey.Listing, network: segmenter.Segmenter | None, args, seconds: float) -> list[str]:
    """What was looked at, in lines."""
    records = found.records
    looked = sum(record.seen is not None for record in records)
    by = f"{args.model.name} looked at {looked:,} of them" if network else "no network looked at them"
    return [f"{args.dataset}: {len(records):,} pairs, {by}; {seconds:.0f} s"]


def summary(finding: Finding) -> str:
    """One line: level, count, what it is, up to three names."""
    names = ", ".join(
        f"{item.name} ({item.remark})" if item.remark else item.name for item in finding.items[:NAMED]
    )
    more = ", ..." if len(finding.items) > NAMED else ""
    return f"{finding.kind.level:<7}{len(finding.items):>6} x {finding.kind.title}: {names}{more}"


def following(args, faulty: bool) -> str:
    """The next command to run."""
    if args.fix:
        return cli.next_command("train.py", args.fix)
    usual = {"layout": None, "category": "person"}
    how = [
        word
        for name, value in usual.items()
        if getattr(args, name) != value
        for word in (f"--{name}", getattr(args, name))
    ]
    if not faulty:
        try:
            dataset.open_parts(args.dataset, False, args.layout, args.category)
        except DatasetError:  # looked at without what has no partner
            how.append("--skip-unpaired")
        return f"healthy; {cli.next_command('train.py', args.dataset, *how)}"
    doctor = ("-m", "utils.doctor", args.dataset, *how)
    if not args.report:
        return f"{cli.next_command(*doctor, '--report', 'doctor.html')}, and look at it"
    return f"next: open {args.report}, then {cli.pasteable(*doctor, '--fix', _beside(args.dataset))}"


def _beside(folder: str | Path) -> str:
    """Where a repaired copy of a folder may lie: "." and ".." have no name of their own."""
    named = Path(folder).name not in ("", "..")
    return f"{folder if named else Path(folder).resolve()}_fixed"


def as_json(found: survey.Listing, findings: list[Finding]) -> dict:
    """Everything found, with all names, and the two histograms."""
    judged = [record for record in found.records if record.share is not None]
    return {
        "pairs": len(found.records),
        "looked_at_by_network": sum(record.seen is not None for record in found.records),
        "findings": [
            {
                "key": finding.key,
                "level": finding.kind.level,
                "title": finding.kind.title,
                "count": len(finding.items),
                "cases": [{"name": item.name, "remark": item.remark} for item in finding.items],
            }
            for finding in findings
        ],
        "soft": sum(record.soft for record in judged),
        "hard": sum(not record.soft for record in judged),
        "person_share": report.shares(found.records),
        "shorter_side": report.resolutions(found.records),
    }


if __name__ == "__main__":
    cli.run(main)
