"""Reading what people have: modes, EXIF, damage; and letterboxing there and back."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from utils import images
from utils.images import ImageError


def ramp(height: int = 24, width: int = 40) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 6, y * 10, np.full_like(x, 90)], -1).astype(np.uint8)


def save(path: Path, mode: str = "RGB", **options: object) -> Path:
    Image.fromarray(ramp()).convert(mode).save(path, **options)
    return path


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("RGB", "a.png"),
        ("CMYK", "a.jpg"),
        ("L", "a.png"),
        ("P", "a.png"),
        ("P", "a.gif"),
        ("RGB", "a.webp"),
        ("1", "a.png"),
        ("LA", "a.png"),
    ],
)
def test_every_mode_is_rgb(tmp_path: Path, mode: str, name: str) -> None:
    image = images.read_image(save(tmp_path / name, mode))
    assert image.dtype == np.uint8
    assert image.shape == (24, 40, 3)
    assert image.std() > 10


def test_sixteen_bit_grey_keeps_its_range(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 24 * 40).reshape(24, 40).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    image = images.read_image(tmp_path / "deep.png")
    assert np.abs(image[..., 0].astype(int) - values // 257).max() <= 1
    assert np.abs(images.read_mask(tmp_path / "deep.png") - values / 65535).max() < 1e-4


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[..., 3] = [255, 255, 0, 0]
    Image.fromarray(rgba).save(tmp_path / "a.png")
    image = images.read_image(tmp_path / "a.png")
    assert image[0, 0].tolist() == [0, 0, 0]
    assert image[0, 3].tolist() == [255, 255, 255]


def test_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert images.read_image(tmp_path / "a.gif")[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_sizes_are_those_of_the_picture_read(tmp_path: Path, orientation: int, ending: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{ending}"
    Image.fromarray(ramp()).save(path, exif=exif)
    assert images.header(path) == ((24, 40), orientation)
    assert images.image_size(path) == images.read_image(path).shape[:2]


def test_other_primaries_are_brought_to_srgb(tmp_path: Path) -> None:
    """With red and green exchanged in its profile, red is green; sRGB's own and a damaged one change nothing."""
    lab, srgb = (ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes() for name in ("LAB", "sRGB"))
    swapped = (
        srgb.replace(b"rXYZ", b"tmp_")
        .replace(b"gXYZ", b"rXYZ")
        .replace(b"tmp_", b"gXYZ")
        .replace(b"sRGB", b"swap")
    )
    swapped = swapped.replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))
    for name, profile in (("swapped", swapped), ("srgb", srgb), ("lab", lab), ("damaged", srgb[:200])):
        Image.fromarray(ramp()).save(tmp_path / f"{name}.png", icc_profile=profile)
    wanted = ramp()[..., [1, 0, 2]].astype(int)
    assert np.abs(images.read_image(tmp_path / "swapped.png") - wanted).max() <= 3
    for name in ("srgb", "lab", "damaged"):
        assert np.array_equal(images.read_image(tmp_path / f"{name}.png"), ramp()), name


def test_sixteen_bit_grey_as_a_cut_out(tmp_path: Path) -> None:
    Image.fromarray((ramp()[..., 0].astype(np.uint16)) * 257).save(tmp_path / "a.png")
    rgba = images.read_rgba(tmp_path / "a.png")
    assert np.array_equal(rgba[..., :3], images.read_image(tmp_path / "a.png"))
    assert rgba[..., 0].max() == ramp()[..., 0].max()
    assert (rgba[..., 3] == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_is_honoured(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = Image.fromarray(ramp())
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's transpose that the tag asks to undo
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    stored.save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(images.read_image(tmp_path / "a.png"), ramp())
    assert images.image_size(tmp_path / "a.png") == (24, 40)


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint8, 1)])
def test_masks_of_both_conventions(tmp_path: Path, dtype: type, top: int) -> None:
    mask = np.zeros((8, 8), dtype)
    mask[2:5] = top
    Image.fromarray(mask).save(tmp_path / "m.png")
    assert np.array_equal(images.read_mask(tmp_path / "m.png"), mask / top)


def test_soft_mask_is_never_stretched(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 60, np.uint8)).save(tmp_path / "m.png")
    assert images.read_mask(tmp_path / "m.png") == pytest.approx(60 / 255)


