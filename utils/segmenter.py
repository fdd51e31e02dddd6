"""One interface over every runtime: a frame of any size in, its alpha out.

    segmenter = utils.segmenter.open("checkpoints/photo_int8.tflite", threads=2)
    alpha = segmenter(frame)          # uint8 RGB [H, W, 3] -> float32 [H, W], 0..1

The file's ending chooses the runtime; its card says what it takes. A new runtime is one subclass
of `Segmenter` with `infer`, and one line in `RUNTIMES`.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from models import card as cards
from utils import closer, outputs, refine
from utils.backend import choose, compile_flags, fast, limit_threads, quiet
from utils.images import Box, letterbox, squash, to_uint8, unletterbox

if TYPE_CHECKING:
    import keras


class Look(NamedTuple):
    """What a network saw of a frame, uint8 RGB [h, w, 3], and its alpha, float32 [h, w] in 0..1."""

    picture: np.ndarray
    alpha: np.ndarray


class Segmenter:
    """Letterboxes frames, runs the network, brings alpha back to each frame's size.

    Attributes: `size` (height, width) and `channels` of the network, `runtime` and `device` that
    really run it, `threads`, `card`, `closer` (whether small people get a second look), `mirror` (whether
    each look is averaged with one in the mirror), `edges` (whether alpha's edges are drawn to those of the frame, as
    the live scripts do with what `coarse` and `looks` give), and `milliseconds` of the last call by stage.
    """

    runtime = ""
    file: Path | None = None  # that was opened: with --runtime another than the one named
    batches = False  # whether several pictures go through the network at once; exports have a batch of one

    def __init__(self, card: dict[str, Any], size: tuple[int, int], channels: int, threads: int) -> None:
        self.card, self.size, self.channels, self.threads = card, size, channels, threads
        self.device = "cpu"
        self.milliseconds: dict[str, float] = {}
        # A peer's network may want other numbers than 0..255, or stretched pictures: its card says so.
        self._fit = squash if card.get("fit") == "squash" else letterbox
        self.closer, self.mirror = bool(card.get("closer")), bool(card.get("mirror"))
        self.edges = bool(card.get("edges"))
        self._scale, self._offset = card.get("input_scale", 1.0), card.get("input_offset", 0.0)

    def infer(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels 0..255 float32 [N, H, W, C] at network size -> alpha 0..1 [N, H, W, 1]."""
        raise TypeError(f"{type(self).__name__} does not say how to run a network")

    def __call__(self, frame: np.ndarray, prior: np.ndarray | None = None) -> np.ndarray:
        """Alpha float32 [H, W] in 0..1 of a uint8 RGB frame [H, W, 3] of any size.

        `prior` is the alpha of the frame before, for networks with a fourth channel. A network for stills, by
        its card, looks at small people again (utils/closer.py).
        """
        alpha = self._look(frame, prior)
        box = closer.where(alpha) if self.closer else None
        if box is None:
            return alpha
        first = self.milliseconds
        part = self._look(closer.cut(frame, box), None if prior is None else closer.cut(prior, box))
        self.milliseconds = {stage: first[stage] + spent for stage, spent in self.milliseconds.items()}
        return closer.put(alpha, part, box)

    def _look(self, frame: np.ndarray, prior: np.ndarray | None) -> np.ndarray:
        """Alpha of a frame, averaged with that of its mirror image where the card asks for it."""
        alpha = self.batch([frame], [prior])[0]
        if not self.mirror:
            return alpha
        first = self.milliseconds
        turned = np.ascontiguousarray(frame[:, ::-1])
        other = self.batch([turned], [None if prior is None else np.ascontiguousarray(prior[:, ::-1])])[0]
        self.milliseconds = {stage: first[stage] + spent for stage, spent in self.milliseconds.items()}
        return (alpha + other[:, ::-1]) / 2

    def batch(
        self, frames: list[np.ndarray], priors: list[np.ndarray | None] | None = None
    ) -> list[np.ndarray]:
        """The same for several frames, each of its own size."""
        start = time.perf_counter()
        pixels, boxes = self.prepare(frames, priors or [None] * len(frames))
        ready = time.perf_counter()
        alphas = self.infer(pixels)
        done = time.perf_counter()
        result = [
            self._enlarged(_unit(alpha[..., 0]), box, frame)
            for alpha, box, frame in zip(alphas, boxes, frames, strict=True)
        ]
        stages = {
            "resize in": ready - start,
            "network": done - ready,
            "resize out": time.perf_counter() - done,
        }
        self.milliseconds = {name: 1000 * seconds for name, seconds in stages.items()}
        return result

    def _enlarged(self, alpha: np.ndarray, box: Box, frame: np.ndarray) -> np.ndarray:
        """The network's alpha at the frame's size."""
        if not self.edges:
            return unletterbox(alpha, box, frame.shape[:2])
        return refine.guided(frame, _cut(alpha, box), levels=refine.LEVELS)

    def coarse(self, frame: np.ndarray, prior: np.ndarray | None = None) -> Look:
        """The frame and its alpha at the network's size, without what fills up its shape: for live loops.

        Whatever steadies or mends alpha costs little there. `prior` may be of that size too.
        """
        return self.looks([frame], [prior])[0]

    def looks(self, frames: list[np.ndarray], priors: list[np.ndarray | None]) -> list[Look]:
        """The same for several frames, each of its own size, in one call of the network."""
        start = time.perf_counter()
        fitted = [self._fit_checked(frame) for frame in frames]
        pixels = self._pixels([canvas for canvas, _ in fitted], priors)
        ready = time.perf_counter()
        alphas = self.infer(pixels)[..., 0]
        self.milliseconds = {
            "resize": 1000 * (ready - start),
            "network": 1000 * (time.perf_counter() - ready),
        }
        return [_inside(canvas, alpha, box) for (canvas, box), alpha in zip(fitted, alphas, strict=True)]

    def warm_up(self) -> None:
        """Run once on black, so that the first real frame is not the one that waits."""
        self.infer(np.zeros((1, *self.size, self.channels), np.float32))

    def prepare(self, frames: list[np.ndarray], priors: list[np.ndarray | None]) -> tuple[np.ndarray, list]:
        """Letterboxed network input float32 [N, H, W, C] and the boxes: what training sees too."""
        looks = [self._fit_checked(frame) for frame in frames]
        return self._pixels([canvas for canvas, _ in looks], priors), [box for _, box in looks]

    def _fit_checked(self, frame: np.ndarray) -> tuple[np.ndarray, Box]:
        _check(frame)
        return self._fit(frame, self.size)

    def _pixels(self, canvases: list[np.ndarray], priors: list[np.ndarray | None]) -> np.ndarray:
        pixels = np.zeros((len(canvases), *self.size, self.channels), np.float32)
        for row, canvas, prior in zip(pixels, canvases, priors, strict=True):
            row[..., :3] = canvas
            if prior is not None and self.channels == 4:
                row[..., 3] = self._fit(to_uint8(prior), self.size)[0]
        if self._scale != 1.0 or self._offset:
            pixels[..., :3] = pixels[..., :3] * self._scale + self._offset
        return pixels

    def __str__(self) -> str:
        threads = f", {self.threads} thread{'s' * (self.threads != 1)}" if self.threads else ""
        return f"{self.runtime} on {self.device}{threads}, {self.size[0]}x{self.size[1]}"


