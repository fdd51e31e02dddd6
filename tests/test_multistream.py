"""Many sources at once: batches, tiles, outputs, figures, and sources that stall or die."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import portraits, videos
from tests.conftest import ROOT, hears_interrupts, refused
from tests.test_live import HEADLESS, person
from utils import metrics_http, multi, multi_report, segmenter
from utils.images import list_images, read_image, write_image
from utils.multi import Batcher, Reader, Stream, Taken, close_all, gather, state
from utils.multi_loop import Loop, check_patterns, names
from utils.pipeline import Matting, Stages
from utils.segmenter import Look
from utils.sources import Frame, Live, Source, VideoError
from utils.temporal import Temporal
from utils.tiles import Tiles

SHIPPED = ROOT / "checkpoints/live_int8.tflite"


class Given(Source):
    """Frames of known times, as a file has them."""

    def __init__(self, times: list[float], size: tuple[int, int] = (48, 64)) -> None:
        super().__init__("given")
        self.times, self.size = times, size

    def __iter__(self) -> Iterator[Frame]:
        for number, moment in enumerate(self.times):
            yield Frame(np.full((*self.size, 3), number % 256, np.uint8), moment)


class Network:
    """Answers with the frame's own red as alpha, after `seconds`, and keeps the sizes of its batches."""

    channels, size = 3, (32, 32)

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds, self.milliseconds = seconds, {"network": 1000 * seconds}
        self.priors: list = []

    def looks(self, frames: list, priors: list) -> list[Look]:
        time.sleep(self.seconds)
        self.priors.append(priors)
        few = [np.ascontiguousarray(frame[::2, ::2]) for frame in frames]
        return [Look(picture, picture[..., 0].astype(np.float32) / 255) for picture in few]


def at_rate(rate: float, size: tuple[int, int] = (48, 64), count: int = 10**9):
    """What connects to a camera of so many frames a second."""

    def connect() -> Iterator[np.ndarray]:
        for number in range(count):
            time.sleep(1 / rate)
            yield np.full((*size, 3), number % 256, np.uint8)

    return connect


def readers_of(*sources: Source, keep: bool = False) -> tuple[list[Reader], threading.Condition]:
    news = threading.Condition()
    return [Reader(f"s{i}", source, news, keep) for i, source in enumerate(sources)], news


def streams_of(readers: list[Reader], network: Network, shows: list | None = None) -> list[Stream]:
    def stream(number: int, reader: Reader) -> Stream:
        matting = Matting(network, Temporal("smooth"), Stages(), edges=False)
        show = shows[number].append if shows else None
        return Stream(reader, matting, lambda frame, alpha: np.dstack([alpha] * 3), show)

    return [stream(number, reader) for number, reader in enumerate(readers)]


def play(readers, news, batcher, seconds: float, max_wait: float = 0.02) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends and not all(reader.over for reader in readers):
        batch = gather(readers, news, max_wait, len(readers), ends)
        if batch:
            batcher(batch)
    batcher.settle()


def until(true, seconds: float = 10) -> None:
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.01)


# Batches


def test_a_full_batch_goes_at_once_and_a_partial_one_after_max_wait() -> None:
    quick, slow = Live("quick", at_rate(200)), Live("slow", at_rate(200))
    readers, news = readers_of(quick, slow)
    until(lambda: all(reader.ready for reader in readers))
    began = time.monotonic()
    assert len(gather(readers, news, 5.0, 2, began + 5)) == 2
    assert time.monotonic() - began < 0.5  # far below max_wait
    slow.close()  # it stays due for a while, but gives nothing
    time.sleep(0.05)  # but what was under way
    with news:
        readers[1]._waiting.clear()
        readers[1].came = time.monotonic()
    until(lambda: readers[0].ready)
    began = time.monotonic()
    batch = gather(readers, news, 0.15, 2, time.monotonic() + 5)
    assert [taken.number for taken in batch] == [0]
    # The first was replaced by newer ones while it waited, which does not make the wait begin anew.
    assert time.monotonic() - began < 0.15 + 0.2
    assert batch[0].came > began
    close_all(readers)


