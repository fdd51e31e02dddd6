"""Commands on a Ray cluster: the same files as without it, also when a worker is killed while it writes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from tests import portraits
from tests.conftest import ROOT, refused
from utils.images import write_image

WRITTEN = re.compile(r"\..+\.(\d+)\.\w+")  # a file that process is writing (utils/files.py)
PATIENCE = 120


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster of two workers, and a processor for what Ray itself does."""
    ray = pytest.importorskip("ray", reason="needs ray: pip install 'ray[data]'")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(address="local", num_cpus=3, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        yield ray.get_runtime_context().gcs_address
    finally:
        ray.shutdown()


def files(folder: Path) -> dict[str, Path]:
    return {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}


def finished(folder: Path, ending: str) -> dict[Path, tuple[int, int]]:
    """The files of this ending, and what changes when one is written again."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob(f"[!.]*{ending}")}


def kill_a_writer(process: subprocess.Popen, folders: list[Path], few: int) -> int:
    """Kill the worker that is writing in the folders, once they hold a few files; returns its number."""
    ours = psutil.Process()
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert process.poll() is None, process.communicate()
        names = [name for folder in folders if folder.is_dir() for name in os.listdir(folder)]
        writers = [int(match[1]) for match in map(WRITTEN.fullmatch, names) if match]
        if len(names) >= few and writers:
            assert writers[0] in {child.pid for child in ours.children(recursive=True)} - {process.pid}
            os.kill(writers[0], signal.SIGKILL)
            return writers[0]
        time.sleep(0.0005)
    raise AssertionError("no worker was seen writing")


def start(*words: object) -> subprocess.Popen:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *map(str, words)], cwd=ROOT, **pipes)


def test_a_conversion(command, cluster: str, tmp_path: Path) -> None:
    """Photos that are copied and photos written anew; a worker dies; nothing is written twice, nothing is left."""
    for number in range(6):
        image, alpha = portraits.portrait(number, 320, 240)
        write_image(tmp_path / "in" / "masks" / f"{number}.png", np.rint(255 * alpha).astype(np.uint8))
        (tmp_path / "in" / "images").mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "in" / "images" / f"{number}{('.png', '.webp')[number % 2]}")
    for number in range(6, 300):
        for folder, ending in (("images", (".png", ".webp")[number % 2]), ("masks", ".png")):
            place = tmp_path / "in" / folder
            shutil.copyfile(place / f"{number % 6}{ending}", place / f"{number}{ending}")
    words = ("-m", "utils.data", "convert", tmp_path / "in")
    alone = command(*words, tmp_path / "one")
    assert alone.returncode == 0, alone.stderr
    out = tmp_path / "two"
    process = start(*words, out, "--ray", cluster)
    kill_a_writer(process, [out / "train" / kind for kind in ("images", "masks")], 40)
    done = {path: seen for path, seen in finished(out, ".png").items() if path.parent.name == "masks"}
    output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert errors == ""
    assert 10 < len(done) < 290
    assert {path: seen for path, seen in finished(out, ".png").items() if path in done} == done
    one, two = files(tmp_path / "one"), files(out)
    assert one.keys() == two.keys()
    assert all(one[name].read_bytes() == two[name].read_bytes() for name in one)
    # before it Ray may say that a worker died
    assert output.replace(str(out), "").endswith(alone.stdout.replace(str(tmp_path / "one"), ""))


def test_cut_outs(command, cluster: str, tmp_path: Path) -> None:
    """The same pictures, a worker killed; a photo that cannot be read is named."""
    for number in range(60):
        write_image(tmp_path / "in" / f"{number}.png", portraits.portrait(number % 5, 240, 180)[0])
    (tmp_path / "in" / "broken.jpg").write_text("not a picture")
    network = ("--model", "checkpoints/live_int8.tflite")
    words = ("test.py", tmp_path / "in", *network, "--save", "alpha,composite")
    alone = command(*words, "--out", tmp_path / "one")
    out = tmp_path / "two"
    write_image(out / "59_alpha.png", np.zeros((4, 4), np.uint8))  # of an earlier run: is written anew
    process = start(*words, "--out", out, "--ray", cluster)
    kill_a_writer(process, [out], 16)
    done = finished(out, "_composite.png")
    noted = {path.stem for path in out.glob(".notes_*/*.json")}
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == alone.returncode == 2
    assert errors == alone.stderr
    assert "broken.jpg" in errors
    assert 0 < len(noted) < 60
    kept = {path: seen for path, seen in done.items() if path.name.split("_")[0] in noted}
    assert {path: seen for path, seen in finished(out, "_composite.png").items() if path in kept} == kept
    one, two = files(tmp_path / "one"), files(out)
    assert one.keys() == two.keys()
    assert all(one[name].read_bytes() == two[name].read_bytes() for name in one)
    assert not list(out.glob(".*"))


def test_an_error_of_a_worker_is_one_line(command, cluster: str, tmp_path: Path) -> None:
    portraits.write_dataset(tmp_path / "in", 4, 2)
    photo = tmp_path / "in" / "train" / "images" / "a_0.jpg"
    photo.write_bytes(photo.read_bytes()[:900])
    words = ("-m", "utils.data", "convert", tmp_path / "in", tmp_path / "out", "--ray", cluster)
    refused(command(*words), "a_0.jpg")


def test_without_ray_it_is_said_before_anything_is_written(command, people: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "sitecustomize.py").write_text("import sys\nsys.modules['ray'] = None\n")
    out, none = tmp_path / "out", str(tmp_path / "none")
    convert = ("-m", "utils.data", "convert", people, out, "--ray")
    refused(command(*convert, PYTHONPATH=none), "pip install 'ray[data]'")
    cut = ("test.py", people / "val" / "images", "--out", out, "--ray")
    refused(command(*cut, PYTHONPATH=none), "pip install 'ray[data]'")
    assert not out.exists()