class KerasSegmenter(Segmenter):
    """A Keras network, under whichever backend Keras was started with."""

    batches = True

    def __init__(self, network: keras.Model, card: dict[str, Any], threads: int = 0) -> None:
        import keras

        super().__init__(card, tuple(network.input_shape[1:3]), network.input_shape[3], threads)
        self.runtime = f"Keras {keras.__version__} ({keras.backend.backend()})"
        network = fast(network)
        if not network.compiled:
            network.compile(**compile_flags())
        self.network = network
        self.device = _keras_device()

    def infer(self, pixels: np.ndarray) -> np.ndarray:
        return np.asarray(self.network.predict_on_batch(pixels), np.float32)


class TFLiteSegmenter(Segmenter):
    """A .tflite file on the LiteRT interpreter (XNNPACK); needs no TensorFlow."""

    def __init__(self, path: Path, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        card = cards.read(path)
        try:
            with quiet():  # it greets on stderr
                self._interpreter = Interpreter(model_path=str(path), num_threads=threads)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"{path}: not a TFLite network that can be run") from error
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]
        shape = self._input["shape"]
        if len(shape) != 4 or shape[0] != 1 or shape[3] not in (3, 4):
            raise ValueError(f"{path}: takes {list(shape)}, not one picture [1, H, W, 3 or 4]")
        super().__init__(card, (int(shape[1]), int(shape[2])), int(shape[3]), threads)
        self.runtime = "LiteRT (XNNPACK)"
        self._kind = outputs.check(card.get("output_kind", "alpha"), path)

    def infer(self, pixels: np.ndarray) -> np.ndarray:
        return np.concatenate([self._one(picture[None]) for picture in pixels])

    def _one(self, pixels: np.ndarray) -> np.ndarray:
        self._interpreter.set_tensor(self._input["index"], _quantise(pixels, self._input))
        self._interpreter.invoke()
        output = _dequantise(self._interpreter.get_tensor(self._output["index"]), self._output)
        return outputs.decode(output, self._kind, self.size)


