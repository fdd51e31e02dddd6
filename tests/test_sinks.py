"""Videos come out whole, with true times, their sound and, where asked for, their alpha."""

from __future__ import annotations

import errno
import socket
import threading
import time

import numpy as np
import pytest

from tests import portraits, videos
from utils import stream_sink, video_sink
from utils.images import list_images, read_rgba, write_image
from utils.sinks import open_sink
from utils.sources import VideoError, open_source
from utils.stream_sink import StreamSink
from utils.video_sink import check_alpha, read_alpha


@pytest.mark.parametrize("ending", ["mp4", "mkv", "mov", "webm"])
def test_file_to_file_keeps_frames_times_and_sound(tmp_path, ending: str) -> None:
    times = [0.04 * number + (0.2 if number > 14 else 0) for number in range(30)]
    path = videos.write(tmp_path / "in.mp4", videos.frames(30), times)
    with (
        open_source(path) as source,
        open_sink(tmp_path / f"out.{ending}", source.rate, source.sound) as sink,
    ):
        for frame in source:
            sink.write(frame.image, frame.time)
    pictures, found = videos.read(tmp_path / f"out.{ending}")
    assert len(pictures) == 30
    assert np.diff(found) == pytest.approx(np.diff(times), abs=0.003)
    for picture, true in zip(pictures, videos.frames(30), strict=True):
        assert np.abs(picture.astype(int) - true).mean() < 16
    seconds, hertz = videos.loudness(tmp_path / f"out.{ending}")
    assert seconds == pytest.approx(times[-1] + 0.04, abs=0.1)
    assert hertz == pytest.approx(videos.TONE, rel=0.03)


def test_an_early_end_leaves_a_playable_file(tmp_path) -> None:
    def run() -> None:
        with open_sink(tmp_path / "out.mp4", 25) as sink:
            for number, picture in enumerate(videos.frames(30)):
                sink.write(picture, number / 25)
                if number == 11:
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert len(videos.read(tmp_path / "out.mp4")[0]) == 12
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_nothing_written_leaves_nothing(tmp_path) -> None:
    with open_sink(tmp_path / "out.mp4", 25):
        pass
    assert not list(tmp_path.iterdir())


def test_a_film_that_failed_is_gone_and_does_not_count(tmp_path, monkeypatch) -> None:
    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    sink = open_sink(tmp_path / "out.mp4", 25)
    sink.write(videos.frames(1)[0], 0)
    monkeypatch.setattr(video_sink, "video_frame", full)
    with pytest.raises(OSError, match="no space"):
        sink.write(videos.frames(1)[0], 1 / 25)
    sink.close()
    assert sink.written == 0  # which the live scripts go by when they say what they wrote
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("sound", [None, "aac"])
def test_a_colon_in_a_name_makes_no_protocol_of_it(tmp_path, monkeypatch, sound: str | None) -> None:
    monkeypatch.chdir(tmp_path)
    videos.write(tmp_path / "12:30.mp4", videos.frames(4), sound=sound)
    with open_source("12:30.mp4") as source, open_sink("12:31.mp4", source.rate, source.sound) as sink:
        for frame in source:
            sink.write(frame.image, frame.time)
    assert len(videos.read(tmp_path / "12:31.mp4")[0]) == 4


def test_two_frames_of_one_time_are_both_kept(tmp_path) -> None:
    with open_sink(tmp_path / "out.mp4", 25) as sink:
        for picture in videos.frames(4):
            sink.write(picture, 0.5)
    assert len(videos.read(tmp_path / "out.mp4")[0]) == 4


def test_odd_sizes(tmp_path) -> None:
    with open_sink(tmp_path / "out.mp4", 25) as sink:
        for number, picture in enumerate(videos.frames(3, (97, 131))):
            sink.write(picture, number / 25)
    assert videos.read(tmp_path / "out.mp4")[0][0].shape == (98, 132, 3)