def test_a_frame_waits_max_wait_for_the_others_and_no_longer() -> None:
    single, other = Given([0.0]), Given([0.0, 30.0])
    readers, news = readers_of(single, other)
    until(lambda: readers[1].came and readers[0].ready)
    with news:
        readers[1]._waiting.clear()  # its next frame comes in half a minute, but it is due
        readers[1].came = time.monotonic()
    came = readers[0].ready
    batch = gather(readers, news, max(0.3, time.monotonic() - came + 0.2), 2, time.monotonic() + 5)
    waited = time.monotonic() - came
    assert [taken.number for taken in batch] == [0]
    assert 0.2 <= waited < 0.9
    assert gather(readers, news, 0.3, 2, time.monotonic() + 0.05) == []
    close_all(readers)


def test_a_small_batch_takes_who_waited_longest() -> None:
    readers, news = readers_of(*[Given([0.0, 60.0]) for _ in range(3)])
    until(lambda: all(reader.ready for reader in readers))
    for number, moment in enumerate((3.0, 1.0, 2.0)):
        readers[number]._since = moment
    assert [taken.number for taken in gather(readers, news, 9, 2, time.monotonic() + 1)] == [1, 2]
    close_all(readers)


def test_equal_sources_fill_their_batches() -> None:
    """Three of one rate: nearly all batches are full, and the sums agree."""
    readers, news = readers_of(*[Live(f"c{i}", at_rate(20, (40 + 8 * i, 60))) for i in range(3)])
    batcher = Batcher(Network(0.01), streams_of(readers, Network()), Stages())
    play(readers, news, batcher, 2.5, max_wait=0.06)
    close_all(readers)
    batcher.close()
    assert batcher.fill > 0.8
    assert sum(size * count for size, count in batcher.sizes.items()) == batcher.rate.count
    assert sum(stream.rate.count for stream in batcher.streams) == batcher.rate.count > 60


def test_files_that_are_kept_lose_no_frame() -> None:
    readers, news = readers_of(
        Given([0.01 * i for i in range(40)]), Given([0.5 * i for i in range(25)]), keep=True
    )
    shows: list = [[], []]
    batcher = Batcher(Network(), streams_of(readers, Network(), shows), Stages())
    play(readers, news, batcher, 20)
    assert [len(show) for show in shows] == [40, 25]
    assert [reader.dropped for reader in readers] == [0, 0]
    assert [round(255 * float(picture.mean())) for picture in shows[1]] == list(range(25))  # in order
    close_all(readers)


def test_a_file_that_is_watched_plays_at_its_own_speed() -> None:
    readers, news = readers_of(Given([0.05 * i for i in range(20)]))
    batcher = Batcher(Network(), streams_of(readers, Network()), Stages())
    began = time.monotonic()
    play(readers, news, batcher, 20)
    assert 0.9 < time.monotonic() - began < 3
    assert readers[0].over
    assert state(readers[0]) == ["s0", "ended"]


def test_one_dies_and_returns_one_stalls_and_the_others_go_on() -> None:
    lives: list[int] = []

    def dies() -> Iterator[np.ndarray]:
        lives.append(1)
        yield from at_rate(30, count=10)()
        if len(lives) == 1:
            time.sleep(1.6)  # as an address that does not answer
            raise ValueError("unplugged")
        yield from at_rate(30)()

    stop = threading.Event()

    def stalls() -> Iterator[np.ndarray]:
        yield from at_rate(30, count=5)()
        stop.wait(60)

    sources = [Live("good", at_rate(30)), Live("dies", dies, 60), Live("stalls", stalls, 60)]
    readers, news = readers_of(*sources)
    network = Network(0.002)
    batcher = Batcher(network, streams_of(readers, network), Stages())
    play(readers, news, batcher, 1.8)
    assert state(readers[0]) == []
    assert state(readers[1])[:1] == ["s1"]
    assert re.match(r"no picture for \d+ s", state(readers[2])[1])
    before = batcher.streams[0].rate.count
    began = time.monotonic()
    play(readers, news, batcher, 1.5)
    rate = (batcher.streams[0].rate.count - before) / (time.monotonic() - began)
    assert rate > 15  # of 30, on a machine that may be busy: stalled ones are not waited for
    assert sources[1].retries >= 1
    assert state(readers[1]) == []  # back
    assert batcher.streams[1].rate.count > 20
    assert state(readers[2])[-1].startswith("no picture for")
    stop.set()
    close_all(readers)


