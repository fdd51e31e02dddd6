"""Pairing, splitting and the faults that people's datasets have."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import portraits
from utils import dataset
from utils.dataset import DatasetError
from utils.images import ImageError, write_image


def make(folder: Path, images: list[str], masks: list[str]) -> Path:
    for kind, names in (("images", images), ("masks", masks)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for name in names:
            write_image(
                folder / kind / name,
                portraits.portrait(1)[0] if kind == "images" else np.eye(96, 72, dtype=np.uint8) * 255,
            )
    return folder


def test_paired_by_stem_not_by_order(tmp_path: Path) -> None:
    pairs = dataset.find_pairs(make(tmp_path, ["b.jpg", "a.png", "c.webp"], ["c.png", "a.png", "b.png"]))
    assert [(p.image.name, p.mask.name) for p in pairs] == [
        ("a.png", "a.png"),
        ("b.jpg", "b.png"),
        ("c.webp", "c.png"),
    ]


def test_unpaired_are_listed_and_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    make(tmp_path, ["a.jpg", "b.jpg"], ["b.png", "z.png"])
    with pytest.raises(DatasetError, match=r"2 files.*images/a\.jpg.*masks/z\.png.*--skip-unpaired"):
        dataset.find_pairs(tmp_path)
    assert [p.stem for p in dataset.find_pairs(tmp_path, skip_unpaired=True)] == ["b"]
    assert "a.jpg" in capsys.readouterr().out


def test_two_photos_of_one_name(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="same name"):
        dataset.find_pairs(make(tmp_path, ["a.jpg", "a.png"], ["a.png"]))


def test_missing_and_empty(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        dataset.open_dataset(tmp_path / "none")
    with pytest.raises(DatasetError, match="images"):
        dataset.open_dataset(tmp_path)
    with pytest.raises(DatasetError, match="no photo"):
        dataset.open_dataset(make(tmp_path, [], []))


def test_split_keeps_photos_on_their_side(tmp_path: Path) -> None:
    pairs = [dataset.Pair(f"p{i}", Path(), Path()) for i in range(100)]
    train, val = dataset.split(pairs, 0.2)
    assert len(val) == 20
    assert not {p.stem for p in train} & {p.stem for p in val}
    assert dataset.split(pairs[::-1], 0.2)[1] == val[::-1]
    more_val = dataset.split([*pairs, *(dataset.Pair(f"q{i}", Path(), Path()) for i in range(100))], 0.2)[1]
    stayed = len({p.stem for p in more_val} & {p.stem for p in val})
    assert stayed >= 12  # by chance it would be 4
    with pytest.raises(DatasetError):
        dataset.split(pairs[:3], 0.1)


def test_train_and_val_folders(people: Path) -> None:
    train, val = dataset.open_dataset(people)
    assert (len(train), len(val)) == (12, 4)


@pytest.mark.parametrize(
    ("fault", "change"),
    [("empty", lambda a: a * 0), ("full", lambda a: a * 0 + 1), ("probably inverted", lambda a: 1 - a)],
)
def test_masks_that_cannot_be_right_are_counted(tmp_path: Path, fault: str, change) -> None:
    for seed in range(6):
        image, alpha = portraits.portrait(seed)
        alpha = change(alpha) if seed < 2 else alpha
        write_image(tmp_path / "images" / f"{seed}.jpg", image)
        write_image(tmp_path / "masks" / f"{seed}.png", (alpha * 255).astype(np.uint8))
    warnings = dataset.check(dataset.find_pairs(tmp_path))
    assert len(warnings) == 1
    assert f"2 of 6 masks looked at are {fault}" in warnings[0]


def test_class_numbers_in_sixteen_bits_are_no_mask(tmp_path: Path) -> None:
    for seed in range(3):
        image, alpha = portraits.portrait(seed)
        write_image(tmp_path / "images" / f"{seed}.jpg", image)
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray((alpha > 0.5).astype(np.uint16) * 15).save(tmp_path / "masks" / f"{seed}.png")
    with pytest.raises(DatasetError, match="3 of 3 masks looked at are class numbers"):
        dataset.check(dataset.find_pairs(tmp_path))


def test_a_photo_cut_off_is_found_before_an_epoch_was_spent(tmp_path: Path) -> None:
    for part in ("train", "val"):
        make(tmp_path / part, ["a.jpg", "b.jpg"], ["a.png", "b.png"])
    learn, held = (dataset.find_pairs(tmp_path / part) for part in ("train", "val"))
    path = tmp_path / "val" / "images" / "b.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ImageError, match=r"b\.jpg: damaged or truncated"):
        dataset.check(learn, held=held)


def test_sizes_and_readability_are_checked(tmp_path: Path) -> None:
    make(tmp_path, ["a.jpg", "b.jpg"], ["a.png", "b.png"])
    write_image(tmp_path / "masks" / "a.png", np.zeros((50, 50), np.uint8))
    with pytest.raises(DatasetError, match=r"another size.*masks/a\.png"):
        dataset.check(dataset.find_pairs(tmp_path))
    (tmp_path / "masks" / "a.png").write_text("not a picture")
    with pytest.raises(DatasetError, match=r"1 files cannot be read.*a\.png"):
        dataset.check(dataset.find_pairs(tmp_path))
