"""Datasets converted, divided and turned into arrays, by the commands people run."""

from __future__ import annotations

import csv
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests import layouts as written
from tests import portraits
from tests.conftest import ROOT, Command, hears_interrupts, refused
from utils import convert, layouts
from utils.dataset import DatasetError, open_dataset, open_parts
from utils.images import mask_to_uint8, read_image, read_mask, unit, write_image
from utils.layouts.base import Pair


def manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def many(folder: Path) -> None:
    """80 photos to train on, large enough that converting them takes a while, and two more."""
    for number in range(82):
        part = folder / ("train" if number < 80 else "val")
        image, alpha = portraits.portrait(number % 2, 320, 240) if number < 2 else (None, None)
        for kind, ending in (("images", ".png"), ("masks", ".png")):
            target = part / kind / f"{'ab'[number % 2]}_{number}{ending}"
            if image is not None:
                write_image(target, image if kind == "images" else mask_to_uint8(alpha))
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / "train" / kind / f"{'ab'[number % 2]}_{number % 2}{ending}", target)


@pytest.mark.parametrize("name", ["coco", "cutouts", "videos"])
def test_convert_writes_what_the_reader_reads(tmp_path: Path, command: Command, name: str) -> None:
    written.WRITERS[name](tmp_path / "in")
    if name == "videos":
        written.write_videos(tmp_path / "in", (6, 5, 4))
    before = tree(tmp_path / "in")
    words = ("--val", "0.34", "--layout", name)
    result = command("-m", "utils.data", "convert", tmp_path / "in", tmp_path / "out", *words)
    assert result.returncode == 0, result.stderr
    assert tree(tmp_path / "in") == before
    originals = {pair.stem: pair for pair in open_parts(tmp_path / "in")[""]}
    train, val = open_dataset(tmp_path / "out")
    assert {pair.stem for pair in train + val} == set(originals)
    for pair in train + val:
        original = originals[pair.stem]
        assert np.abs(read_mask(pair.mask) - read_mask(original.mask)).max() <= 1 / 254
        difference = np.abs(read_image(pair.image).astype(int) - read_image(original.image))
        assert difference.mean() < (5 if name == "videos" else 1e-9)
    rows = manifest(tmp_path / "out")
    assert Counter(row["split"] for row in rows) == {"train": len(train), "val": len(val)}
    for row in rows:
        alpha = read_mask(originals[row["stem"]].mask)
        assert (int(row["height"]), int(row["width"])) == alpha.shape
        assert float(row["mean_alpha"]) == pytest.approx(alpha.mean(), abs=2e-3)
    if name == "videos":
        assert not {p.stem[:2] for p in train} & {p.stem[:2] for p in val}


def test_convert_keeps_parts_and_files(tmp_path: Path, command: Command, people: Path) -> None:
    """JPEGs byte for byte; a turned one is written upright; val stays val and test is taken from train."""
    turned = tmp_path / "in" / "train" / "images" / "turned_1.jpg"
    subprocess.run(["cp", "-r", people, tmp_path / "in"], check=True)
    picture = Image.fromarray(portraits.portrait(5, 72, 96)[0])
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(turned, exif=exif)
    write_image(tmp_path / "in" / "train" / "masks" / "turned_1.png", np.full((96, 72), 100, np.uint8))
    result = command("-m", "utils.data", "convert", tmp_path / "in", tmp_path / "out", "--test", "0.3")
    assert result.returncode == 0, result.stderr
    assert {part: len(pairs) for part, pairs in open_parts(tmp_path / "out").items()} == {
        "train": 9,
        "val": 4,
        "test": 4,
    }
    originals = tree(tmp_path / "in")
    for row in manifest(tmp_path / "out"):
        image = next((tmp_path / "out" / row["split"] / "images").glob(f"{row['stem']}.*"))
        if row["stem"] == "turned_1":
            assert np.abs(read_image(image).astype(int) - read_image(turned)).mean() < 3
            assert Image.open(image).getexif().get(0x0112, 1) == 1
            assert (read_mask(tmp_path / "out" / row["split"] / "masks" / "turned_1.png") == 100 / 255).all()
        else:
            assert image.read_bytes() == originals[str(Path(row["image"]).relative_to(tmp_path / "in"))]