def test_a_source_that_gives_up_is_an_error_and_the_others_end_well() -> None:
    def broken() -> Iterator[np.ndarray]:
        raise ValueError("no such device")
        yield

    readers, news = readers_of(Live("camera 7", broken), Given([0.0, 0.1]))
    play(readers, news, Batcher(Network(), streams_of(readers, Network()), Stages()), 5)
    assert readers[0].error == "camera 7: no such device"
    assert state(readers[0]) == ["s0", "camera 7: no such device"]
    assert readers[1].error == ""


def test_closing_does_not_wait_for_those_that_hang() -> None:
    forever = threading.Event()

    def hangs() -> Iterator[np.ndarray]:
        forever.wait(60)
        yield np.zeros((8, 8, 3), np.uint8)

    readers, _ = readers_of(*[Live(f"h{i}", hangs, 60) for i in range(4)])
    began = time.monotonic()
    close_all(readers)
    assert time.monotonic() - began < 6  # side by side: not 2 s each, twice
    forever.set()


def test_a_slow_output_holds_nobody_up() -> None:
    class Slow:
        name, whole, written = "slow", False, 0

        def write(self, picture: np.ndarray, moment: float) -> None:
            time.sleep(0.3)
            self.written += 1

        def close(self) -> None:
            pass

    readers, news = readers_of(Live("c", at_rate(50)))
    slow = Slow()
    matting = Matting(Network(), Temporal("off"), Stages(), edges=False)
    stream = Stream(readers[0], matting, lambda frame, alpha: frame.image, None, [slow])
    batcher = Batcher(Network(), [stream], Stages())
    play(readers, news, batcher, 1.5)
    close_all(readers)
    batcher.close()
    stream.close()
    assert stream.rate.count > 25
    assert stream.unwritten > 10
    assert slow.written + stream.unwritten == stream.rate.count


def test_an_output_that_fails_leaves_none_open() -> None:
    class Output:
        name, whole, written, open = "o", False, 0, True

        def __init__(self, fails: bool) -> None:
            self.fails = fails

        def close(self) -> None:
            self.open = False
            if self.fails:
                raise VideoError("the server is gone")

    readers, _ = readers_of(Live("c", at_rate(50)))
    outputs = [Output(False), Output(True), Output(False)]
    matting = Matting(Network(), Temporal("off"), Stages(), edges=False)
    stream = Stream(readers[0], matting, lambda frame, alpha: frame.image, None, outputs)
    close_all(readers)
    with pytest.raises(VideoError, match="server is gone"):
        stream.close()
    assert not any(output.open for output in outputs)


def test_a_network_with_priors_is_given_each_streams_own() -> None:
    network = Network()
    network.channels = 4
    readers, _ = readers_of(
        Given([0.1 * i for i in range(4)], (48, 64)), Given([0.1 * i for i in range(4)], (64, 40)), keep=True
    )
    batcher = Batcher(network, streams_of(readers, network), Stages())
    until(lambda: all(reader.ready for reader in readers))
    frames = [np.full((48, 64, 3), 200, np.uint8), np.full((64, 40, 3), 230, np.uint8)]
    for _ in range(2):
        batcher([Taken(i, Frame(frame, 0.0), time.monotonic()) for i, frame in enumerate(frames)])
    batcher.settle()
    assert network.priors[0] == [None, None]
    assert [prior.shape for prior in network.priors[1]] == [(24, 32), (32, 20)]
    close_all(readers)


def test_looks_of_several_frames_are_those_of_each() -> None:
    network = segmenter.open(SHIPPED, 1)
    frames = [
        portraits.portrait(i, *size)[0]
        for i, size in enumerate([(90, 160), (160, 90), (120, 120), (91, 163)])
    ]
    together = network.looks(frames, [None] * 4)
    for frame, look in zip(frames, together, strict=True):
        alone = network.coarse(frame)
        assert np.array_equal(look.picture, alone.picture)
        assert np.array_equal(look.alpha, alone.alpha)
    assert network.milliseconds["network"] > 0


# Tiles


