"""Every layout is told from the others, read back to the masks it was written from, and refused where faulty."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from tests import layouts as written
from tests import videos
from tests.conftest import refused
from utils import dataset, layouts, survey
from utils.dataset import DatasetError, open_dataset, open_parts
from utils.images import ImageError, image_size, read_image, read_mask, turn, write_image
from utils.layouts import base, drawing, supervisely
from utils.layouts.film import Film
from utils.photos import find_photos

masks = arrays.arrays(np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24)), elements=st.integers(0, 1))


def whole(folder: Path, **how) -> list:
    return [pair for pairs in open_parts(folder, **how).values() for pair in pairs]


@pytest.fixture(scope="module", params=list(written.WRITERS))
def layout(request, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp(request.param)
    written.WRITERS[request.param](folder)
    return request.param, folder


def test_each_is_recognised_as_itself_alone(layout: tuple[str, Path]) -> None:
    name, folder = layout
    assert layouts.seen_in(folder) == [name]


def test_photos_and_masks_come_back(layout: tuple[str, Path]) -> None:
    name, folder = layout
    pairs = whole(folder)
    assert len(pairs) == written.COUNT
    for seed, pair in enumerate(sorted(pairs, key=lambda pair: pair.stem)):
        image, mask = written.person(seed)
        wanted = written.hard(seed) if name in written.HARD else mask / 255
        found = read_mask(pair.mask)
        assert found.dtype == np.float32
        assert np.abs(found - wanted).max() < (0.006 if name == "videos" else 1e-6), (pair.stem, name)
        difference = np.abs(read_image(pair.image).astype(int) - image)
        assert difference.mean() < 8 if name == "videos" else difference.max() == 0
        assert image_size(pair.image) == image_size(pair.mask) == mask.shape
    assert dataset.check(pairs) == []


def test_split_has_all_photos_once(layout: tuple[str, Path]) -> None:
    name, folder = layout
    if name == "videos":  # one video cannot be on both sides
        with pytest.raises(DatasetError, match="1 videos cannot be split"):
            open_dataset(folder)
        return
    train, val = open_dataset(folder, val_split=2 / written.COUNT)
    assert (len(train), len(val)) == (written.COUNT - 2, 2)
    assert len({pair.stem for pair in train + val}) == written.COUNT


def test_a_folder_around_it_does_not_matter(tmp_path: Path) -> None:
    written.write_voc(tmp_path / "VOCdevkit" / "VOC2012")
    assert len(whole(tmp_path)) == len(whole(tmp_path, layout="voc")) == written.COUNT


def test_two_layouts_in_one_folder(tmp_path: Path, command) -> None:
    written.write_folders(tmp_path)
    written.write_npy(tmp_path)
    with pytest.raises(DatasetError, match=r"looks like folders .* and npy .*--layout folders\|npy"):
        open_dataset(tmp_path)
    assert isinstance(whole(tmp_path, layout="folders")[0].image, Path)
    assert str(whole(tmp_path, layout="npy")[0].image).endswith("img_uint8.npy[0]")
    assert len(dataset.training_pairs(tmp_path, layout="npy")) == written.COUNT
    refused(command("eval.py", "none.tflite", tmp_path), "--layout folders|npy")


def test_unknown_and_misnamed(tmp_path: Path) -> None:
    (tmp_path / "fotos").mkdir()
    (tmp_path / "readme.txt").write_text("hello")
    with pytest.raises(DatasetError, match=r"holds fotos/, readme\.txt.*--layout folders\|lists"):
        open_dataset(tmp_path)
    with pytest.raises(DatasetError, match="--layout coko: no such layout: choose from folders"):
        open_dataset(tmp_path, layout="coko")
    for name in layouts.LAYOUTS:
        with pytest.raises(DatasetError) as error:
            open_dataset(tmp_path, layout=name)
        assert "\n" not in str(error.value)


def test_extra_photos_leave_the_other_parts_alone(people: Path) -> None:
    pairs = dataset.training_pairs(people, weight=0.5)
    assert (len(pairs), {pair.weight for pair in pairs}) == (12, {0.5})


def test_train_folder_without_val_masks_is_refused(tmp_path: Path) -> None:
    written.write_folders(tmp_path / "train")
    write_image(tmp_path / "val" / "images" / "a.png", written.person(0)[0])
    with pytest.raises(DatasetError, match="val: needs a folder images and a folder masks"):
        open_dataset(tmp_path)
    (tmp_path / "val").rename(tmp_path / "test")  # pictures to test on may have no masks
    assert sum(map(len, open_dataset(tmp_path, 0.4))) == written.COUNT


@pytest.mark.parametrize("part", ["val", "test"])
def test_photos_beside_a_part_are_learnt_from(tmp_path: Path, part: str, command) -> None:
    written.write_folders(tmp_path)
    written.write_folders(tmp_path / part)
    parts = open_parts(tmp_path)
    assert {name: len(pairs) for name, pairs in parts.items()} == {
        "train": written.COUNT,
        part: written.COUNT,
    }
    assert all(pair.image.parent == tmp_path / "images" for pair in parts["train"])
    told = command("-m", "utils.doctor", tmp_path, "--no-network").stdout
    assert f"{2 * written.COUNT} pairs" in told, told
    assert {photo.part for photo in find_photos(tmp_path)} == {"", part}


@pytest.mark.parametrize("second", ["valid", "validation", "train"])
def test_a_part_in_two_folders_is_refused(tmp_path: Path, second: str, command) -> None:
    for part in ("val", second):
        written.write_folders(tmp_path / part)
    if second == "train":
        written.write_folders(tmp_path)
    with pytest.raises(DatasetError, match=rf"{second}/ .*are both its part (val|train): put them into one"):
        open_dataset(tmp_path)
    refused(command("-m", "utils.doctor", tmp_path, "--no-network"), "put them into one folder")


def test_pictures_to_test_on_need_no_masks_for_a_tool_either(tmp_path: Path) -> None:
    written.write_folders(tmp_path / "train")
    write_image(tmp_path / "test" / "images" / "a.png", written.person(0)[0])
    assert {photo.part for photo in find_photos(tmp_path)} == {"train"}


def test_accents_of_either_kind_are_one_name(tmp_path: Path) -> None:
    written.write_folders(tmp_path)
    for kind, form in (("images", "NFC"), ("masks", "NFD")):
        for path in (tmp_path / kind).iterdir():
            path.rename(path.with_stem(unicodedata.normalize(form, f"Zo\u00eb{path.stem}")))
    assert len(whole(tmp_path)) == len(survey.listing(tmp_path).records) == written.COUNT


# Coding


@given(masks)
def test_run_lengths_there_and_back(mask: np.ndarray) -> None:
    counts = written.run_lengths(mask)
    assert np.array_equal(drawing.decode_runs(np.array(counts), *mask.shape), mask)
    assert drawing.decompress(written.compress(counts)).tolist() == counts


@given(st.lists(st.integers(0, 10**8), min_size=1, max_size=30))
def test_long_runs_are_decompressed(counts: list[int]) -> None:
    assert drawing.decompress(written.compress(counts)).tolist() == counts


def test_run_lengths_as_pycocotools_writes_them() -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[20:50, 10:60] = 1
    mask[::9, ::9] ^= np.eye(8, dtype=np.uint8)
    text = "01Xb00R@m0hN0000000000000NSOQOm0Q10000000000000000YOoN?Q18000000000000000BoNMQ1a0000000000000000KoN[OQ1j00000000000000000ROSOi0m050000000[7SO"
    assert np.array_equal(drawing.decode_runs(drawing.decompress(text), 64, 64), mask)


@given(masks)
def test_bitmaps_there_and_back(mask: np.ndarray) -> None:
    assert np.array_equal(supervisely.decode_bitmap(written.encode_bitmap(mask)), mask)


@settings(max_examples=50)
@given(st.integers(3, 12), st.integers(0, 10**6))
def test_polygons_hold_the_pixels_whose_centre_they_hold(corners: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.random(corners)) * 2 * np.pi
    points = 20 + np.stack([np.cos(angles), np.sin(angles)], 1) * rng.uniform(5, 30, (corners, 1))
    points = points.astype(np.float32)
    canvas = np.zeros((40, 36), np.uint8)
    drawing.draw_polygon(canvas, points)
    outline = points.reshape(-1, 1, 2)
    for y, x in np.ndindex(canvas.shape):
        distance = cv2.pointPolygonTest(outline, (x + 0.5, y + 0.5), True)
        if abs(distance) > 1e-3:
            assert canvas[y, x] == (distance > 0), (x, y, distance)


def test_a_polygon_of_whole_pixels_covers_just_these() -> None:
    canvas = np.zeros((8, 9), np.uint8)
    drawing.draw_polygon(canvas, np.array([[2, 1], [6, 1], [6, 4], [2, 4]], np.float32))
    assert canvas.sum() == 12
    assert canvas[1:4, 2:6].all()
    drawing.draw_polygon(canvas, np.array([[-5, -5], [50, -5], [50, 50], [-5, 50]], np.float32))
    assert canvas.all()


# Annotations


def test_supervisely_polygon_with_a_hole(tmp_path: Path) -> None:
    written.write_supervisely(tmp_path)
    path = tmp_path / "ds" / "ann" / "p_0.png.json"
    content = json.loads(path.read_text())
    points = {
        "exterior": [[10, 10], [50, 10], [50, 80], [10, 80]],
        "interior": [[[20, 20], [30, 20], [30, 30], [20, 30]]],
    }
    content["objects"] = [{"classTitle": "person_bmp", "geometryType": "polygon", "points": points}]
    path.write_text(json.dumps(content))
    mask = read_mask(whole(tmp_path)[0].mask)
    wanted = np.zeros((96, 72))
    wanted[10:81, 10:51], wanted[20:31, 20:31] = 1, 0
    assert np.array_equal(mask, wanted)


def test_supervisely_alpha_mask_stays_soft(tmp_path: Path) -> None:
    written.write_supervisely(tmp_path)
    path = tmp_path / "ds" / "ann" / "p_0.png.json"
    content = json.loads(path.read_text())
    soft = written.person(0)[1] // 2
    content["objects"][0] = {"classTitle": "person_bmp", "geometryType": "alpha_mask"}
    content["objects"][0]["bitmap"] = {"data": written.encode_bitmap(soft), "origin": [0, 0]}
    path.write_text(json.dumps(content))
    assert np.allclose(read_mask(whole(tmp_path)[0].mask), soft / 255)


def test_supervisely_datasets_are_sources_and_parts(tmp_path: Path) -> None:
    written.write_supervisely(tmp_path)
    (tmp_path / "ds").rename(tmp_path / "train")
    written.write_supervisely(tmp_path / "more")
    (tmp_path / "more" / "ds").rename(tmp_path / "studio")
    parts = open_parts(tmp_path)
    assert {part: len(pairs) for part, pairs in parts.items()} == {
        "train": 12
    }  # what is in no part is learnt from
    assert {(pair.stem, pair.source) for pair in parts["train"]} >= {
        ("studio_p_0", "studio"),
        ("train_p_0", "train"),
    }


def test_coco_categories(tmp_path: Path) -> None:
    written.write_coco(tmp_path)
    cats = whole(tmp_path, category="cat")
    assert read_mask(cats[0].mask).sum() == 45  # half of 9x9 pixels, with the diagonal
    with pytest.raises(DatasetError, match=r"no class dog.*--category: person, cat"):
        open_parts(tmp_path, category="dog")


def test_coco_parts_by_name(tmp_path: Path) -> None:
    """The official tree: annotations/instances_val2017.json, val2017/; captions tell of the same photos."""
    for part, number in (("train", 0), ("val", 1)):
        written.write_coco(tmp_path / "made")
        (tmp_path / "made" / "photos").rename(tmp_path / f"{part}2017")
        (tmp_path / "annotations").mkdir(exist_ok=True)
        place = tmp_path / "annotations" / f"instances_{part}2017.json"
        (tmp_path / "made" / "annotations.json").rename(place)
        (tmp_path / "made").rmdir()
        written.write_coco_json(tmp_path / "annotations" / f"captions_{part}2017.json", [], [])
        assert len(open_parts(tmp_path)) == number + 1
    assert {part: len(pairs) for part, pairs in open_parts(tmp_path).items()} == {"train": 6, "val": 6}


def test_coco_photo_without_people_has_an_empty_mask(tmp_path: Path) -> None:
    image = written.person(0)[0]
    write_image(tmp_path / "a.png", image)
    written.write_coco_json(
        tmp_path / "a.json", [{"id": 1, "file_name": "a.png", "height": 96, "width": 72}], []
    )
    assert read_mask(whole(tmp_path)[0].mask).sum() == 0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_annotations_turn_with_the_photo(tmp_path: Path, orientation: int) -> None:
    """Drawn on the pixels as stored; or, where height and width say so, on the upright photo."""
    picture = Image.fromarray(written.person(0)[0])
    exif = picture.getexif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "a.jpg", exif=exif)
    stored = np.zeros((96, 72), np.uint8)
    stored[5:30, 10:60] = 1
    for made_on in (stored, turn(stored, orientation)):
        height, width = made_on.shape
        shape = {"size": [height, width], "counts": written.run_lengths(made_on)}
        entry = {"id": 1, "file_name": "a.jpg", "height": height, "width": width}
        written.write_coco_json(tmp_path / "a.json", [entry], [written.note(1, 1, shape)])
        pair = whole(tmp_path)[0]
        assert image_size(pair.image) == image_size(pair.mask)
        assert read_mask(pair.mask).shape == read_image(pair.image).shape[:2]
        if made_on is stored or orientation >= 5:  # upside down, sizes tell nothing
            assert np.array_equal(read_mask(pair.mask), turn(stored, orientation))


def test_label_255_is_not_person(tmp_path: Path) -> None:
    mask = written.hard(0)
    labels = np.where(cv2.dilate(mask, np.ones((5, 5))) > mask, np.uint8(255), mask)
    write_image(tmp_path / "m.png", labels)
    assert np.array_equal(read_mask(tmp_path / "m.png"), mask)
    stray = mask * 255
    stray[0, 0] = 1
    write_image(tmp_path / "s.png", stray)
    assert np.array_equal(read_mask(tmp_path / "s.png") > 0.5, mask)


def test_cutouts_in_a_folder(tmp_path: Path) -> None:
    """Also one without a transparent pixel: it shows nothing but the person."""
    for seed in range(3):
        image, mask = written.person(seed)
        mask = np.full_like(mask, 255) if seed == 2 else mask
        write_image(tmp_path / f"{seed}.png", np.dstack([image, mask]))
    pairs = whole(tmp_path)
    assert [pair.stem for pair in pairs] == ["0", "1", "2"]
    assert np.allclose(read_mask(pairs[0].mask), written.person(0)[1] / 255)
    assert read_mask(pairs[2].mask).min() == 1
    assert (read_image(pairs[0].image)[written.person(0)[1] == 0] == 255).all()


# Videos


def test_frames_in_any_order(tmp_path: Path) -> None:
    """H.264 with frames that depend on later ones: each number still gives its own frame."""
    path = videos.write(tmp_path / "v.mp4", videos.frames(60))
    wanted, _ = videos.read(path)
    film = Film(path)
    assert len(film) == 60
    order = [0, 1, 2, 50, 3, 59, 0, *np.random.default_rng(0).integers(0, 60, 40).tolist()]
    for number in order:
        assert np.array_equal(film.read(number), wanted[number]), number


@pytest.mark.parametrize(("ending", "codec"), [(".avi", "mpeg4"), (".webm", "libvpx"), (".mov", "libx264")])
def test_frames_of_other_containers(tmp_path: Path, ending: str, codec: str) -> None:
    path = tmp_path / f"v{ending}"
    videos.write(path, videos.frames(12), sound=None, codec=codec)
    wanted, _ = videos.read(path)
    film = Film(path)
    assert len(film) == len(wanted) == 12
    for number in (11, 0, 5, 6, 4):
        assert np.array_equal(film.read(number), wanted[number])


def test_no_video_is_on_both_sides(tmp_path: Path) -> None:
    written.write_videos(tmp_path, (3, 4, 5, 2))
    train, val = open_dataset(tmp_path, val_split=0.5)
    assert len({pair.group for pair in train}) == len({pair.group for pair in val}) == 2
    assert not {pair.group for pair in train} & {pair.group for pair in val}


def test_folders_of_frames_are_videos(tmp_path: Path) -> None:
    for name in ("0001", "0002"):
        for seed in range(2):
            image, mask = written.person(seed)
            write_image(tmp_path / "fgr" / name / f"{seed:05}.jpg", image)
            write_image(tmp_path / "pha" / name / f"{seed:05}.jpg", mask)
    train, val = open_dataset(tmp_path, val_split=0.5)
    assert {pair.group for pair in train} | {pair.group for pair in val} == {"0001", "0002"}
    assert isinstance(train[0].image, Path)


def test_a_matte_of_another_length(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    written.write_videos(tmp_path, (3, 4))
    videos.write(tmp_path / "pha" / "v1.mkv", [np.zeros((96, 72, 3), np.uint8)] * 3, sound=None, codec="ffv1")
    with pytest.raises(DatasetError, match=r"v1\.mkv has 4 frames and its matte 3"):
        whole(tmp_path)
    assert {pair.group for pair in whole(tmp_path, skip_unpaired=True)} == {"v0"}
    assert "v1.mkv" in capsys.readouterr().out


# Faults


def lose_photo(folder: Path) -> None:
    next(path for path in sorted(base.pictures_below(folder)) if path.name == "p_3.png").unlink()


@pytest.mark.parametrize("name", ["folders", "lists", "cutouts", "supervisely", "coco", "voc"])
def test_a_missing_photo(tmp_path: Path, name: str, capsys: pytest.CaptureFixture) -> None:
    written.WRITERS[name](tmp_path)
    lose_photo(tmp_path)
    with pytest.raises(DatasetError, match=r"1 files .*(p_3|m 3).*--skip-unpaired"):
        whole(tmp_path)
    assert len(whole(tmp_path, skip_unpaired=True)) == written.COUNT - 1
    assert "left out" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["supervisely", "coco"])
def test_broken_json(tmp_path: Path, name: str) -> None:
    written.WRITERS[name](tmp_path)
    path = tmp_path / ("annotations.json" if name == "coco" else "ds/ann/p_2.png.json")
    path.write_text(path.read_text()[:-20])
    with pytest.raises(DatasetError, match=f"{path.name}: (is not JSON|annotation cannot be read).*"):
        dataset.check(whole(tmp_path))


def test_other_faults_of_coco(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", written.person(0)[0])
    entry = {"id": 1, "file_name": "a.png", "height": 96, "width": 72}
    cases = [
        ({"size": [96, 72], "counts": [5, 6]}, "do not add up"),
        ({"size": [72, 96], "counts": [96 * 72]}, r"are for \[72, 96\], the photo has \[96, 72\]"),
        ({"size": [96, 72], "counts": "0~"}, "damaged"),
        ({"size": [96, 72], "counts": ""}, "damaged"),
        ({"size": [96, 72]}, "counts"),
    ]
    for shape, words in cases:
        written.write_coco_json(tmp_path / "a.json", [entry], [written.note(1, 1, shape)])
        with pytest.raises(ImageError, match=f"annotation of .*a.png.*{words}"):
            read_mask(whole(tmp_path)[0].mask)
    written.write_coco_json(tmp_path / "a.json", [entry], [written.note(1, 1, [[1, 2, 3]])])
    with pytest.raises(DatasetError, match=r"a\.json: .*polygon"):
        whole(tmp_path)
    (tmp_path / "a.json").write_text('{"images": [{"id": 1}], "annotations": []}')
    with pytest.raises(DatasetError, match=r"a\.json: is not COCO: lacks 'categories'"):
        whole(tmp_path)


def test_coco_photo_of_another_size(tmp_path: Path) -> None:
    written.write_coco(tmp_path)
    write_image(tmp_path / "photos" / "p_1.png", written.person(1)[0][:50])
    with pytest.raises(DatasetError, match=r"1 masks have another size than their photo.*p_1\.png"):
        dataset.check(whole(tmp_path))


def test_faults_of_supervisely_objects(tmp_path: Path) -> None:
    written.write_supervisely(tmp_path)
    path = tmp_path / "ds" / "ann" / "p_0.png.json"
    content = json.loads(path.read_text())
    data = written.encode_bitmap(np.ones((9, 9), np.uint8))
    for bitmap, words in (
        ({"data": data, "origin": [70, 5]}, "reaches beyond 72x96"),
        ({"data": data[:-9], "origin": [0, 0]}, "annotation cannot be read"),
        ({"data": "AAAA", "origin": [0, 0]}, "annotation cannot be read"),
        ({"data": data}, "lacks 'origin'"),
    ):
        content["objects"][0] = {"classTitle": "person_bmp", "geometryType": "bitmap", "bitmap": bitmap}
        path.write_text(json.dumps(content))
        with pytest.raises(ImageError, match=words):
            read_mask(whole(tmp_path)[0].mask)
    (tmp_path / "meta.json").write_text('{"classes": [{"title": "dog"}]}')
    with pytest.raises(DatasetError, match=r"no class person.*--category: dog"):
        whole(tmp_path)


def test_faults_of_lists(tmp_path: Path) -> None:
    written.write_lists(tmp_path)
    path = tmp_path / "train.txt"
    for line, words in (("one", 'is not "image mask"'), ("a b c.png d.png", "put a tab between")):
        path.write_text(f"# photos\n\n{line}\n")
        with pytest.raises(DatasetError, match=f"train.txt, line 3: .*{words}"):
            whole(tmp_path, layout="lists")


def test_faults_of_arrays(tmp_path: Path) -> None:
    written.write_npy(tmp_path)
    good = np.load(tmp_path / "msk_uint8.npy")
    for masks_, words in (
        (good[:-1], r"1 files have no partner in the other array \(img_uint8\.npy\[5\]\)"),
        (good[:, ::2], "sizes must be equal"),
        (good.astype(np.float64), r"is float64 .*not uint8 \[N, H, W, 1\]"),
        (np.array([{}] * 6), "is not an array that can be read"),
    ):
        np.save(tmp_path / "msk_uint8.npy", masks_)
        with pytest.raises(DatasetError, match=words):
            whole(tmp_path)
    np.save(tmp_path / "msk_uint8.npy", (good > 127).astype(np.uint8)[..., 0])
    assert np.array_equal(read_mask(whole(tmp_path)[2].mask), written.hard(2))


def test_a_matting_picture_without_alpha(tmp_path: Path) -> None:
    written.write_cutouts(tmp_path)
    write_image(tmp_path / "matting" / "18" / "matting_00000000" / "p_1.png", written.person(1)[0])
    with pytest.raises(ImageError, match=r"p_1\.png: has no alpha channel"):
        read_mask(whole(tmp_path)[1].mask)


def test_photos_by_source() -> None:
    stems = ["web_2", "selfie_1", "web_10", "12", "IMG 3", "selfie_2", "alone_1", "web_3"]
    assert base.by_source(stems, 2) == {"selfie": [1, 5], "web": [0, 2, 7]}
    assert base.by_source(stems, 3) == {}, "one source is all photos"
    assert base.by_source(["1", "2", "3"], 2) == {}
