"""Segmenters over other runtimes than Keras and LiteRT; utils/segmenter.py opens them by the file's kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from models import card as cards
from models.card_places import KEY
from utils import outputs
from utils.backend import quiet
from utils.segmenter import Segmenter

PROVIDERS = {"gpu": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}


class OnnxSegmenter(Segmenter):
    """An .onnx file on ONNX Runtime: on the CPU, or a GPU through its CUDA or TensorRT provider."""

    def __init__(self, path: Path, threads: int, device: str) -> None:
        ort = _package("onnxruntime", path)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # it slows its neighbours
        options.log_severity_level = 3
        try:
            with quiet():  # a provider whose libraries are missing says so at length
                session = ort.InferenceSession(str(path), options, providers=providers(ort, device))
        except Exception as error:  # ONNX Runtime has a dozen kinds of its own
            raise ValueError(f"{path}: not an ONNX network that can be run") from error
        card = json.loads(session.get_modelmeta().custom_metadata_map.get(KEY, "null")) or cards.read(path)
        shape = session.get_inputs()[0].shape
        super().__init__(card, *picture_shape(shape, path), threads)
        self._session, self._name = session, session.get_inputs()[0].name
        used = session.get_providers()[0]
        self.runtime = f"ONNX Runtime ({used.removesuffix('ExecutionProvider')})"
        self.device = next((name for name, provider in PROVIDERS.items() if provider == used), "cpu")
        self._kind = outputs.check(card.get("output_kind", "alpha"), path)

    def infer(self, pixels: np.ndarray) -> np.ndarray:
        answers = [self._session.run(None, {self._name: picture[None]})[0] for picture in pixels]
        return np.concatenate([outputs.decode(answer, self._kind, self.size) for answer in answers])


def providers(ort: Any, device: str) -> list[str]:
    """ONNX Runtime's providers for a device, the best first and the CPU last."""
    wanted = {"auto": ["gpu"], "gpu": ["gpu"], "tensorrt": ["tensorrt", "gpu"]}.get(device, [])
    there = ort.get_available_providers()
    return [PROVIDERS[name] for name in wanted if PROVIDERS.get(name) in there] + ["CPUExecutionProvider"]


class OpenVinoSegmenter(Segmenter):
    """An OpenVINO .xml on the device named: CPU, GPU or NPU. Several pictures at once are as many requests in flight."""

    def __init__(self, path: Path, threads: int, device: str) -> None:
        openvino = _package("openvino", path)
        core = openvino.Core()
        there = {name.split(".")[0].lower() for name in core.available_devices}
        self_device = device if device in there else "cpu"
        # In bfloat16, which it would choose itself where the processor has it, alpha is 1e-2 off.
        settings = {"INFERENCE_PRECISION_HINT": "f32"}
        if self_device == "cpu":
            settings["INFERENCE_NUM_THREADS"] = str(threads)

        def compiled(hint: str) -> Any:
            hints = {**settings, "PERFORMANCE_HINT": hint}
            return core.compile_model(core.read_model(path), self_device.upper(), hints)

        try:
            self._network = compiled("LATENCY")
        except RuntimeError as error:
            raise ValueError(f"{path}: not an OpenVINO network that can be run") from error
        self._queue: Any = None
        self._make_queue = lambda: openvino.AsyncInferQueue(compiled("THROUGHPUT"))
        card = cards.read(path)
        super().__init__(card, *picture_shape(list(self._network.input(0).shape), path), threads)
        self.device, self.runtime = self_device, "OpenVINO"
        self._request = self._network.create_infer_request()
        self._kind = outputs.check(card.get("output_kind", "alpha"), path)

    def infer(self, pixels: np.ndarray) -> np.ndarray:
        if len(pixels) > 1:
            return self._together(pixels)
        self._request.infer([pixels], share_inputs=True)
        return outputs.decode(self._request.get_output_tensor(0).data.copy(), self._kind, self.size)

    def _together(self, pixels: np.ndarray) -> np.ndarray:
        """Each core (or stream of a GPU) works on a picture of its own, which wastes less than all on one."""
        if self._queue is None:  # compiled anew, for throughput: many cameras want it, a single one never
            self._queue = self._make_queue()
            self._queue.set_callback(_note)
        answers: dict[int, np.ndarray] = {}
        for number, picture in enumerate(pixels):
            self._queue.start_async([picture[None]], (answers, number))
        self._queue.wait_all()
        several = [outputs.decode(answers[number], self._kind, self.size) for number in range(len(pixels))]
        return np.concatenate(several)


def _note(request: Any, place: tuple[dict[int, np.ndarray], int]) -> None:
    """Keep a request's answer. No method: the queue would hold its segmenter for good."""
    answers, number = place
    answers[number] = request.get_output_tensor(0).data.copy()


class SavedModelSegmenter(Segmenter):
    """A SavedModel folder on TensorFlow."""

    def __init__(self, path: Path, threads: int, device: str) -> None:
        tf = _package("tensorflow", path)
        from utils.backend import limit_threads

        card = cards.read(path)
        if device == "cpu":
            tf.config.set_visible_devices([], "GPU")
        limit_threads(threads)
        try:
            with quiet():
                self._loaded = tf.saved_model.load(str(path))
                self._run = self._loaded.signatures["serving_default"]
        except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
            raise ValueError(f"{path}: not a SavedModel that can be run") from error
        name, spec = next(iter(self._run.structured_input_signature[1].items()))
        super().__init__(card, *picture_shape(spec.shape.as_list(), path), threads)
        self._name, self._tf = name, tf
        self.runtime = f"TensorFlow {tf.__version__}"
        self.device = "gpu" if tf.config.get_visible_devices("GPU") else "cpu"
        self._kind = outputs.check(card.get("output_kind", "alpha"), path)

    def infer(self, pixels: np.ndarray) -> np.ndarray:
        answers = []
        for picture in pixels:
            found = self._run(**{self._name: self._tf.constant(picture[None])})
            answers.append(outputs.decode(next(iter(found.values())).numpy(), self._kind, self.size))
        return np.concatenate(answers)


def picture_shape(shape: list, path: Path) -> tuple[tuple[int, int], int]:
    """(height, width) and channels of a network that takes one picture [1, H, W, 3 or 4]. Raises ValueError."""
    if (
        len(shape) != 4
        or shape[0] != 1
        or shape[3] not in (3, 4)
        or not all(isinstance(n, int) for n in shape)
    ):
        raise ValueError(f"{path}: takes {list(shape)}, not one picture [1, H, W, 3 or 4]")
    return (int(shape[1]), int(shape[2])), int(shape[3])


def _package(name: str, path: Path) -> Any:
    import importlib

    try:
        with quiet():
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        file = "requirements.txt" if name in ("tensorflow", "onnxruntime") else "requirements-export.txt"
        raise ValueError(f"{path}: needs {name}, which is not installed: pip install -r {file}") from error