@settings(deadline=None, max_examples=40)
@given(count=st.integers(1, 9), height=st.integers(5, 70), width=st.integers(5, 70))
def test_each_picture_lies_in_its_own_cell(count: int, height: int, width: int) -> None:
    tiles = Tiles(count, cell=(40, 60))
    for number in range(count):
        tiles.put(number, np.full((height, width, 3), 20 + number, np.uint8))
    whole = tiles.picture()
    assert whole.shape == (40 * tiles.rows, 60 * tiles.columns, 3)
    assert tiles.columns * tiles.rows >= count
    for number in range(count):
        row, column = divmod(number, tiles.columns)
        assert whole[40 * row + 20, 60 * column + 30].tolist() == [20 + number] * 3
        y, x = (row + 0.5) / tiles.rows, (column + 0.5) / tiles.columns
        assert tiles.at(x, y) == pytest.approx((number, 0.5, 0.5), abs=0.2)


def test_a_marked_tile_is_dark_says_why_and_comes_back() -> None:
    tiles = Tiles(2, (1, 2), (180, 320))
    bright = np.full((180, 320, 3), 240, np.uint8)
    tiles.put(0, bright)
    tiles.put(1, bright)
    for lines in (["door", "no picture for 2 s"], ["door", "no picture for 3 s"]):
        tiles.mark(1, lines)
    above, below = np.split(tiles.picture(), 2)
    assert np.array_equal(above, bright)
    assert below[100:].max() == 80  # a third, however often it was marked
    assert below[:60].max() > 200  # white text
    tiles.put(1, bright)
    assert np.array_equal(tiles.picture()[180:], bright)


def test_sources_have_names_of_their_own_and_patterns_use_them() -> None:
    found = names(
        ["0", "a/clip.mp4", "b/clip.mp4", "rtsp://u:p@host:8554/front door", "gst:videotestsrc", "???"]
    )
    assert found == ["camera0", "clip", "clip_3", "front_door", "pipeline5", "source6"]
    assert names(["x/clip_3.mp4", "a/clip.mp4", "b/clip.mp4"]) == ["clip_3", "clip", "clip_4"]
    check_patterns(["out_{name}.mp4", "rtmp://h/live/{n}"], 3)
    check_patterns(["out.mp4"], 1)
    for pattern in ("out.mp4", "{nome}.mp4", "{0}.mp4", "{name", "{name.x}.mp4"):
        with pytest.raises(ValueError, match="per-stream-out"):
            check_patterns([pattern], 2)


# Figures


