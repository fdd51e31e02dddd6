"""Each fault planted alone in a good set: the doctor finds it and only it, and --fix does what it says."""

from __future__ import annotations

import base64
import csv
import functools
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from tests import portraits
from tests.conftest import ROOT, refused
from utils import dataset, doctor, edge_offset, faults, lookalike, maskfile, metrics, segmenter, survey
from utils.dataset import DatasetError
from utils.images import encode, read_image, read_mask, turn, write_image

SIZE = (240, 180)
TRAIN, VAL = range(10), range(10, 14)
P = "train/p_9"  # where faults are planted


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("doctor") / "good"
    for part, numbers in (("train", TRAIN), ("val", VAL)):
        for number in numbers:
            add(folder, f"{part}/p_{number}", *person(number))
    return folder


def person(number: int) -> tuple[np.ndarray, np.ndarray]:
    """One of the drawn people that the network finds."""
    return portraits.portrait(known()[0][number], *SIZE)


@functools.cache
def known() -> tuple[list[int], list[int]]:
    """Seeds of drawn people whom the network finds, and of some whom it misses: others after each training of it."""
    network, found, missed = segmenter.open(doctor.MODEL), [], []
    for seed in range(120):
        image, alpha = portraits.portrait(seed, *SIZE)
        image = cv2.imdecode(np.frombuffer(encode(image, ".jpg"), np.uint8), cv2.IMREAD_COLOR_RGB)
        # In the mirror and half as large, as copies are, it may see less of them.
        views = [(image[::step, ::turn], alpha[::step, ::turn]) for step, turn in ((1, 1), (1, -1), (2, 2))]
        alphas = [network(np.ascontiguousarray(view)) for view, _ in views]
        scores = [metrics.iou(seen, truth) for seen, (_, truth) in zip(alphas, views, strict=True)]
        surely = metrics.iou(alphas[0] - 0.4, alpha)  # what it takes for a person with 0.9 and more
        if min(surely, *scores) > 0.93:
            found.append(seed)
        elif max(scores) < 0.3:
            missed.append(seed)
    assert len(found) > 16, "the network finds too few drawn people to test with"
    assert missed
    return found, missed


@pytest.fixture(scope="session")
def network() -> segmenter.Segmenter:
    return segmenter.open(doctor.MODEL)


@pytest.fixture
def work(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "work"))