def test_alpha_channel_as_mask(tmp_path: Path) -> None:
    rgba = np.full((4, 4, 4), 200, np.uint8)
    rgba[..., 3] = [0, 85, 170, 255]
    Image.fromarray(rgba).save(tmp_path / "m.png")
    assert images.read_mask(tmp_path / "m.png")[0] == pytest.approx([0, 1 / 3, 2 / 3, 1], abs=1e-6)


def test_palette_mask(tmp_path: Path) -> None:
    mask = Image.fromarray(np.eye(4, dtype=np.uint8), mode="P")
    mask.putpalette([0, 0, 0, 128, 0, 0])
    mask.save(tmp_path / "m.png")
    assert np.array_equal(images.read_mask(tmp_path / "m.png"), np.eye(4))


def test_damage_is_one_named_error(tmp_path: Path) -> None:
    whole = save(tmp_path / "whole.jpg").read_bytes()
    for name, data in (("cut.jpg", whole[: len(whole) // 2]), ("text.jpg", b"hello"), ("empty.png", b"")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ImageError, match=name):
            images.read_image(tmp_path / name)
    with pytest.raises(ImageError, match="no such file"):
        images.read_image(tmp_path / "none.jpg")


def test_phone_photos_that_are_not_read_are_told_of_once(tmp_path: Path, capsys) -> None:
    """One of a photo that lies beside it as JPEG is not missed."""
    for name in ("a.jpg", "b.png", "a.HEIC", "c.HEIC", "d.dng", ".hidden.heic"):
        (tmp_path / name).touch()
    for _ in range(2):
        assert [path.name for path in images.list_images(tmp_path)] == ["a.jpg", "b.png"]
    told = capsys.readouterr().err
    assert told.count("note") == 1
    assert "2 files are left out (c.HEIC)" in told
    with pytest.raises(ImageError, match=r"c.HEIC: not a picture that can be read: .* export them as JPEG"):
        images.read_image(tmp_path / "c.HEIC")


def test_pictures_beyond_the_limit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 100)
    with pytest.raises(ImageError, match="limit"):
        images.read_image(save(tmp_path / "a.png"))


def test_large_jpeg_is_read_reduced(tmp_path: Path) -> None:
    Image.fromarray(np.kron(ramp(), np.ones((50, 50, 1), np.uint8))).save(tmp_path / "a.jpg")
    assert images.read_image(tmp_path / "a.jpg").shape == (1200, 2000, 3)
    small = images.read_image(tmp_path / "a.jpg", at_least=192)
    assert 192 <= small.shape[0] < 600
    assert abs(small.shape[1] / small.shape[0] - 2000 / 1200) < 0.01


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([(64, 64), (96, 64), (64, 128)]))
def test_letterbox_keeps_the_aspect_and_comes_back(height: int, width: int, size: tuple) -> None:
    image = np.full((height, width, 3), 200, np.uint8)
    canvas, box = images.letterbox(image, size)
    assert canvas.shape == (*size, 3)
    scale = min(size[0] / height, size[1] / width)
    assert abs(box.height - height * scale) <= 1
    assert abs(box.width - width * scale) <= 1
    inside = canvas[box.top : box.top + box.height, box.left : box.left + box.width]
    assert (inside == 200).all()
    assert canvas.astype(int).sum() == inside.astype(int).sum()
    back = images.unletterbox(canvas[..., 0].astype(np.float32), box, (height, width))
    assert back.shape == (height, width)
    assert back == pytest.approx(200)


def test_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """A file-size limit stands in for the full disk: the write fails half-way in both."""
    code = (
        "import resource, sys, numpy as np; sys.path.insert(0, '.')\n"
        "from utils.images import write_image\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        f"write_image({str(tmp_path / 'big.png')!r}, np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8))\n"
    )
    root = Path(__file__).parent.parent
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert "File too large" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_cut_out_with_a_palette_is_its_alpha(tmp_path: Path) -> None:
    """What pngquant makes of a cut-out: a palette whose first colours are transparent."""
    alpha = np.zeros((24, 40), np.uint8)
    alpha[:, 20:] = 255
    cut = Image.fromarray(np.dstack([ramp(), alpha])).quantize(64)
    cut.save(tmp_path / "cut.png")
    assert Image.open(tmp_path / "cut.png").mode == "P"
    assert np.array_equal(images.read_mask(tmp_path / "cut.png"), alpha / np.float32(255))
