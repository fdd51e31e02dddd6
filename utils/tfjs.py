"""TensorFlow.js graph models: written by the converter in `.venv-tfjs`, run by Node.js for comparison (`make tfjs`).

The converter wants an older TensorFlow than we do, hence an environment of its own. What runs the files here is the
WASM backend that a browser would use.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np

from models import card as cards
from utils import outputs
from utils.runtimes import picture_shape
from utils.segmenter import Segmenter

ROOT = Path(__file__).parent.parent
CONVERTER = ROOT / ".venv-tfjs" / "bin" / "tensorflowjs_converter"
RUNNER = ROOT / "web" / "tfjs" / "run.mjs"
MODEL = "model.json"  # what tells such a folder from a SavedModel
REMEDY = "make tfjs"
ENDED = "the Node.js process that runs the TensorFlow.js file has ended"


def ready() -> bool:
    """Whether files can be written, and run to compare them."""
    return CONVERTER.is_file() and _can_run()


def write(saved_model: str, path: Path) -> None:
    """A SavedModel as a folder of model.json and its weights. Raises ValueError with the converter's last line."""
    words = [
        "--input_format=tf_saved_model",
        "--output_format=tfjs_graph_model",
        "--signature_name=serving_default",
        "--saved_model_tags=serve",
    ]
    done = subprocess.run([CONVERTER, *words, saved_model, path], capture_output=True, text=True, check=False)
    if done.returncode or not (path / MODEL).is_file():
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise ValueError(f"tensorflowjs_converter failed: {lines[-1]}")


class TfjsSegmenter(Segmenter):
    """A TensorFlow.js folder on the WASM backend, in a Node.js process that ends with this one."""

    def __init__(self, path: Path, threads: int, device: str) -> None:
        if not _can_run():
            raise ValueError(
                f"{path}: TensorFlow.js files are run by Node.js: {REMEDY} installs what is needed"
            )
        self._node = subprocess.Popen(["node", RUNNER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        facts = json.loads(self._node.stdout.readline() or '{"error": "Node.js ended"}')
        if "error" in facts:
            self.close()
            raise ValueError(f"{path}: not a TensorFlow.js network that can be run: {facts['error']}")
        card = cards.read(path)
        super().__init__(card, *picture_shape(facts["shape"], path), threads)
        self.runtime, self.device = f"TensorFlow.js ({facts['backend']})", "cpu"
        self._kind = outputs.check(card.get("output_kind", "alpha"), path)

    def infer(self, pixels: np.ndarray) -> np.ndarray:
        answers = []
        for picture in pixels:
            try:
                self._node.stdin.write(np.ascontiguousarray(picture, np.float32).tobytes())
                self._node.stdin.flush()
            except BrokenPipeError as error:
                raise ValueError(ENDED) from error
            answers.append(outputs.decode(self._numbers(), self._kind, self.size))
        return np.concatenate(answers)

    def _numbers(self) -> np.ndarray:
        """The answer that comes next."""
        count = int(np.frombuffer(self._read(4), np.uint32)[0])
        return np.frombuffer(self._read(4 * count), np.float32)

    def _read(self, size: int) -> bytes:
        data = self._node.stdout.read(size)
        if len(data) < size:
            raise ValueError(ENDED)
        return data

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(BrokenPipeError):
            self._node.stdin.close()
        self._node.wait()
        self._node.stdout.close()

    def __del__(self) -> None:
        node = getattr(self, "_node", None)
        if node and node.poll() is None:
            self.close()


def _can_run() -> bool:
    return (
        shutil.which("node") is not None and (RUNNER.parent / "node_modules" / ".package-lock.json").is_file()
    )