@pytest.fixture
def examine(network: segmenter.Segmenter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable:
    """The command in this process; returns its exit code and the names by key of its findings."""

    monkeypatch.setattr(segmenter, "open", lambda path: network)

    def run(folder: Path, *words: object) -> tuple[int, dict[str, set[str]]]:
        target = tmp_path / "found.json"
        monkeypatch.setattr(sys, "argv", ["doctor", str(folder), "--json", str(target), *map(str, words)])
        code = doctor.main()
        found = json.loads(target.read_text())["findings"]
        assert all(finding["count"] == len(finding["cases"]) for finding in found)
        return code, {finding["key"]: {case["name"] for case in finding["cases"]} for finding in found}

    return run


def add(folder: Path, name: str, image: np.ndarray, alpha: np.ndarray) -> None:
    part, stem = name.split("/")
    write_image(folder / part / "images" / f"{stem}.jpg", image)
    write_image(folder / part / "masks" / f"{stem}.png", to_bytes(alpha))


def to_bytes(alpha: np.ndarray) -> np.ndarray:
    return np.rint(alpha * 255).astype(np.uint8)


def photo(folder: Path, name: str = P) -> Path:
    return folder / name.split("/")[0] / "images" / f"{name.split('/')[1]}.jpg"


def mask(folder: Path, name: str = P) -> Path:
    return folder / name.split("/")[0] / "masks" / f"{name.split('/')[1]}.png"


def remask(folder: Path, change: Callable[[np.ndarray], object], name: str = P) -> None:
    """Replace a mask by what `change` makes of its uint8 values: an array or a Pillow picture."""
    values = change(to_bytes(read_mask(mask(folder, name))))
    picture = values if isinstance(values, Image.Image) else Image.fromarray(np.ascontiguousarray(values))
    picture.save(mask(folder, name))


def hard(values: np.ndarray) -> np.ndarray:
    return (values > 127).astype(np.uint8)


def in_colours(labels: np.ndarray, colours: dict[int, tuple[int, int, int]]) -> Image.Image:
    picture = Image.fromarray(labels).convert("L").copy()
    indexed = Image.frombytes("P", picture.size, picture.tobytes())
    table = np.zeros((256, 3), np.uint8)
    for label, colour in colours.items():
        table[label] = colour
    indexed.putpalette(table.ravel().tolist())
    return indexed


def with_outline(values: np.ndarray) -> np.ndarray:
    """Person 1, and 255 for the pixels along the edge."""
    person, kernel = hard(values), np.ones((5, 5), np.uint8)
    return np.where(cv2.morphologyEx(person, cv2.MORPH_GRADIENT, kernel) > 0, 255, person).astype(np.uint8)


def in_channels(*channels: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda values: np.stack([values if channel else values * 0 for channel in channels], 2)


def unreadable(folder: Path) -> None:
    photo(folder).write_bytes(photo(folder).read_bytes()[:900])


def unpaired(folder: Path) -> None:
    mask(folder).unlink()


def twice(folder: Path) -> None:
    write_image(photo(folder).with_suffix(".png"), portraits.portrait(30, *SIZE)[0])


def stored_turned(number: int, mask_too: bool) -> Callable[[Path], None]:
    """The photo as a camera held otherwise stores it: turned, with an EXIF note to turn it back."""

    def plant(folder: Path) -> None:
        back = {5: 5, 6: 8, 7: 7, 8: 6}.get(number, number)
        exif = Image.Exif()
        exif[0x0112] = number
        picture = Image.fromarray(turn(read_image(photo(folder)), back))
        picture.save(photo(folder), exif=exif, quality=92)
        if mask_too:
            remask(folder, lambda values: turn(values, back))

    return plant


def copied(part: str, change: Callable[[np.ndarray], np.ndarray] | None = None) -> Callable[[Path], None]:
    """The photo again under another name, as it is or changed with its mask."""

    def plant(folder: Path) -> None:
        if change is None:
            shutil.copy(photo(folder), photo(folder, f"{part}/q"))
            shutil.copy(mask(folder), mask(folder, f"{part}/q"))
        else:
            add(folder, f"{part}/q", change(read_image(photo(folder))), change(read_mask(mask(folder))))

    return plant


def smaller(picture: np.ndarray) -> np.ndarray:
    return cv2.resize(picture, (122, 163), interpolation=cv2.INTER_AREA)


def cropped(picture: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(picture[8:232, 11:175])


def mirrored(picture: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(cropped(picture)[:, ::-1])


def by_mask(change: Callable[[np.ndarray], object]) -> Callable[[Path], None]:
    return lambda folder: remask(folder, change)


def elsewhere(values: np.ndarray) -> np.ndarray:
    values = values * 0
    cv2.rectangle(values, (2, 4), (48, 75), 255, -1, cv2.LINE_AA)
    return cv2.GaussianBlur(values, (5, 5), 0)


def shared_mask(folder: Path) -> None:
    shutil.copy(mask(folder), mask(folder, "train/p_7"))


# name: (how it is planted, the finding, who is named, whether the mask comes back the same: else left out)
FAULTS: dict[str, tuple[Callable[[Path], None], str, set[str], bool]] = {
    "unreadable": (unreadable, "unreadable", {P}, False),
    "unpaired": (unpaired, "unpaired", {"train/images/p_9.jpg"}, False),
    "twice": (twice, "twice", {"train/images/p_9.png"}, True),
    "turned by EXIF 6": (stored_turned(6, True), "turned", {P}, True),
    "turned by EXIF 5": (stored_turned(5, True), "turned", {P}, True),
    "upside down": (stored_turned(3, True), "turned", {P}, True),
    "turned without EXIF": (by_mask(lambda v: turn(v, 6)), "turned", {P}, True),
    "half the size": (by_mask(lambda v: cv2.resize(v, (90, 120), interpolation=cv2.INTER_AREA)), "size", {P}, True),
    "another aspect": (by_mask(lambda v: v[:150]), "size", {P}, False),
    "ignore": (by_mask(with_outline), "ignore", {P}, True),
    "red": (by_mask(in_channels(1, 0, 0)), "channel", {P}, True),
    "blue 0/1": (by_mask(lambda v: in_channels(0, 0, 1)(hard(v))), "channel", {P}, True),
    "coloured": (by_mask(lambda v: hard(v)[..., None] * np.array([128, 0, 200], np.uint8)), "channel", {P}, True),
    "class 15": (by_mask(lambda v: hard(v) * np.uint8(15)), "labels", {P}, True),
    "palette, VOC": (by_mask(lambda v: in_colours(hard(v) * 15, {15: (192, 128, 128)})), "palette_misread", {P}, True),
    "palette, grey": (by_mask(lambda v: in_colours(v, {i: (i,) * 3 for i in range(256)})), "palette", {P}, True),
    "inverted": (by_mask(lambda v: 255 - v), "inverted", {P}, True),
    "empty": (by_mask(lambda v: v * 0), "empty", {P}, False),
    "full": (by_mask(lambda v: v * 0 + 255), "full", {P}, False),
    "not on the person": (by_mask(elsewhere), "off", {P}, False),
    "one mask for two": (shared_mask, "same_mask", {P, "train/p_7"}, True),
    "copy in val": (copied("val"), "copies_across", {P}, False),
    "smaller in val": (copied("val", smaller), "leak", {P}, False),
    "cropped in val": (copied("val", cropped), "leak", {P}, False),
    "mirrored in val": (copied("val", mirrored), "leak", {P}, False),
    "copy in train": (copied("train"), "copies", {"train/q"}, True),
    "0/1": (by_mask(hard), "zero_one", {P}, True),
    "alpha": (by_mask(lambda v: np.dstack([v * 0 + 90, v * 0, v * 0 + 30, v])), "alpha", {P}, True),
}  # fmt: skip


def test_a_good_set_is_healthy(good: Path, examine: Callable, capsys: pytest.CaptureFixture) -> None:
    assert examine(good) == (0, {})
    assert "healthy; next: python train.py" in capsys.readouterr().out
    assert examine(good, "--no-network") == (0, {})


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_found_alone_and_mended(
    work: Path, examine: Callable, tmp_path: Path, name: str
) -> None:
    plant, key, names, comes_back = FAULTS[name]
    truth = read_mask(mask(work))
    plant(work)
    before, out = digest(work), tmp_path / "out"
    code, found = examine(work, "--fix", out)
    notes = found.pop("mixed", None)  # a hard mask among soft ones is told as well, and is no fault
    assert (code, found) == (1, {key: names})
    assert digest(work) == before
    assert mask(out).exists() == comes_back
    assert photo(out).exists() == comes_back
    if comes_back:
        assert np.abs(read_mask(mask(out)) - truth).mean() < 0.02
        assert read_mask(mask(out)).shape == read_image(photo(out)).shape[:2]
        assert photo(out).read_bytes() == photo(work).read_bytes()
    code, found = examine(out)
    assert code == 0, found
    assert found.keys() <= {"mixed", "near"}, (found, notes)
    rows = list(csv.DictReader((out / "changes.csv").open()))
    touched = [row for row in rows if row["action"] != "kept"]
    assert touched
    assert all(row["why"] for row in touched)
    assert {row["file"] for row in rows} >= {f"images/p_{number}.jpg" for number in (*TRAIN, *VAL)}


NOTES: dict[str, tuple[Callable[[Path], None], set[str]]] = {
    "near": (copied("train", mirrored), {"train/q"}),
    "tiny": (
        lambda folder: add(folder, P, wall(), cv2.circle(wall()[..., 0] * 0.0, (60, 60), 4, 1.0, -1)),
        {P},
    ),
    "nobody": (lambda folder: add(folder, P, wall(), np.zeros(SIZE)), {P}),
    "disputed": (lambda folder: add(folder, P, *portraits.portrait(known()[1][0], *SIZE)), {P}),
    "same_name": (lambda folder: add(folder, "val/p_9", *person(16)), {P}),
    "mixed": (by_mask(lambda values: hard(values) * np.uint8(255)), {P}),
}


@pytest.mark.parametrize(("grown", "where"), [(2.0, "outside"), (-2.0, "inside")])
def test_a_source_that_is_drawn_beside_the_edges(tmp_path: Path, grown: float, where: str) -> None:
    folder = tmp_path / "two"
    for seed in range(20):
        image, alpha = portraits.portrait(seed, *SIZE)
        add(folder, f"train/exact_{seed}", image, alpha)
        image, alpha = portraits.portrait(seed + 100, *SIZE)
        add(folder, f"train/beside_{seed}", image, edge_offset.grown(alpha, grown))
    found = survey.listing(folder)
    survey.survey(found.records)
    [finding] = [one for one in faults.find(found) if one.key == "beside"]
    [item] = finding.items
    pixels, side = re.fullmatch(r"20 photos, ([\d.]+) pixels (\w+)", item.remark).groups()
    assert (item.name, side) == ("beside", where)
    assert abs(float(pixels) - 2) <= 0.5


def wall() -> np.ndarray:
    """Stripes of light on a wall without anybody, uint8 [240, 180, 3]."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.dstack([90 + rows // 3, 80 + columns // 2, 200 - rows // 3 + 0 * columns]).astype(np.uint8)


@pytest.mark.parametrize("key", NOTES)
def test_what_is_no_fault_is_noted_only(work: Path, examine: Callable, key: str) -> None:
    plant, names = NOTES[key]
    plant(work)
    code, found = examine(work)
    if key != "mixed":
        found.pop("mixed", None)
    assert (code, found) == (0, {key: names})


@pytest.mark.parametrize("name", ["unreadable", "turned by EXIF 6", "half the size", "ignore", "red", "inverted", "0/1",
                                  "copy in val", "smaller in val"])  # fmt: skip
def test_without_a_network(work: Path, examine: Callable, tmp_path: Path, name: str) -> None:
    plant, key, names, comes_back = FAULTS[name]
    truth = read_mask(mask(work))
    plant(work)
    code, found = examine(work, "--no-network", "--fix", tmp_path / "out")
    found.pop("mixed", None)
    assert (code, found) == (1, {key: names})
    assert mask(tmp_path / "out").exists() == comes_back
    assert not comes_back or np.abs(read_mask(mask(tmp_path / "out")) - truth).mean() < 0.02


@pytest.mark.parametrize("name", ["turned without EXIF", "class 15", "one mask for two"])
def test_without_a_witness_nothing_is_guessed(
    work: Path, examine: Callable, tmp_path: Path, name: str
) -> None:
    plant, key, names, _ = FAULTS[name]
    plant(work)
    assert examine(work, "--no-network", "--fix", tmp_path / "out")[1] == {key: names}
    assert not mask(tmp_path / "out").exists()


class Decoded:
    """A picture out of another layout than files in folders."""

    def __init__(self, values: np.ndarray, name: str) -> None:
        self.values, self.name = values, name

    def read(self) -> np.ndarray:
        return self.values

    def size(self) -> tuple[int, int]:
        return self.values.shape[:2]

    def __str__(self) -> str:
        return self.name


def test_another_layout_is_judged_by_its_pictures(
    tmp_path: Path, examine: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = {number: person(number) for number in TRAIN}
    drawn[5] = drawn[5][0], 1 - drawn[5][1]
    pairs = [
        dataset.Pair(f"n{seed}", Decoded(image, f"{seed} of photos"), Decoded(alpha, f"{seed} of masks"))
        for seed, (image, alpha) in drawn.items()
    ]
    asked = []

    def open_parts(folder: Path, skip_unpaired: bool, layout: str, category: str) -> dict[str, list]:
        asked.append((layout, category))
        return {"train": pairs[:-2], "val": pairs[-2:]}

    monkeypatch.setattr(dataset, "open_parts", open_parts)
    (tmp_path / "odd").mkdir()
    code, found = examine(
        tmp_path / "odd", "--layout", "npy", "--fix", tmp_path / "out", "--report", tmp_path / "r.html"
    )
    assert (asked, code, found) == ([("npy", "person")], 1, {"inverted": {"train/n5"}})
    monkeypatch.undo()
    np.testing.assert_allclose(read_mask(tmp_path / "out/train/masks/n5.png"), 1 - drawn[5][1], atol=1 / 255)
    np.testing.assert_array_equal(read_image(tmp_path / "out/val/images/n8.png"), drawn[8][0])


def test_two_faults_in_one_mask(work: Path, examine: Callable, tmp_path: Path) -> None:
    truth = read_mask(mask(work))
    remask(work, lambda values: 1 - hard(values))
    code, found = examine(work, "--fix", tmp_path / "out")
    assert (code, found.keys() - {"mixed"}) == (1, {"zero_one", "inverted"})
    assert np.abs(read_mask(mask(tmp_path / "out")) - truth).mean() < 0.02


def test_of_two_copies_the_better_mask_stays(work: Path, examine: Callable, tmp_path: Path) -> None:
    copied("train")(work)
    remask(work, lambda values: cv2.dilate(values, np.ones((25, 25), np.uint8)))
    assert examine(work, "--fix", tmp_path / "out") == (1, {"copies": {"train/q"}})
    assert photo(tmp_path / "out", "train/q").exists()
    assert not photo(tmp_path / "out").exists()


def test_of_three_copies_one_stays(work: Path, examine: Callable, tmp_path: Path) -> None:
    for name, reach in (("train/q", 9), ("train/r", 0)):
        shutil.copy(photo(work), photo(work, name))
        shutil.copy(mask(work), mask(work, name))
        if reach:
            remask(work, lambda values, n=reach: cv2.dilate(values, np.ones((n, n), np.uint8)), name)
    remask(work, lambda values: cv2.dilate(values, np.ones((25, 25), np.uint8)))
    code, found = examine(work, "--fix", tmp_path / "out")
    assert (code, found.keys()) == (1, {"copies"})
    kept = [name for name in (P, "train/q", "train/r") if photo(tmp_path / "out", name).exists()]
    assert kept == ["train/r"]


def test_soft_masks_stay_soft(work: Path, examine: Callable, tmp_path: Path) -> None:
    remask(work, in_channels(0, 1, 0))
    examine(work, "--fix", tmp_path / "out")
    values = np.unique(to_bytes(read_mask(mask(tmp_path / "out"))))
    assert len(values) > 10


def test_parts_of_other_names_are_looked_at(work: Path, examine: Callable, tmp_path: Path) -> None:
    """`valid` is val; a test folder of photos alone hides no fault of the others."""
    (work / "val").rename(work / "valid")
    copied("valid")(work)
    shutil.copytree(work / "train" / "images", work / "test" / "images")
    mask(work, "train/p_7").unlink()
    code, found = examine(work, "--fix", tmp_path / "out")
    assert (code, found) == (1, {"copies_across": {P}, "unpaired": {"train/images/p_7.jpg"}})
    assert photo(tmp_path / "out", "val/q").exists()


def test_an_unsplit_set_is_not_divided_to_be_examined(tmp_path: Path, examine: Callable) -> None:
    for seed in range(3):
        image, alpha = portraits.portrait(seed, *SIZE)
        write_image(tmp_path / "cut" / f"{seed}.png", np.dstack([image, to_bytes(alpha)]))
    code, found = examine(tmp_path / "cut")
    assert not any("/" in name for names in found.values() for name in names), (code, found)


class Page(HTMLParser):
    """Counts tags, keeps the pictures, and checks that what is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.pictures: list[np.ndarray] = []
        self.open: list[str] = []
        self.sections: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        values = dict(attrs)
        if tag == "img":
            kind, data = values["src"].split(",", 1)
            assert kind == "data:image/jpeg;base64"
            self.pictures.append(cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), 1))
        assert not values.get("src", "data:").startswith("http")
        if tag == "section" and "id" in values:
            self.sections.append(values["id"])
        if tag not in ("img", "meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_report_is_one_page_with_thumbnails_worst_first(
    work: Path, examine: Callable, tmp_path: Path
) -> None:
    for plant in (copied("val", smaller), by_mask(lambda values: 255 - values)):
        plant(work)
    remask(work, hard, "train/p_7")
    remask(work, lambda values: 255 - values, "train/p_3")
    examine(work, "--report", tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    page = Page(text)
    assert page.open == []
    assert page.sections[:3] == ["inverted", "leak", "zero_one"]
    assert len(page.pictures) >= 4
    assert all(picture is not None and picture.shape[0] > 20 for picture in page.pictures)
    assert text.count("<svg") == 2
    assert "http" not in text
    assert len(text) < 200_000


def test_bad_input_is_refused_in_one_line(command: Callable, good: Path, tmp_path: Path) -> None:
    refused(command("-m", "utils.doctor", tmp_path / "none"), "no such dataset folder")
    (tmp_path / "bare").mkdir()
    refused(command("-m", "utils.doctor", tmp_path / "bare"), "images")
    before = digest(good)
    for out in (good, good / "inside", good.parent):
        refused(command("-m", "utils.doctor", good, "--fix", out), "beside")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    refused(command("-m", "utils.doctor", good, "--fix", tmp_path / "full"), "empty folder")
    assert digest(good) == before
    refused(command("-m", "utils.doctor", good, "--report", tmp_path), "is a folder")


def test_the_command_ends_with_its_code_and_the_next_command(command: Callable, work: Path) -> None:
    remask(work, lambda values: values * 0)
    result = command("-m", "utils.doctor", work)
    assert result.returncode == 1, result.stderr
    assert "1 x empty mask: train/p_9 (the network sees a person on" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("next: python -m utils.doctor")


def test_the_next_command_works_as_it_is_printed(command: Callable, good: Path, tmp_path: Path) -> None:
    """Paths with spaces, a list that names a file too many, two layouts in one folder."""
    shutil.copytree(good, tmp_path / "my photos")
    said = command("-m", "utils.doctor", tmp_path / "my photos", "--no-network")
    assert said.returncode == 0, said.stdout
    assert shlex.split(said.stdout.splitlines()[-1].split("next: ")[1]) == [
        "python",
        "train.py",
        str(tmp_path / "my photos"),
    ]
    lists = tmp_path / "lists"
    shutil.copytree(good / "train", lists)
    lines = [f"images/{path.name} masks/{path.stem}.png" for path in sorted((lists / "images").iterdir())]
    (lists / "train.txt").write_text("\n".join([*lines, "images/gone.jpg masks/gone.png"]))
    refused(command("-m", "utils.doctor", lists, "--no-network"), "say which with --layout")
    last = command("-m", "utils.doctor", lists, "--no-network", "--layout", "lists").stdout.splitlines()[-1]
    words = shlex.split(last.split("next: ")[1])
    assert words[2:] == [str(lists), "--layout", "lists", "--skip-unpaired"]


def test_memory_does_not_grow_with_the_set(tmp_path: Path) -> None:
    image, alpha = portraits.portrait(4, 900, 1200)
    add(tmp_path / "few", "train/0", image, alpha)
    for number in range(1, 50):
        for kind in (photo, mask):
            for folder in ["few"] * (number < 6) + ["many"]:
                target = kind(tmp_path / folder, f"train/{number}")
                target.parent.mkdir(parents=True, exist_ok=True)
                os.link(kind(tmp_path / "few", "train/0"), target)
    code = "import resource, sys; from utils import survey; found = survey.listing(sys.argv[1]); survey.survey(found.records); print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    peaks = [
        int(subprocess.run([sys.executable, "-c", code, tmp_path / folder], cwd=ROOT, capture_output=True, check=True).stdout)
        for folder in ("few", "many")
    ]  # fmt: skip
    assert peaks[1] - peaks[0] < 40_000  # KB; the 44 photos more are 140 MB


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(1, 8), st.integers(1, 9), st.integers(1, 9))
def test_turned_as_pillow_turns(number: int, height: int, width: int) -> None:
    values = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)
    picture = Image.fromarray(values)
    picture.getexif()[0x0112] = number
    np.testing.assert_array_equal(turn(values, number), np.asarray(ImageOps.exif_transpose(picture)))


