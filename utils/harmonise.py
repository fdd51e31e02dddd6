"""The colours of a composite made to belong together by a network.

    harmonise = Harmoniser()
    picture = harmonise(composite, alpha)      # uint8 RGB [H, W, 3], float32 [H, W] 0..1

Another network can be given as ONNX: inputs [1, 3, h, w] and [1, 1, h, w], or one of [1, 4, h, w], composite and mask
of 0..1, and an output [1, 3, h, w] of 0..1 (or of 0..255).
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from utils.images import resize

SHIPPED = Path(__file__).resolve().parent.parent / "checkpoints/harmoniser.tflite"
STEADY = 0.85  # share of the last frame's transform that is kept: colours may not flicker


class Harmoniser:
    """Opened at the first picture, as few users need it. Raises FileNotFoundError, ValueError."""

    def __init__(self, path: str | Path | None = None, steady: float = 0.0) -> None:
        self.path, self.steady = Path(path or SHIPPED), steady
        if not self.path.is_file():
            raise FileNotFoundError(f"{self.path}: no such harmonisation network")
        if self.path.suffix.lower() not in (".tflite", ".onnx"):
            raise ValueError(f"{self.path}: a harmonisation network is a .tflite of ours or an .onnx")
        self._run = None
        self._last: np.ndarray | None = None

    def reset(self) -> None:
        """Forget the last frame's transform."""
        self._last = None

    def __call__(self, composite: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        """The composite with its foreground's colours changed; without a foreground, itself."""
        if float(alpha.max(initial=0)) < 0.1:
            self._last = None
            return composite
        if self._run is None:
            self._run = _onnx(self.path) if self.path.suffix.lower() == ".onnx" else _tflite(self.path)
        if self.path.suffix.lower() == ".onnx":
            return _difference_added(composite, alpha, self._run)
        grid = self._run(composite, alpha)
        if self._last is not None:
            grid = self.steady * self._last + (1 - self.steady) * grid
        self._last = grid
        return apply(composite, alpha, grid)


def apply(composite: np.ndarray, alpha: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """A grid of changes [h, w, 12] (models/harmoniser.py) applied at the picture's own size, by alpha."""
    rows, columns = np.flatnonzero(alpha.max(1) > 0), np.flatnonzero(alpha.max(0) > 0)
    if not len(rows):
        return composite
    inside = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    result = composite.copy()
    colours = composite[inside].astype(np.float32) / 255
    planes = [np.ascontiguousarray(colours[..., channel]) for channel in range(3)]
    for channel in range(3):
        change = _enlarged(grid[..., 4 * channel + 3], alpha.shape, inside)
        for term, plane in enumerate(planes):
            change += _enlarged(grid[..., 4 * channel + term], alpha.shape, inside) * plane
        changed = planes[channel] + change * alpha[inside]
        result[inside][..., channel] = cv2.convertScaleAbs(np.maximum(changed, 0), alpha=255)
    return result


def _enlarged(cells: np.ndarray, size: tuple[int, int], inside: tuple[slice, slice]) -> np.ndarray:
    """Part of a small plane brought to `size`, bilinear."""
    return cv2.resize(np.ascontiguousarray(cells), size[::-1], interpolation=cv2.INTER_LINEAR)[inside]


def _tflite(path: Path):
    from ai_edge_litert.interpreter import Interpreter

    from utils.backend import quiet

    try:
        with quiet():
            interpreter = Interpreter(model_path=str(path), num_threads=1)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: not a .tflite file that can be run") from error
    given, wanted = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    if len(given["shape"]) != 4 or given["shape"][3] != 4 or wanted["shape"][-1] != 12:
        raise ValueError(f"{path}: not a harmonisation network of ours")
    height, width = given["shape"][1:3]

    def run(composite: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        # Stretched, not letterboxed: the cells of the grid then cover the picture exactly.
        pixels = np.dstack([resize(composite, height, width), resize(alpha * 255, height, width)])
        interpreter.set_tensor(given["index"], pixels[None].astype(np.float32))
        interpreter.invoke()
        return interpreter.get_tensor(wanted["index"])[0]

    return run


def _onnx(path: Path):
    """A user's network on ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(
        "session.intra_op.allow_spinning", "0"
    )  # leave the other stages their core
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own kinds share no base
        raise ValueError(f"{path}: not an ONNX network that can be run") from error
    inputs = {given.name: given.shape for given in session.get_inputs()}
    sides = [
        shape[2:]
        for shape in inputs.values()
        if len(shape) == 4 and all(isinstance(n, int) for n in shape[2:])
    ]
    side = tuple(sides[0]) if sides else (256, 256)

    def run(composite: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        picture = resize(composite, *side).astype(np.float32).transpose(2, 0, 1)[None] / 255
        mask = resize(alpha, *side)[None, None].astype(np.float32)
        by_channels = {1: mask, 3: picture, 4: np.concatenate([picture, mask], 1)}
        try:
            feed = {name: by_channels[shape[1]] for name, shape in inputs.items()}
        except (KeyError, IndexError) as error:
            raise ValueError(f"{path}: takes {inputs}, not composite and mask: see --help") from error
        try:
            result = session.run(None, feed)[0]
        except Exception as error:  # its own kinds share no base
            raise ValueError(f"{path}: failed on a picture: {str(error).splitlines()[0][:150]}") from error
        if result.ndim != 4 or result.shape[1] != 3:
            raise ValueError(f"{path}: gives {list(result.shape)}, not colours [1, 3, h, w]")
        colours = result[0].transpose(1, 2, 0)
        return colours if colours.max() > 2 else colours * 255

    return run


def _difference_added(composite: np.ndarray, alpha: np.ndarray, run) -> np.ndarray:
    """What a network of fixed size changed, enlarged and added: the picture keeps its detail."""
    colours = run(composite, alpha)
    change = colours - resize(composite, *colours.shape[:2]).astype(np.float32)
    change = cv2.resize(change, alpha.shape[::-1]) * alpha[..., None]
    return cv2.add(composite, np.rint(change).astype(np.int16), dtype=cv2.CV_8U)