def cutouts(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    image, alpha = portraits.portrait(3, 120, 161)
    noise = rng.integers(-3, 4, image.shape)
    person = np.dstack([np.clip(image + noise, 0, 255).astype(np.uint8), (alpha * 255).astype(np.uint8)])
    return [np.roll(person, 2 * number, 1) for number in range(count)]


@pytest.mark.parametrize("ending", ["webm", "mov"])
def test_transparent_video_comes_back(tmp_path, ending: str) -> None:
    with open_sink(tmp_path / f"out.{ending}", 25, transparent=True) as sink:
        for number, picture in enumerate(cutouts(12)):
            sink.write(picture, number / 25)
    alphas = list(read_alpha(str(tmp_path / f"out.{ending}")))
    assert len(alphas) == 12
    for alpha, true in zip(alphas, cutouts(12), strict=True):
        assert np.abs(alpha[:120, :161].astype(int) - true[..., 3]).mean() < 2


def test_png_folder_is_exact(tmp_path) -> None:
    with open_sink(tmp_path / "frames", 25, transparent=True) as sink:
        for picture in cutouts(3):
            sink.write(picture, 0)
    found = [read_rgba(path) for path in list_images(tmp_path / "frames")]
    assert all(np.array_equal(a, b) for a, b in zip(found, cutouts(3), strict=True))


def test_a_shorter_film_does_not_go_on_as_the_longer_one_before(tmp_path) -> None:
    write_image(tmp_path / "frames/cover.png", cutouts(1)[0])
    for count in (5, 2):
        with open_sink(tmp_path / "frames", 25, transparent=True) as sink:
            for picture in cutouts(count):
                sink.write(picture, 0)
    names = [path.name for path in list_images(tmp_path / "frames")]
    assert names == ["000000.png", "000001.png", "cover.png"]


def test_other_peoples_pictures_stay(tmp_path) -> None:
    write_image(tmp_path / "mine" / "000007.png", cutouts(1)[0])
    with pytest.raises(ValueError, match="may be yours: give another folder"):
        open_sink(tmp_path / "mine", 25)
    assert [path.name for path in list_images(tmp_path / "mine")] == ["000007.png"]
    with open_sink(f"{tmp_path}/frames.v2/", 25) as sink:  # a slash says that it is a folder
        sink.write(cutouts(1)[0], 0)
    assert (tmp_path / "frames.v2" / "000000.png").exists()


@pytest.mark.parametrize(("scheme", "answer"), [("rtmp", b"\x03"), ("rtsp", b"RTSP/1.0 200 OK\r\n\r\n")])
def test_a_server_that_says_nothing_is_not_waited_for(monkeypatch, scheme: str, answer: bytes) -> None:
    monkeypatch.setattr(stream_sink, "PATIENCE", 0.3)
    monkeypatch.setattr(stream_sink, "HERE", ())
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"{scheme}://me:secret@127.0.0.1:{listener.getsockname()[1]}/live/x"
        with pytest.raises(VideoError, match="says nothing"):
            stream_sink.greet(address)

        def polite() -> None:
            for _ in range(2):  # the first is the silent conversation of before
                connection, _ = listener.accept()
                with connection:
                    heard.append(connection.recv(4096))
                    connection.sendall(answer)

        thread = threading.Thread(target=polite)
        thread.start()
        stream_sink.greet(address)
        thread.join()
    assert b"secret" not in heard[1]
    assert heard[1].startswith({"rtmp": b"\x03", "rtsp": b"OPTIONS rtsp://"}[scheme])
    with pytest.raises(VideoError, match="refused"):
        stream_sink.greet(address)


class Server(StreamSink):
    """A stream to a server that is there or not."""

    def __init__(self, reconnect: float) -> None:
        super().__init__("rtmp://x", 25, reconnect=reconnect)
        self.there, self.got = True, 0

    def _push(self, picture: np.ndarray, time: float) -> None:
        if not self.there:
            raise VideoError("rtmp://x: cannot be written: Broken pipe")
        self.got += 1
        self.written += 1


def test_a_server_that_comes_back_gets_the_rest(monkeypatch, capsys) -> None:
    monkeypatch.setattr(stream_sink, "RETRY", 0.02)
    sink = Server(reconnect=5)
    for there in (True, False, True):
        sink.there = there
        for _ in range(10):
            sink.write(cutouts(1)[0], 0)
            time.sleep(0.005)
    assert 15 <= sink.got <= 20
    said = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[2] for line in said] == ["the server went away", "the server is back"]


def test_a_server_that_stays_away_is_an_error(monkeypatch) -> None:
    monkeypatch.setattr(stream_sink, "RETRY", 0.02)
    sink = Server(reconnect=0.2)
    sink.write(cutouts(1)[0], 0)
    sink.there = False
    began = time.monotonic()

    def push() -> None:
        while time.monotonic() - began < 5:
            sink.write(cutouts(1)[0], 0)

    with pytest.raises(VideoError, match="Broken pipe"):
        push()
    assert 0.15 < time.monotonic() - began < 2
    never = Server(reconnect=5)
    never.there = False
    with pytest.raises(VideoError):
        never.write(cutouts(1)[0], 0)