def textured(seed: int) -> np.ndarray:
    """A drawn portrait with blotches over it: without them all drawn people look alike."""
    blotches = np.random.default_rng(seed).integers(0, 256, (8, 6, 3), np.uint8)
    blotches = cv2.resize(blotches, SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    return cv2.addWeighted(portraits.portrait(seed, *SIZE)[0], 0.5, blotches, 0.5, 0)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 500), st.floats(0, 0.09), st.floats(0, 0.09), st.floats(0.4, 2), st.booleans())
def test_copies_are_recognised_and_strangers_not(
    seed: int, left: float, top: float, scale: float, flip: bool
) -> None:
    image, stranger = textured(seed), textured(seed + 1000)
    part = image[int(top * SIZE[0]) :, int(left * SIZE[1]) :]
    part = cv2.resize(part[:, ::-1] if flip else part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    part = cv2.imdecode(cv2.imencode(".jpg", part, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], 1)
    groups = lookalike.groups([lookalike.look(picture) for picture in (image, stranger, part)])
    assert [{match.first, match.second} for group in groups for match in group] == [{0, 2}]


def test_few_pairs_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    blotches = rng.integers(0, 256, (300, 6, 6, 3), np.uint8)
    looks = [lookalike.look(cv2.resize(one, (64, 64), interpolation=cv2.INTER_CUBIC)) for one in blotches]
    compared = []
    monkeypatch.setattr(lookalike, "_likeness", lambda *_: compared.append(1) or 0.0)
    assert lookalike.groups(looks) == []
    assert len(compared) < 0.01 * 300 * 299 / 2


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(1, 6), st.integers(0, 100))
def test_ignored_pixels_go_to_the_nearer_side(width: int, seed: int) -> None:
    person = hard(to_bytes(portraits.portrait(seed)[1]))
    edge = cv2.morphologyEx(person, cv2.MORPH_GRADIENT, np.ones((width, width), np.uint8)) > 0
    mended = maskfile.settled(np.where(edge, 255, person).astype(np.uint8), 1)
    assert set(np.unique(mended)) <= {0, 255}
    np.testing.assert_array_equal(mended[~edge] > 0, person[~edge] > 0)
    if width >= 3:  # thinner, there is no middle
        assert (mended > 0)[edge].mean() == pytest.approx(0.5, abs=0.25)