class ShapedSegmenter(Segmenter):
    """One network in several input shapes; each frame goes where the most of its pixels are seen.

    `members`: segmenters of the same network; the first gives `size` and takes what none fits better. For stills a
    card may ask for the mean over several `scales`: large people are found better small, edges better large.
    """

    def __init__(self, members: list[Segmenter]) -> None:
        first = members[0]
        super().__init__(first.card, first.size, first.channels, first.threads)
        self.members, self.runtime, self.device = members, first.runtime, first.device
        self.scales = int(first.card.get("scales") or 1)

    def infer(self, pixels: np.ndarray) -> np.ndarray:
        return next(m for m in self.members if m.size == pixels.shape[1:3]).infer(pixels)

    def member(self, frame: np.ndarray) -> Segmenter:
        """The one that shows the frame largest, and among equals the one with the fewest pixels."""
        return self.by_scale(frame)[0]

    def by_scale(self, frame: np.ndarray) -> list[Segmenter]:
        """The members from the one that shows the frame largest on, of those that show it alike the smallest."""
        found: dict[float, Segmenter] = {}
        for member in sorted(self.members, key=lambda member: member.size[0] * member.size[1]):
            scale = min(side / own for side, own in zip(member.size, frame.shape, strict=False))
            found.setdefault(round(scale, 3), member)
        return [found[scale] for scale in sorted(found, reverse=True)]

    def batch(
        self, frames: list[np.ndarray], priors: list[np.ndarray | None] | None = None
    ) -> list[np.ndarray]:
        alphas: list[np.ndarray] = []
        self.milliseconds = {}
        for frame, prior in zip(frames, priors or [None] * len(frames), strict=True):
            _check(frame)
            views = []
            for member in self.by_scale(frame)[: self.scales]:
                views += member.batch([frame], [prior])
                for stage, spent in member.milliseconds.items():
                    self.milliseconds[stage] = self.milliseconds.get(stage, 0.0) + spent
            alphas.append(views[0] if len(views) == 1 else np.mean(views, axis=0))
        return alphas

    def looks(self, frames: list[np.ndarray], priors: list[np.ndarray | None]) -> list[Look]:
        found: dict[int, Look] = {}
        self.milliseconds = {}
        for frame in frames:
            _check(frame)
        choices = [self.member(frame) for frame in frames]
        for member in self.members:
            its = [number for number, choice in enumerate(choices) if choice is member]
            if not its:
                continue
            looks = member.looks([frames[i] for i in its], [priors[i] for i in its])
            found |= dict(zip(its, looks, strict=True))
            for stage, spent in member.milliseconds.items():
                self.milliseconds[stage] = self.milliseconds.get(stage, 0.0) + spent
        return [found[number] for number in range(len(frames))]

    def warm_up(self) -> None:
        for member in self.members:
            member.warm_up()

    def __str__(self) -> str:
        sizes = ", ".join(f"{m.size[0]}x{m.size[1]}" for m in self.members[1:])
        return f"{super().__str__()} (for other shapes {sizes})"


def by_arguments(args: argparse.Namespace) -> Segmenter:
    """The network of `args.model` with the options of `cli.add_runtime`."""
    return open(args.model, args.threads, args.device, args.strict, args.runtime)


def tallest(segmenter: Segmenter) -> Segmenter:
    """Of a network in several shapes the one for upright pictures, else the network itself."""
    if not isinstance(segmenter, ShapedSegmenter):
        return segmenter
    return max(segmenter.members, key=lambda member: member.size[0] / member.size[1])