def test_lost_alpha_is_noticed(tmp_path) -> None:
    with open_sink(tmp_path / "out.webm", 25, transparent=True) as sink:
        for number, picture in enumerate(cutouts(4)):
            sink.write(picture, number / 25)
    wrong = {0: 255 - cutouts(1)[0][..., 3]}
    with pytest.raises(VideoError, match="off in frame 0"):
        check_alpha(str(tmp_path / "out.webm"), wrong)


def test_refusals(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"written as \.mp4"):
        open_sink(tmp_path / "out.avi", 25)
    with pytest.raises(ValueError, match=r"\.webm, \.mov"):
        open_sink(tmp_path / "out.mp4", 25, transparent=True)
    with pytest.raises(ValueError, match="films are written as"):
        open_sink(tmp_path / "out.gif", 25)


def test_pictures_of_another_size_or_without_alpha_are_fitted(tmp_path) -> None:
    tall, wide = videos.frames(1, (64, 48))[0], videos.frames(1, (48, 64))[0]
    with open_sink(tmp_path / "o.mp4", 25) as sink:
        sink.write(tall, 0.0)
        sink.write(wide, 0.04)
    pictures, _ = videos.read(tmp_path / "o.mp4")
    assert [picture.shape for picture in pictures] == [(64, 48, 3)] * 2
    assert pictures[1][:10].max() < 30  # letterboxed, not squashed
    with open_sink(tmp_path / "o.webm", 25, transparent=True) as sink:
        sink.write(cutouts(1)[0], 0.0)
        sink.write(cutouts(1)[0][..., :3].copy(), 0.04)
    assert list(read_alpha(str(tmp_path / "o.webm")))[1].mean() > 245


def test_a_recording_begins_with_its_first_picture(tmp_path) -> None:
    with open_sink(tmp_path / "o.mp4", 25) as sink:
        for number, picture in enumerate(videos.frames(5)):
            sink.write(picture, 60 + number / 25)
    times = videos.read(tmp_path / "o.mp4")[1]
    assert times == pytest.approx([0.0, 0.04, 0.08, 0.12, 0.16], abs=0.002)


def test_longer_sound_is_kept_where_the_source_ended(tmp_path) -> None:
    path = videos.write(tmp_path / "in.mp4", videos.frames(25), [0.04 * n for n in range(24)] + [3.0])
    for whole, seconds in ((False, 0.4), (True, 3.04)):
        with open_sink(tmp_path / "o.mp4", 25, str(path)) as sink:
            for number, picture in enumerate(videos.frames(10)):
                sink.write(picture, number / 25)
            sink.whole = whole
        assert videos.loudness(tmp_path / "o.mp4")[0] == pytest.approx(seconds, abs=0.1)


@pytest.mark.parametrize("ending", ["webm", "mp4"])
def test_damaged_sound_costs_no_pictures(tmp_path, ending: str) -> None:
    path = videos.write(tmp_path / "in.mkv", videos.frames(60))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with open_sink(tmp_path / f"o.{ending}", 25, str(path)) as sink:
        for number, picture in enumerate(videos.frames(40)):
            sink.write(picture, number / 25)
    assert len(videos.read(tmp_path / f"o.{ending}")[0]) == 40


@pytest.mark.parametrize("ending", ["mp4", "mkv", "webm"])
def test_sound_whose_times_fall_a_little_costs_no_pictures(tmp_path, ending: str) -> None:
    one = videos.write(tmp_path / "one.ts", videos.frames(15))
    (tmp_path / "two.ts").write_bytes(
        one.read_bytes() * 2
    )  # the second recording begins 0.6 s earlier than it should
    with open_sink(tmp_path / f"o.{ending}", 25, str(tmp_path / "two.ts")) as sink:
        for number, picture in enumerate(videos.frames(30)):
            sink.write(picture, number / 25)
    assert len(videos.read(tmp_path / f"o.{ending}")[0]) == 30


@pytest.mark.parametrize("size", [(96, 128), (720, 1280)])
def test_colours_come_back_as_they_were(tmp_path, size: tuple[int, int]) -> None:
    orange = np.full((*size, 3), (230, 120, 40), np.uint8)
    with open_sink(tmp_path / "o.mp4", 25) as sink:
        for number in range(3):
            sink.write(orange, number / 25)
    picture = videos.read(tmp_path / "o.mp4")[0][1]
    assert np.abs(picture.astype(int) - orange).max() <= 6
