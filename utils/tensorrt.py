"""TensorRT: an engine from an ONNX file, and a segmenter that runs it.

An engine belongs to the GPU and the TensorRT version that built it. Nothing here could be run where it was written: the
calls are those of TensorRT 8.5 to 10 (https://docs.nvidia.com/deeplearning/tensorrt), and the tests replace the package.
"""

from __future__ import annotations

import importlib.util
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from models import card as cards
from utils import outputs
from utils.segmenter import Segmenter

WORKSPACE = 1 << 30  # bytes the builder may try kernels with


def reason_missing() -> str | None:
    """Why TensorRT cannot be used here, in words that say what to do; None where it can."""
    if importlib.util.find_spec("tensorrt") is None:
        return "TensorRT is not installed: on a machine with an NVIDIA GPU, pip install tensorrt torch"
    if importlib.util.find_spec("torch") is None:
        return "an engine's memory on the GPU is kept by PyTorch: pip install torch"
    import torch

    return (
        None
        if torch.cuda.is_available()
        else "no NVIDIA GPU answers here (nvidia-smi shows what the driver sees)"
    )


def build(
    onnx: Path, precision: str = "fp16", pixels: Callable[[], Iterator[np.ndarray]] | None = None
) -> bytes:
    """An engine for this machine's GPU; `precision` "fp32", "fp16" or "int8", whose ranges `pixels` set.

    Raises ValueError.
    """
    import tensorrt as trt

    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    # Before version 10 a network counts the batch implicitly unless told so.
    flag = getattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx.read_bytes()):
        raise ValueError(f"{onnx}: TensorRT cannot read it: {parser.get_error(0)}")
    settings = builder.create_builder_config()
    settings.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE)
    if precision != "fp32":
        settings.set_flag(trt.BuilderFlag.FP16)
    if precision == "int8":
        settings.set_flag(trt.BuilderFlag.INT8)
        settings.int8_calibrator = _calibrator(trt, pixels)
    plan = builder.build_serialized_network(network, settings)
    if plan is None:
        raise ValueError(f"{onnx}: TensorRT could not build an engine: its log above says why")
    return bytes(plan)


def _calibrator(trt: Any, pixels: Callable[[], Iterator[np.ndarray]]) -> Any:
    """TensorRT asks it for pictures, by their address on the GPU, until there are no more."""
    import torch

    class Calibrator(trt.IInt8EntropyCalibrator2):
        """Pictures [1, H, W, C] one by one; nothing is cached between runs."""

        def __init__(self) -> None:
            super().__init__()
            self._pictures = pixels()
            self._on_gpu = None

        def get_batch_size(self) -> int:
            return 1

        def get_batch(self, names: list[str]) -> list[int] | None:
            picture = next(self._pictures, None)
            if picture is None:
                return None
            self._on_gpu = torch.from_numpy(picture).cuda()  # kept until the next is asked for
            return [self._on_gpu.data_ptr()]

        def read_calibration_cache(self) -> None:
            return None

        def write_calibration_cache(self, cache: bytes) -> None:
            """Another network has other ranges."""

    return Calibrator()


class TensorRtSegmenter(Segmenter):
    """A TensorRT .engine of ours on the GPU. Raises ValueError without one, or for another machine's engine."""

    def __init__(self, path: Path, threads: int) -> None:
        card = cards.read(path)
        missing = reason_missing()
        if missing:
            raise ValueError(f"{path}: {missing}")
        import tensorrt as trt
        import torch

        runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
        self._engine = runtime.deserialize_cuda_engine(plan_of(path))
        if self._engine is None:
            raise ValueError(f"{path}: was built for another GPU or TensorRT: run tftrt_convert.py here")
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        shapes = [tuple(self._engine.get_tensor_shape(name)) for name in names]
        _, height, width, channels = shapes[0]
        super().__init__(card, (height, width), channels, threads)
        self.runtime, self.device = f"TensorRT {trt.__version__}", "gpu"
        self._context, self._torch = self._engine.create_execution_context(), torch
        self._tensors = [torch.empty(shape, dtype=torch.float32, device="cuda") for shape in shapes]
        for name, tensor in zip(names, self._tensors, strict=True):
            self._context.set_tensor_address(name, tensor.data_ptr())
        self._kind = outputs.check(card.get("output_kind", "alpha"), path)

    def infer(self, pixels: np.ndarray) -> np.ndarray:
        answers = []
        stream = self._torch.cuda.current_stream()
        for picture in pixels:
            self._tensors[0].copy_(self._torch.from_numpy(picture[None]))
            if not self._context.execute_async_v3(stream.cuda_stream):
                raise ValueError("TensorRT gave up on a picture: its log above says why")
            stream.synchronize()
            answers.append(outputs.decode(self._tensors[-1].cpu().numpy(), self._kind, self.size))
        return np.concatenate(answers)


def plan_of(path: Path) -> bytes:
    """The engine alone: its card lies behind it as a zip."""
    with zipfile.ZipFile(path) as archive:
        start = min(member.header_offset for member in archive.infolist())
    return path.read_bytes()[:start]


def tf_trt(folder: str, target: Path, precision: str, pixels: Any) -> None:
    """A SavedModel whose parts run in TensorRT, by the TF-TRT of TensorFlow 2.17 and older, on Jetsons above all.

    Segments of fewer than 7 operators stay TensorFlow's, as in the reference toolkit; engines are built with sample pictures.
    """
    from tensorflow.python.compiler.tensorrt import trt_convert as trt

    def pictures() -> Iterator[tuple]:
        return ((picture,) for picture in pixels())

    whole = precision == "int8"
    converter = trt.TrtGraphConverterV2(
        input_saved_model_dir=folder,
        precision_mode=precision.upper(),
        minimum_segment_size=7,
        max_workspace_size_bytes=WORKSPACE,
        use_calibration=whole,
    )
    converter.convert(calibration_input_fn=pictures if whole else None)
    converter.build(input_fn=pictures)
    converter.save(str(target))


def has_tf_trt() -> bool:
    """Whether this TensorFlow was built with TensorRT; others import the converter and refuse to convert."""
    import tensorflow as tf

    return bool(tf.sysconfig.get_build_info().get("is_tensorrt_build"))