def parse(text: str) -> dict[str, dict]:
    """The text format 0.0.4, strictly: each sample belongs to the family whose TYPE was said before."""
    families: dict[str, dict] = {}
    name = ""
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name = line.split(" ", 3)[2]
            assert name not in families
            families[name] = {"samples": {}}
        elif line.startswith("# TYPE "):
            _, _, said, kind = line.split(" ")
            assert said == name
            assert kind in ("counter", "gauge", "summary", "histogram")
            families[name]["kind"] = kind
        else:
            sample = re.fullmatch(
                r'([a-zA-Z_:][\w:]*)(?:\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*",?)+)\})? (\S+)', line
            )
            assert sample, line
            assert sample[1] in (name, *(name + end for end in ("_sum", "_count", "_bucket")))
            labels = tuple(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', sample[2] or ""))
            assert (sample[1], labels) not in families[name]["samples"]
            families[name]["samples"][sample[1], labels] = float(sample[3])
    return families


def test_figures_for_prometheus_are_those_of_the_run() -> None:
    readers, news = readers_of(Given([0.0] * 12), Given([0.0] * 7), keep=True)
    streams = streams_of(readers, Network())
    streams[1].name = 'a "quoted\\ name\n'
    batcher = Batcher(Network(), streams, Stages())
    play(readers, news, batcher, 10)
    host, port = metrics_http.address("0")
    assert host == "127.0.0.1"
    with metrics_http.serve(host, port, lambda: multi_report.families(batcher, 5)) as address:
        with urllib.request.urlopen(address, timeout=5) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            families = parse(answer.read().decode())
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(address.replace("metrics", "x"), timeout=5)
    frames = families["portrait_frames_total"]
    assert frames["kind"] == "counter"
    quoted = r"a \"quoted\\ name\n"
    assert frames["samples"] == {
        ("portrait_frames_total", (("source", "s0"),)): 12,
        ("portrait_frames_total", (("source", quoted),)): 7,
    }
    sizes = families["portrait_batch_size"]["samples"]
    buckets = [value for (name, _), value in sizes.items() if name.endswith("_bucket")]
    assert buckets == sorted(buckets)
    assert buckets[-1] == sizes["portrait_batch_size_count", ()]
    assert sizes["portrait_batch_size_sum", ()] == 19
    latency = families["portrait_latency_seconds"]["samples"]
    assert latency["portrait_latency_seconds_count", (("source", "s0"),)] == 12
    assert 0 < latency["portrait_latency_seconds", (("source", "s0"), ("quantile", "0.5"))] < 5
    assert families["portrait_up"]["samples"]["portrait_up", (("source", "s0"),)] == 0  # ended
    panel = multi_report.lines(batcher)
    assert any(line.startswith("s0\t") for line in panel)


def test_where_figures_are_served() -> None:
    assert metrics_http.address("9100") == ("127.0.0.1", 9100)
    assert metrics_http.address("0.0.0.0:9100") == ("0.0.0.0", 9100)
    for wrong in ("x", "h:", "99999"):
        with pytest.raises(ValueError, match="metrics"):
            metrics_http.address(wrong)


# The command


WORST = """
import signal, threading, time
from utils.multi import gather

class Worst(threading.Condition):  # interrupted with its lock held and its `with` not yet begun
    def __enter__(self):
        taken = super().__enter__()
        signal.raise_signal(signal.{name})
        return taken

news = Worst()
try:
    gather([], news, 0, 1, time.monotonic() + 1)
except KeyboardInterrupt:
    print("interrupted")
free = []
thread = threading.Thread(target=lambda: free.append(news.acquire(timeout=2)))
thread.start()
thread.join()
print("free", free)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupt_leaves_no_lock_taken(name: str) -> None:
    first = "import signal; signal.signal(signal.SIGTERM, signal.default_int_handler)"
    words = [sys.executable, "-c", f"{first}\n{WORST.format(name=name)}"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, preexec_fn=hears_interrupts)
    assert done.stdout == "interrupted\nfree [True]\n", done.stderr


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three of other sizes, rates and lengths; the last without sound."""
    folder = tmp_path_factory.mktemp("films")
    return [
        videos.write(folder / "a.mp4", person(20)),
        videos.write(folder / "b.mp4", person(12, (180, 320)), rate=15),
        videos.write(folder / "c.mp4", person(30, (160, 120)), rate=30, sound=None),
    ]


def test_a_file_each_with_every_frame_and_its_sound(command, films: list[Path], tmp_path: Path) -> None:
    pattern, stats = tmp_path / "out_{name}.mp4", tmp_path / "s.json"
    result = command("multistream.py", *films, "--per-stream-out", pattern, "--stats", stats, **HEADLESS)
    assert result.returncode == 0, result.stderr
    for film, count in zip(films, (20, 12, 30), strict=True):
        pictures, times = videos.read(tmp_path / f"out_{film.name}")
        true, moments = videos.read(film)
        assert len(pictures) == count
        assert pictures[0].shape == true[0].shape
        assert np.diff(times) == pytest.approx(np.diff(moments), abs=0.003)
    seconds, hertz = videos.loudness(tmp_path / "out_b.mp4")
    assert seconds == pytest.approx(12 / 15, abs=0.15)
    assert hertz == pytest.approx(videos.TONE, rel=0.03)
    found = json.loads(stats.read_text())
    assert found["frames"] == 62
    assert {name: its["frames"] for name, its in found["sources"].items()} == {"a": 20, "b": 12, "c": 30}
    assert all(its["dropped"] == 0 for its in found["sources"].values())
    assert sum(int(size) * count for size, count in found["batches"]["sizes"].items()) == 62
    assert 0 < found["batches"]["fill"] <= 1
    assert found["sources"]["a"]["latency"]["p95"] >= found["sources"]["a"]["latency"]["p50"] > 0


def test_a_film_cut_short_has_its_sound_cut_too(command, films: list[Path], tmp_path: Path) -> None:
    words = ("--frames", "5", "--per-stream-out", tmp_path / "{n}.mp4")
    assert command("multistream.py", *films[:2], *words, **HEADLESS).returncode == 0
    for number, rate in ((1, 25), (2, 15)):
        assert videos.loudness(tmp_path / f"{number}.mp4")[0] == pytest.approx(5 / rate, abs=0.1)


def test_without_tiles_a_line_says_who_is_waited_for(films: list[Path], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = taken.getsockname()[1]
    run = start(
        f"rtsp://127.0.0.1:{closed}/x", films[0], "--per-stream-out", tmp_path / "{n}.mp4", "--no-window"
    )
    try:
        line = next(line for line in run.stderr if line.startswith("note:"))
        assert "refused: trying again" in line
    finally:
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=30)


def test_each_source_is_treated_as_if_it_were_alone(command, films: list[Path], tmp_path: Path) -> None:
    """Memory, edges and background of one stream do not depend on the others."""
    words = ("--per-stream-out", tmp_path / "many_{n}", "--background", "green", "--frames", "9")
    result = command("multistream.py", *films[:2], *words, **HEADLESS)
    assert result.returncode == 0, result.stderr
    for number, film in enumerate(films[:2], 1):
        alone = tmp_path / f"one_{number}"
        command("webcam.py", "green", "--source", film, "--frames", "9", "--out", alone, **HEADLESS)
        many, one = list_images(tmp_path / f"many_{number}"), list_images(alone)
        assert len(many) == len(one) == 9
        assert all(np.array_equal(read_image(a), read_image(b)) for a, b in zip(many, one, strict=True))


def test_tiles_in_one_file_with_the_sound_of_one(command, films: list[Path], tmp_path: Path) -> None:
    words = ("--tile", "3x1", "--cell", "90x160", "--background", "0,0,255", "--sound", "2", "--rate", "20")
    result = command("multistream.py", *films, *words, "--out", tmp_path / "t.mp4", **HEADLESS)
    assert result.returncode == 0, result.stderr
    pictures, times = videos.read(tmp_path / "t.mp4")
    assert pictures[0].shape == (90, 480, 3)
    assert len(pictures) >= 3
    assert np.all(np.diff(times) > 0)
    assert videos.loudness(tmp_path / "t.mp4")[1] == pytest.approx(videos.TONE, rel=0.1)
    brightest = np.max(pictures, 0)  # before they ended, and were marked
    for left in (0, 160):  # these two are wider than high: blue beside their heads
        seen = brightest[25:35, left + 30 : left + 40].mean((0, 1))
        assert seen[2] > 40
        assert seen[2] > 2 * seen[0]
    assert brightest[70, 325].max() < 40  # the third is upright: black beside it


def start(*words: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "multistream.py", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, **HEADLESS, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hears_interrupts,
    )


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_finishes_all_files(tmp_path: Path, how: signal.Signals) -> None:
    """Also with a source that nobody answers at; figures are served meanwhile."""
    films = [videos.write(tmp_path / f"{i}.mp4", person(20, (120, 160)) * 100, sound=None) for i in range(2)]
    with socket.socket() as mute:  # takes the connection and says nothing
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        silent = f"rtmp://127.0.0.1:{mute.getsockname()[1]}/live/x"
        process = start(
            *(*films, silent, "--out", tmp_path / "t.mp4", "--per-stream-out", tmp_path / "o_{n}.mp4"),
            *("--metrics", "0", "--stats", tmp_path / "s.json"),
        )
        address = next(line.split()[1] for line in process.stdout if line.startswith("metrics: "))
        ends = time.monotonic() + 60
        while time.monotonic() < ends:
            with urllib.request.urlopen(address, timeout=10) as answer:
                samples = parse(answer.read().decode())["portrait_tiled_total"]["samples"]
            if samples["portrait_tiled_total", ()] > 20:
                break
            time.sleep(0.1)
        process.send_signal(how)
        began = time.monotonic()
        errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert time.monotonic() - began < 20
    assert len(videos.read(tmp_path / "t.mp4")[0]) > 15
    for number in (1, 2):
        assert len(videos.read(tmp_path / f"o_{number}.mp4")[0]) > 5
    assert not list(tmp_path.glob(".*"))  # nothing half written
    facts = json.loads((tmp_path / "s.json").read_text())
    assert facts["sources"]["x"]["frames"] == 0
    assert "no picture for" in facts["sources"]["x"]["state"]


def test_what_cannot_be_done_is_one_line(command, monkeypatch, films: list[Path], tmp_path: Path) -> None:
    import multistream

    a, b = films[:2]
    for name, value in HEADLESS.items():
        monkeypatch.setenv(name, value)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for words, said in [
            ((a, tmp_path / "none.mp4", "--out", tmp_path / "o.mp4"), "none.mp4"),
            ((a, b, "--per-stream-out", tmp_path / "o.mp4"), "{name}"),
            ((a, b, "--tile", "1x1", "--out", tmp_path / "o.mp4"), "1 cells for 2"),
            ((a, b, "--background", "transparent", "--out", tmp_path / "o.mp4"), "webcam.py"),
            ((a, b, "--per-stream-out", str(films[0].parent / "{name}.mp4")), "overwrite"),
            ((a, b, "--per-stream-out", tmp_path / "o.mp4.{n}"), "videos are written as"),
            ((a, "--out", tmp_path / "o.mp4", "--metrics", "nine"), "--metrics"),
            ((a, "--out", tmp_path / "o.mp4", "--metrics", port), f"--metrics 127.0.0.1:{port}"),
            ((a, "--serve", "rtsp://127.0.0.1"), "--serve"),
        ]:
            monkeypatch.setattr(sys, "argv", ["multistream.py", *map(str, words)])
            with pytest.raises((ValueError, OSError)) as caught:
                Loop(multistream.arguments())
            assert said in str(caught.value)
        assert not [t.name for t in threading.enumerate() if t.name.startswith(("frames of", "metrics"))]
    refused(command("multistream.py", a, b, **HEADLESS), "no display")
    assert not (tmp_path / "o.mp4").exists()
    wrong = command("multistream.py", a, "--temporal", "delay", "--out", tmp_path / "o.mp4", **HEADLESS)
    assert wrong.returncode == 2
    assert "invalid choice: 'delay'" in wrong.stderr
    assert "COLSxROWS" in command("multistream.py", a, "--tile", "0x1", **HEADLESS).stderr


def test_a_damaged_film_is_said_and_the_others_are_whole(command, films: list[Path], tmp_path: Path) -> None:
    whole = videos.write(tmp_path / "whole.mkv", person(60))
    (tmp_path / "text.mkv").write_bytes(whole.read_bytes()[:3000])
    result = command(
        "multistream.py",
        films[0],
        tmp_path / "text.mkv",
        "--per-stream-out",
        tmp_path / "o_{name}.mp4",
        **HEADLESS,
    )
    refused(result, "text.mkv")
    if "20 frames" in result.stdout:  # it was found out while it played
        assert len(videos.read(tmp_path / "o_a.mp4")[0]) == 20


def test_the_last_tiles_are_not_darkened(command, tmp_path: Path) -> None:
    """A photo's only frame is its last, too."""
    write_image(tmp_path / "a.png", person(1)[0])
    words = ("--background", "0,0,255", "--out", tmp_path / "t.png")
    assert command("multistream.py", tmp_path / "a.png", *words, **HEADLESS).returncode == 0
    assert read_image(tmp_path / "t.png")[10:30, 120:220].mean((0, 1)) == pytest.approx((0, 0, 255), abs=12)


def test_what_is_shown(command, films: list[Path], tmp_path: Path) -> None:
    for show, width in (("masks", 320), ("both", 640)):
        words = ("--show", show, "--per-stream-out", tmp_path / f"{show}_{{n}}.png", "--frames", "3")
        assert command("multistream.py", films[0], *words, **HEADLESS).returncode == 0
        picture = read_image(tmp_path / f"{show}_1.png")
        assert picture.shape == (240, width, 3)
        mask = picture[:, :320]
        assert np.array_equal(mask[..., 0], mask[..., 2])
        assert mask[85, 150].min() > 240  # her face
        assert mask[15, 15].max() < 60
    assert cv2.absdiff(picture[:, 320:], cv2.cvtColor(picture[:, 320:, 0], cv2.COLOR_GRAY2RGB)).max() > 30
    assert multi.STALL > 0.3