REFUSED = {
    "empty": lambda values: values * 0,
    "probably inverted": lambda values: 255 - values,
    "in colour": in_channels(1, 0, 0),
    "class numbers": lambda values: hard(values) * np.uint8(15),
    "to be ignored": with_outline,
}


@pytest.mark.parametrize("fault", REFUSED)
def test_training_refuses_what_cannot_work(work: Path, fault: str) -> None:
    pairs = dataset.find_pairs(work / "train")
    for pair in pairs[:3]:
        remask(work, REFUSED[fault], f"train/{pair.stem}")
    assert f"3 of 10 masks looked at are {fault}" in dataset.check(pairs)[0].replace(
        "labels with 255 for pixels ", ""
    )
    for pair in pairs[3:]:
        remask(work, REFUSED[fault], f"train/{pair.stem}")
    with pytest.raises(DatasetError, match=rf"10 of 10 .*{fault}.*utils\.doctor"):
        dataset.check(pairs)


def test_training_takes_masks_of_zeros_and_ones(work: Path) -> None:
    pairs = dataset.find_pairs(work / "train")
    for pair in pairs:
        remask(work, hard, f"train/{pair.stem}")
    assert dataset.check(pairs) == []


def test_training_refuses_the_same_photo_on_both_sides(command: Callable, work: Path) -> None:
    train, val = (dataset.find_pairs(work / part) for part in ("train", "val"))
    assert dataset.check(train, held=val) == []
    copied("val")(work)
    line = refused(
        command("train.py", work, "--model", "slim_net", "--out", work / "run"), "1 photos are in training"
    )
    assert "--fix" in line
    assert not (work / "run").exists()


def digest(folder: Path) -> str:
    """Of every name and every byte below a folder."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found.update(str(path.relative_to(folder)).encode() + (path.read_bytes() if path.is_file() else b""))
    return found.hexdigest()
