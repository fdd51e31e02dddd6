"""The whole live loop against the loop one would write first, on a 1280x720 video drawn here.

The plain loop: OpenCV decodes, MediaPipe's selfie network (else ours) on the same interpreter, alpha enlarged, frame and
background mixed in float32. Ours: what webcam.py runs; with --fast it does no more than the plain one. They take turns.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from utils import clips, live, segmenter
from utils.background import Background
from utils.images import read_image
from utils.pipeline import WARM
from utils.video_sink import VideoSink

SIZE = (720, 1280)
RATE = 30.0
ROUNDS = 3
SAMPLES = Path(__file__).resolve().parents[2] / "data/samples"


def report(peer: Path | None, model: str, frames: int) -> dict:
    """Print and return frames a second of both loops, with and without encoding, and our stages."""
    with tempfile.TemporaryDirectory() as folder:
        video = draw(Path(folder) / "in.mp4", frames)
        network = segmenter.open(peer or model, 1)  # what an interpreter runs on where nobody says
        rates: dict[str, list[float]] = {
            "plain loop": [],
            "ours, --fast": [],
            "ours": [],
            "ours, H.264 written": [],
        }
        stages: dict = {}
        for _ in range(ROUNDS):
            rates["plain loop"].append(plain_loop(video, network, frames))
            rates["ours, --fast"].append(our_loop(video, model, frames, "--fast")[0])
            rates["ours"].append(our_loop(video, model, frames)[0])
            rate, stages = our_loop(video, model, frames, "--out", str(Path(folder) / "out.mp4"))
            rates["ours, H.264 written"].append(rate)
    plain = rates["plain loop"]
    found: dict = {
        "network": Path(model).name,
        "plain_network": (peer or Path(model)).name,
        "milliseconds": stages,
    }
    for name, several in rates.items():
        ratio = float(np.median([a / b for a, b in zip(several, plain, strict=True)]))
        found[name] = {"frames_per_second": float(np.median(several)), "ratio": ratio}
        print(f"{name:20} {np.median(several):6.1f} frames/s, {ratio:.2f} times the plain loop's")
    print("the last one's stages, ms p50 / p95:")
    for name, (middle, most) in stages.items():
        print(f"  {name:10} {middle:6.2f} / {most:6.2f}")
    return found


def draw(path: Path, count: int, size: tuple[int, int] = SIZE, rate: float = RATE) -> Path:
    """A person who moves before a wall, H.264 with `count` frames of `size` (height, width)."""
    model = segmenter.open(SAMPLES.parent.parent / "checkpoints/photo_int8.tflite")
    picture, wall = read_image(SAMPLES / "astronaut.jpg"), read_image(SAMPLES / "backgrounds/launch.jpg")
    person = clips.cut_out(np.dstack([picture, (model(picture) * 255).astype(np.uint8)]))
    with VideoSink(path, rate) as sink:
        for number in range(count):
            shift = 0.2 * size[0] * np.array([np.sin(number / 20), 0.3])
            foreground, alpha = clips.placed(person, size, size[0] / 512, shift)
            scene = clips.view(wall, size, np.zeros(2))
            sink.write(
                (foreground * alpha[..., None] + scene * (1 - alpha[..., None])).astype(np.uint8),
                number / rate,
            )
    return path


def plain_loop(video: Path, network: segmenter.Segmenter, frames: int) -> float:
    """Frames a second of the loop one would write first."""
    background = cv2.resize(read_image(SAMPLES / "backgrounds/galaxies.jpg"), SIZE[::-1]).astype(np.float32)
    capture = cv2.VideoCapture(str(video))
    height, width = network.size
    count, began = 0, 0.0
    while True:
        good, picture = capture.read()
        if not good:
            break
        frame = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        pixels = cv2.resize(frame, (width, height)).astype(np.float32)[None]
        scale = network.card.get("input_scale", 1.0)
        alpha = network.infer(pixels * np.float32(scale))[0, ..., 0]
        alpha = cv2.cvtColor(cv2.resize(alpha, SIZE[::-1]), cv2.COLOR_GRAY2RGB)
        ours = cv2.multiply(frame.astype(np.float32), alpha)
        cv2.add(ours, cv2.multiply(background, 1 - alpha)).astype(np.uint8)
        count += 1
        if count == WARM:
            began = time.perf_counter()
    if count < frames:
        raise ValueError(f"OpenCV read {count} of {frames} frames")
    return (count - WARM) / (time.perf_counter() - began)


def our_loop(video: Path, model: str, frames: int, *options: str) -> tuple[float, dict]:
    """Frames a second of webcam.py's loop, and the times of its stages."""
    parser = argparse.ArgumentParser()
    live.add_arguments(parser)
    live.add_network(parser, model)
    words = ["--source", str(video), "--no-window", "--frames", str(frames), *options]
    args = parser.parse_args(words)
    background = Background(str(SAMPLES / "backgrounds/galaxies.jpg"))
    with contextlib.redirect_stdout(io.StringIO()), live.Loop(args, "benchmark") as loop:
        for frame, alpha in loop.matted(live.open_matting(args, loop.stages)):
            with loop.stages("composite"):
                picture = background.compose_live(frame.image, alpha, frame.time, 0.3, not args.fast)
            loop.put(frame, picture, alpha)
    return loop.mean_rate, loop.stages.summary()