def open(
    path: str | Path,
    threads: int | None = None,
    device: str = "auto",
    strict: bool = False,
    runtime: str = "file",
) -> Segmenter:
    """Open a model file of any supported kind.

    Beside `live_int8.tflite` files like `live_int8_256x192.tflite` may lie, the same network for
    pictures of another shape: they are opened too and used for the pictures they suit.

    `threads` defaults to all cores. `device` is "auto", "cpu", "gpu", "npu" (OpenVINO) or "tensorrt" (ONNX Runtime's
    other way to a GPU); where the runtime cannot
    use it a line says what is used instead, and with `strict` ValueError is raised.
    `runtime` names another file of the same weights beside this one (utils/fastest.py).
    Raises FileNotFoundError, or ValueError for a file that is not a model of ours.
    """
    path, threads = Path(path), threads or os.cpu_count() or 1
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such model file")
    if runtime != "file":
        from utils import fastest

        path = fastest.choose(path, runtime, threads, device)
    opener = RUNTIMES.get("folder" if path.is_dir() else path.suffix.lower())
    if opener is None:
        raise ValueError(f"{path}: cannot be opened as a network: give one of {', '.join(RUNTIMES)}")
    segmenter = opener(path, threads, device)
    segmenter.file = path
    others = [opener(other, threads, device) for other in _other_shapes(path, segmenter.card)]
    if others:
        segmenter = ShapedSegmenter([segmenter, *others])
        segmenter.file = path
    if device not in ("auto", segmenter.device):
        line = f"{device} was asked for, but {segmenter.runtime} runs on {segmenter.device}"
        if strict:
            raise ValueError(line)
        print(f"note: {line}")
    return segmenter


def _open_keras(path: Path, threads: int, device: str) -> Segmenter:
    if device == "cpu":
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    choose()
    import models

    limit_threads(threads)
    return KerasSegmenter(models.load(path), cards.read(path), threads)


def _open_tflite(path: Path, threads: int, device: str) -> Segmenter:
    return TFLiteSegmenter(path, threads)


def _open_onnx(path: Path, threads: int, device: str) -> Segmenter:
    from utils.runtimes import OnnxSegmenter

    return OnnxSegmenter(path, threads, device)


def _open_openvino(path: Path, threads: int, device: str) -> Segmenter:
    from utils.runtimes import OpenVinoSegmenter

    return OpenVinoSegmenter(path, threads, device)


def _open_engine(path: Path, threads: int, device: str) -> Segmenter:
    from utils.tensorrt import TensorRtSegmenter

    return TensorRtSegmenter(path, threads)


def _open_folder(path: Path, threads: int, device: str) -> Segmenter:
    if (path / "model.json").is_file():
        from utils.tfjs import TfjsSegmenter

        return TfjsSegmenter(path, threads, device)
    from utils.runtimes import SavedModelSegmenter

    return SavedModelSegmenter(path, threads, device)


RUNTIMES = {
    ".keras": _open_keras,
    ".h5": _open_keras,
    ".tflite": _open_tflite,
    ".onnx": _open_onnx,
    ".xml": _open_openvino,
    ".engine": _open_engine,
    "folder": _open_folder,
}


def _other_shapes(path: Path, card: dict[str, Any]) -> list[Path]:
    """Files of the same weights named after another input size; older weights do not count."""
    weights = card.get("weights")
    found = sorted(path.parent.glob(f"{path.stem}_[0-9]*x[0-9]*{path.suffix}")) if weights else []
    return [other for other in found if cards.read(other).get("weights") == weights]


def _inside(canvas: np.ndarray, alpha: np.ndarray, box: Box) -> Look:
    return Look(_cut(canvas, box), _unit(_cut(alpha, box)))


def _cut(picture: np.ndarray, box: Box) -> np.ndarray:
    return np.ascontiguousarray(picture[box.top : box.top + box.height, box.left : box.left + box.width])


def _unit(alpha: np.ndarray) -> np.ndarray:
    """In 0..1: what is no number (half precision overflows) would stay in a stream's memory for good."""
    return np.clip(np.nan_to_num(alpha, nan=0.0), 0, 1)


def _check(frame: np.ndarray) -> None:
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
        raise ValueError(f"a frame is uint8 RGB [H, W, 3], not {frame.dtype} {list(frame.shape)}")


def _keras_device() -> str:
    import keras

    if keras.backend.backend() == "torch":
        import torch

        return "gpu" if torch.cuda.is_available() else "cpu"
    kinds = {name.split(":")[0] for name in keras.distribution.list_devices()}
    return "gpu" if kinds & {"gpu", "cuda"} else "cpu"


def _quantise(values: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    if details["dtype"] == np.float32:
        return values
    scale, zero = details["quantization"]
    limits = np.iinfo(details["dtype"])
    return np.clip(np.rint(values / scale + zero), limits.min, limits.max).astype(details["dtype"])


def _dequantise(values: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    scale, zero = details["quantization"]
    if not scale:  # floats, or whole numbers that count something
        return values
    return (values.astype(np.float32) - zero) * scale