def test_convert_refuses_what_is_not_its_own(tmp_path: Path, command: Command, people: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "holiday.jpg").write_text("mine")
    convert_ = ("-m", "utils.data", "convert", people)
    refused(command(*convert_, tmp_path / "full"), "full: holds something else", "another folder")
    assert tree(tmp_path / "full") == {"holiday.jpg": b"mine"}
    assert command(*convert_, tmp_path / "out").returncode == 0
    before = tree(tmp_path / "out")
    assert command(*convert_, tmp_path / "out").returncode == 0  # the same again changes nothing
    assert tree(tmp_path / "out") == before
    refused(command(*convert_, tmp_path / "out", "--seed", 1), "out: holds another conversion")
    refused(command(*convert_, tmp_path / "new", "--by", "video"), "--by video: there are no videos")
    assert not (tmp_path / "new").exists()


def test_a_damaged_photo_stops_it_and_a_repaired_one_goes_on(
    tmp_path: Path, command: Command, people: Path
) -> None:
    subprocess.run(["cp", "-r", people, tmp_path / "in"], check=True)
    path = tmp_path / "in" / "train" / "images" / "b_3.jpg"
    good = path.read_bytes()
    path.write_bytes(good[: len(good) // 2])
    words = ("-m", "utils.data", "convert", tmp_path / "in", tmp_path / "out")
    refused(command(*words), "b_3.jpg: damaged or truncated")
    assert not (tmp_path / "out" / "manifest.csv").exists()
    path.write_bytes(good)
    assert command(*words).returncode == 0
    assert len(manifest(tmp_path / "out")) == 16


def test_what_changed_since_is_followed(tmp_path: Path, command: Command) -> None:
    many(tmp_path)
    (tmp_path / "train").rename(tmp_path / "in")
    words = ("-m", "utils.data", "convert", tmp_path / "in", tmp_path / "out", "--val", 0.2, "--test", 0.2)
    assert command(*words).returncode == 0
    before = manifest(tmp_path / "out")
    photos = sorted((tmp_path / "in" / "images").iterdir())
    gone, mended = photos[0].stem, photos[1].stem
    for path in (tmp_path / "in").rglob(f"{gone}.*"):
        path.unlink()
    mask = next((tmp_path / "in" / "masks").glob(f"{mended}.*"))
    write_image(mask, 255 - read_image(mask)[..., 0])
    for number in range(20):
        for kind in ("images", "masks"):
            old = next((tmp_path / "in" / kind).glob(f"{mended}.*"))
            shutil.copy(old, old.with_stem(f"new_{number}"))
    mine = tmp_path / "out" / "train" / "images" / "mine.jpg"
    mine.write_text("put here by hand")
    assert command(*words).returncode == 0
    assert mine.read_text() == "put here by hand"
    mine.unlink()
    rows = manifest(tmp_path / "out")
    assert len(rows) == len(before) + 19
    there = {
        (path.parent.parent.name, path.stem)
        for path in (tmp_path / "out").rglob("*.*")
        if path.parent.name == "images"
    }
    assert there == {(row["split"], row["stem"]) for row in rows}
    assert gone not in {row["stem"] for row in rows}
    old, new = (next(row for row in some if row["stem"] == mended) for some in (before, rows))
    assert float(new["mean_alpha"]) == pytest.approx(1 - float(old["mean_alpha"]), abs=0.01)


@pytest.mark.parametrize("name", ["coco", "supervisely", "cutouts", "npy"])
def test_changed_annotations_are_followed(tmp_path: Path, name: str) -> None:
    written.WRITERS[name](tmp_path / "in")
    parts, out = open_parts(tmp_path / "in"), tmp_path / "out"
    convert.convert(parts, out, {})
    target = next(out.rglob("masks/*.png"))
    write_image(target, np.zeros((9, 9), np.uint8))  # what is newer than its annotation is kept
    convert.convert(open_parts(tmp_path / "in"), out, {})
    assert read_mask(target).shape == (9, 9)
    later = time.time() + 5
    for path in (tmp_path / "in").rglob("*.*"):
        if path.suffix in (".json", ".png", ".npy"):
            os.utime(path, (later, later))
    convert.convert(open_parts(tmp_path / "in"), out, {})
    assert read_mask(target).shape != (9, 9)


@pytest.mark.parametrize("words", [("convert", "--val", 0), ("to-npy", "--size", 16)])
def test_frames_that_lose_their_video_are_told_of(tmp_path: Path, command: Command, words: tuple) -> None:
    written.write_videos(tmp_path / "in", (3, 3))
    name, *more = words
    done = command("-m", "utils.data", name, tmp_path / "in", tmp_path / "out", *more)
    assert done.returncode == 0, done.stderr
    assert "frames of one video may come to both sides" in done.stdout


def test_what_a_killed_run_wrote_is_followed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It left no manifest; a photo that is gone when it is taken up again does not stay."""
    many(tmp_path)
    (tmp_path / "train").rename(tmp_path / "in")
    gone = sorted((tmp_path / "in" / "images").iterdir())[0].stem

    def killed(path: Path, text: str) -> None:
        if path.name == "manifest.csv":
            raise KeyboardInterrupt
        written_whole(path, text)

    written_whole = convert.write_text
    with monkeypatch.context() as patch:
        patch.setattr(convert, "write_text", killed)
        with pytest.raises(KeyboardInterrupt):
            convert.convert(open_parts(tmp_path / "in"), tmp_path / "out", {})
    assert list((tmp_path / "out").rglob(f"{gone}.*"))
    for path in (tmp_path / "in").rglob(f"{gone}.*"):
        path.unlink()
    convert.convert(open_parts(tmp_path / "in"), tmp_path / "out", {})
    assert not list((tmp_path / "out").rglob(f"{gone}.*"))
    assert not (tmp_path / "out" / "planned.csv").exists()


def test_killed_and_taken_up_again(tmp_path: Path, command: Command) -> None:
    many(tmp_path / "in")
    words = [sys.executable, "-m", "utils.data", "convert", str(tmp_path / "in"), str(tmp_path / "out")]
    process = subprocess.Popen(words, cwd=ROOT, preexec_fn=hears_interrupts)
    while len(list(tmp_path.glob("out/train/masks/[ab]*.png"))) < 5:
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/train/masks/[ab]*.png")}
    assert 5 <= len(done) < 80
    (tmp_path / "out" / "train" / "images" / ".a_2.4711.jpg").write_text("half")
    assert command(*words[1:]).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in done} == done  # not done again
    assert not list(tmp_path.glob("out/**/.*"))
    assert Counter(row["split"] for row in manifest(tmp_path / "out")) == {"train": 80, "val": 2}
    assert all(read_mask(pair.mask).shape == (320, 240) for pair in open_dataset(tmp_path / "out")[0])


def test_interrupted_it_stops_at_once(tmp_path: Path) -> None:
    many(tmp_path / "in")
    words = [sys.executable, "-m", "utils.data", "convert", str(tmp_path / "in"), str(tmp_path / "out")]
    process = subprocess.Popen(
        words, cwd=ROOT, preexec_fn=hears_interrupts, stderr=subprocess.PIPE, text=True
    )
    while not list(tmp_path.glob("out/train/masks/[ab]*.png")):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    assert "Traceback" not in process.communicate(timeout=20)[1]
    assert process.returncode == 130
    assert not (tmp_path / "out" / "manifest.csv").exists()
    assert not list(tmp_path.glob("out/**/.*"))


@pytest.mark.parametrize("name", written.WRITERS)
def test_a_pair_can_be_sent_to_another_machine(tmp_path: Path, name: str) -> None:
    """It is read there from the same files, and no array or video goes along."""
    written.WRITERS[name](tmp_path)
    pairs = [pair for part in open_parts(tmp_path, layout=name).values() for pair in part]
    sent = pickle.dumps(pairs)
    assert len(sent) < 1000 * len(pairs)
    for here, there in zip(pairs, pickle.loads(sent), strict=True):
        assert here.stem == there.stem
        assert np.array_equal(read_image(here.image), read_image(there.image))
        assert np.array_equal(read_mask(here.mask), read_mask(there.mask))


def test_two_photos_that_would_get_one_name(tmp_path: Path) -> None:
    pairs = [Pair("a", Path("x/A.jpg"), Path()), Pair("A", Path("y/a.jpg"), Path())]
    with pytest.raises(DatasetError, match=r"y/a\.jpg and x/A\.jpg would get the same name"):
        convert.convert({"train": pairs}, tmp_path / "out", {})
    assert not (tmp_path / "out").exists()


def pairs_of(sizes: dict[str, int], frames: int = 1) -> list[Pair]:
    return [
        Pair(f"{source}_{n}_{k}", Path(), Path(), source=source, group=f"{source}_{n}" if frames > 1 else "")
        for source, count in sizes.items()
        for n in range(count)
        for k in range(frames)
    ]


@given(
    st.dictionaries(st.sampled_from("abcde"), st.integers(1, 60), min_size=1),
    st.floats(0.05, 0.4),
    st.floats(0.05, 0.4),
    st.integers(0, 9),
    st.sampled_from([1, 3]),
)
def test_each_source_gives_its_share(
    sizes: dict[str, int], val: float, test: float, seed: int, frames: int
) -> None:
    pairs = pairs_of(sizes, frames)
    total = sum(sizes.values())
    if (
        not all(round(total * share) > 0 for share in (val, test))
        or round(total * val) + round(total * test) >= total
    ):
        with pytest.raises(DatasetError, match="cannot give"):
            convert.divide({"": pairs}, val, test, seed, "video" if frames > 1 else "photo")
        return
    parts = convert.divide({"": pairs}, val, test, seed, "video" if frames > 1 else "photo")
    assert sorted(pair for some in parts.values() for pair in some) == sorted(pairs)
    for part, share in (("val", val), ("test", test)):
        assert len(parts[part]) == frames * round(total * share)
        for source, count in sizes.items():
            got = sum(pair.source == source for pair in parts[part]) / frames
            assert abs(got - round(total * share) * count / total) < 2
    if frames > 1:
        groups = [{pair.group for pair in some} for some in parts.values()]
        assert sum(map(len, groups)) == len(set().union(*groups))


def test_whole_sources_and_nothing_at_all() -> None:
    pairs = pairs_of({"a": 5, "b": 50, "c": 9, "d": 1})
    parts = convert.divide({"": pairs}, 0.25, 0.0, 0, "source")
    assert len({pair.source for pair in parts["val"]}) == 1
    assert len({pair.source for pair in parts["train"]}) == 3
    assert convert.divide({"": pairs}, 0.0, 0.0) == {"": pairs}
    kept = {"train": pairs[:9], "val": pairs[9:]}
    assert convert.divide(kept, 0.5, 0.0) == kept


def test_arrays_there_and_back(tmp_path: Path, command: Command, people: Path) -> None:
    data = ("-m", "utils.data")
    result = command(*data, "to-npy", people, tmp_path / "npy", "--size", "48x40")
    assert result.returncode == 0, result.stderr
    images, masks = (np.load(tmp_path / "npy" / "train" / f"{name}_uint8.npy") for name in ("img", "msk"))
    assert (images.shape, masks.shape) == ((12, 48, 40, 3), (12, 48, 40, 1))
    assert images.dtype == masks.dtype == np.uint8
    assert len(np.unique(masks)) > 20  # soft edges
    assert images[:, :, :2].max() == masks[:, :, :2].max() == 0  # 96x72 in 48x40: two columns on each side
    assert command(*data, "from-npy", tmp_path / "npy", tmp_path / "back").returncode == 0
    originals = {part: [pair.stem for pair in pairs] for part, pairs in open_parts(people).items()}
    back = open_parts(tmp_path / "back")
    assert {part: [pair.stem for pair in pairs] for part, pairs in back.items()} == originals
    for row, pair in enumerate(back["train"]):
        assert np.array_equal(read_image(pair.image), images[row])
        assert np.array_equal(mask_to_uint8(read_mask(pair.mask)), masks[row, ..., 0])
    refused(command(*data, "to-npy", people, tmp_path / "npy"), "img_uint8.npy: is there already")


def test_the_references_arrays(tmp_path: Path, command: Command) -> None:
    """Without names, masks 0/1, never split: numbered, and one images and masks pair."""
    written.write_npy(tmp_path)
    masks = np.load(tmp_path / "msk_uint8.npy")[..., 0] > 127
    np.save(tmp_path / "msk_uint8.npy", masks.astype(np.uint8))
    result = command("-m", "utils.data", "from-npy", tmp_path, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    pairs = open_parts(tmp_path / "out")[""]
    assert [pair.stem for pair in pairs] == [f"{n:06}" for n in range(6)]
    assert all(np.array_equal(read_mask(pair.mask), mask) for pair, mask in zip(pairs, masks, strict=True))


def test_arrays_whole_or_not_at_all(tmp_path: Path, command: Command, people: Path) -> None:
    subprocess.run(["cp", "-r", people, tmp_path / "in"], check=True)
    path = tmp_path / "in" / "val" / "images" / "b_1003.jpg"
    path.write_bytes(path.read_bytes()[:1500])
    refused(command("-m", "utils.data", "to-npy", tmp_path / "in", tmp_path / "npy"), "b_1003.jpg")
    assert tree(tmp_path / "npy") == {}


@given(st.integers(0, 10**6), st.sampled_from(["soft", "hard", "trace", "empty", "full"]))
def test_what_is_written_of_a_mask_is_read_back(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    soft = rng.random((9, 7)).astype(np.float32)
    alpha = {
        "soft": soft,
        "hard": np.round(soft),
        "trace": np.where(soft > 0.5, 1.0, soft / 128),
        "empty": soft / 128,
        "full": np.ones_like(soft),
    }[kind]
    assert np.abs(unit(mask_to_uint8(alpha)) - alpha).max() <= 1.01 / 255


def test_a_mask_with_a_trace_is_not_full(tmp_path: Path) -> None:
    """Where nobody is, compressed mattes hold a 1 here and there; as a PNG it would be read as 0/1."""
    alpha = np.zeros((96, 72), np.float32)
    alpha[3, 3] = 1 / 255
    written.write_folders(tmp_path)
    write_image(tmp_path / "m.png", mask_to_uint8(alpha))
    assert read_mask(tmp_path / "m.png").max() == 0


def test_layout_is_a_setting_of_train(tmp_path: Path) -> None:
    """Two layouts in the folder; --extra reads a third."""
    import train
    from utils import recipe

    written.write_folders(tmp_path / "in")
    written.write_npy(tmp_path / "in")
    written.write_voc(tmp_path / "voc")
    words = [str(tmp_path / "in"), "--size", "32", "--val-split", "0.4", "--extra", f"{tmp_path / 'voc'}=0.5"]
    with pytest.raises(DatasetError, match=r"--layout folders\|npy"):
        recipe.open_data(train.make_parser().parse_args(words))
    args = train.make_parser().parse_args([*words, "--layout", "npy"])
    recipe.settle(args, None)
    pairs, val, batches = recipe.open_data(args)
    assert Counter(pair.weight for pair in pairs) == {1.0: 4, 0.5: 4}
    assert len(val) == 2
    pixels, alphas, _ = batches[0]
    assert pixels[..., :3].max() > 100
    assert 0 < alphas.mean() < 1


def test_layout_is_a_setting_of_eval(tmp_path: Path, command: Command) -> None:
    written.write_folders(tmp_path / "in")
    written.write_voc(tmp_path / "in")
    words = ("eval.py", "checkpoints/live_int8.tflite", tmp_path / "in", "--out", tmp_path / "out")
    result = command(*words, "--layout", "voc")
    assert ", 2 photos" in result.stdout, result.stderr
    assert ", 6 photos" in command(*words, "--layout", "voc", "--part", "all").stdout
    refused(command(*words, "--layout", "voc", "--part", "test"), "has no part test")


def test_help_names_every_layout(command: Command) -> None:
    text = " ".join(command("-m", "utils.data", "convert", "--help").stdout.split())
    assert all(name in text for name in layouts.LAYOUTS)
