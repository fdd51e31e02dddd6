"""The file formats that export.py writes, one function each: a SavedModel in, a model file (or folder) out.

    FORMATS["onnx"].convert(Job(folder, pixels), Path("live.onnx"))

A new format is one function, one line in `FORMATS` and its tolerance in utils/parity.py.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

OPSET = 15  # of ONNX: what TensorRT 8.5 and newer and ONNX Runtime all read

Pixels = Callable[[], Iterator[np.ndarray]]


class Job(NamedTuple):
    """`folder` of a SavedModel with batch 1; `pixels` yields float32 [1, H, W, C] 0..255 that set the ranges of whole
    numbers; `io` "float" or "uint8": what whole-number TFLite files take and give."""

    folder: str
    pixels: Pixels
    io: str = "float"


class Format(NamedTuple):
    """How a format's files end, what writes one, the packages it needs beside requirements.txt, and what installs them."""

    ending: str
    convert: Callable[[Job, Path], None]
    packages: tuple[str, ...] = ()
    install: str = "pip install -r requirements-export.txt"
    there: Callable[[str], bool] = lambda name: importlib.util.find_spec(name) is not None

    @property
    def missing(self) -> list[str]:
        """The packages that are not installed."""
        return [name for name in self.packages if not self.there(name)]


def choose(text: str) -> list[str]:
    """Names with commas between, or "all" for those whose packages are installed. Raises ValueError."""
    if text.strip() == "all":
        for name, format in FORMATS.items():
            if format.missing:
                print(f"note: {name} is left out: {_remedy(format)}")
        return [name for name, format in FORMATS.items() if not format.missing]
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        raise ValueError(
            f"--formats {text}: no such format {', '.join(unknown)}: choose from {', '.join(FORMATS)}"
        )
    for name in names:
        if FORMATS[name].missing:
            raise ValueError(f"{name} cannot be written: {_remedy(FORMATS[name])}")
    return names


def _remedy(format: Format) -> str:
    return f"{', '.join(format.missing)} is not installed: {format.install}"


def _tflite(job: Job, path: Path) -> None:
    path.write_bytes(_converter(job).convert())


def _tflite_fp16(job: Job, path: Path) -> None:
    """Weights in half precision: half the file, the same speed."""
    import tensorflow as tf

    converter = _converter(job)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    path.write_bytes(converter.convert())


def _tflite_dynamic(job: Job, path: Path) -> None:
    """Weights in 8 bits, activations in floats whose range is found at each run: needs no photos."""
    import tensorflow as tf

    converter = _converter(job)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    path.write_bytes(converter.convert())


def _tflite_int8(job: Job, path: Path) -> None:
    """Whole numbers throughout. With `io` float, input and output stay float32, so every caller feeds it the same."""
    import tensorflow as tf

    converter = calibrated(job)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if job.io == "uint8":
        converter.inference_input_type = converter.inference_output_type = tf.uint8
    path.write_bytes(converter.convert())


def _tflite_int16(job: Job, path: Path) -> None:
    """Weights in 8 bits, activations in 16: nearly float's accuracy on chips without floats; slow on a CPU."""
    import tensorflow as tf

    converter = calibrated(job)
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
        tf.lite.OpsSet.TFLITE_BUILTINS,  # depth to space knows no 16 bits
    ]
    path.write_bytes(converter.convert())


def _onnx(job: Job, path: Path) -> None:
    """By tf2onnx from the SavedModel; pictures stay [1, H, W, C]."""
    from tf2onnx import convert, tf_loader

    graph, inputs, outputs = tf_loader.from_saved_model(
        job.folder, None, None, tag="serve", signatures=["serving_default"]
    )[:3]
    convert.from_graph_def(graph, "portrait", inputs, outputs, opset=OPSET, output_path=str(path))


def _onnx_int8(job: Job, path: Path) -> None:
    """ONNX Runtime's static quantisation: QDQ nodes, a scale for each channel of the weights."""
    from onnxruntime import quantization as ort

    class Reader(ort.CalibrationDataReader):
        """The pictures that set the ranges, as the quantiser asks for them."""

        def __init__(self, name: str) -> None:
            self._feeds = ({name: picture} for picture in job.pixels())

        def get_next(self) -> dict | None:
            return next(self._feeds, None)

    plain = path.with_name(f"plain_{path.name}")
    _onnx(job, plain)
    try:
        import onnx

        name = onnx.load(plain).graph.input[0].name
        ort.quantize_static(
            plain,
            path,
            Reader(name),
            quant_format=ort.QuantFormat.QDQ,
            per_channel=True,
            activation_type=ort.QuantType.QUInt8,
            weight_type=ort.QuantType.QInt8,
            # Processors without VNNI add two products in 16 bits, which 8 bit weights overflow.
            reduce_range=True,
        )
    finally:
        plain.unlink(missing_ok=True)


def _saved_model(job: Job, path: Path) -> None:
    """With a second signature that takes an encoded picture (utils/serving.py)."""
    from utils.serving import write

    write(job.folder, path)


def _openvino(job: Job, path: Path) -> None:
    """OpenVINO IR with float32 weights, an .xml and a .bin."""
    import openvino

    openvino.save_model(openvino.convert_model(job.folder), path, compress_to_fp16=False)


def _openvino_int8(job: Job, path: Path) -> None:
    """OpenVINO IR quantised by NNCF after training."""
    import nncf
    import openvino

    network = openvino.convert_model(job.folder)
    pictures = nncf.Dataset(list(job.pixels()))
    network = nncf.quantize(network, pictures, subset_size=512)
    openvino.save_model(network, path, compress_to_fp16=False)


def _tfjs(job: Job, path: Path) -> None:
    """A graph model for TensorFlow.js: a folder."""
    from utils.tfjs import write

    write(job.folder, path)


def _has_tfjs(name: str) -> bool:
    from utils.tfjs import ready

    return ready()


def _converter(job: Job) -> Any:
    import tensorflow as tf

    # Not from_concrete_functions([f], model): with a Keras 3 model it writes files that return NaN.
    return tf.lite.TFLiteConverter.from_saved_model(job.folder)


def calibrated(job: Job) -> Any:
    """TensorFlow's converter, set to quantise with the ranges of the job's pictures."""
    import tensorflow as tf

    converter = _converter(job)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([picture] for picture in job.pixels())
    return converter


def remove(path: Path) -> None:
    """A model file, with the weights beside it where it has such, or a model's folder."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if path.suffix == ".xml":
        path.with_suffix(".bin").unlink(missing_ok=True)


FORMATS = {
    "tflite": Format("_float32.tflite", _tflite),
    "tflite_fp16": Format("_float16.tflite", _tflite_fp16),
    "tflite_dynamic": Format("_dynamic.tflite", _tflite_dynamic),
    "tflite_int8": Format("_int8.tflite", _tflite_int8),
    "tflite_qat": Format("_qat.tflite", _tflite_int8),  # of weights that learnt to bear it (utils/qat.py)
    "tflite_int16": Format("_int16.tflite", _tflite_int16),
    "onnx": Format(".onnx", _onnx, ("onnx", "tf2onnx", "onnxruntime")),
    "onnx_int8": Format("_int8.onnx", _onnx_int8, ("onnx", "tf2onnx", "onnxruntime")),
    "saved_model": Format("_saved_model", _saved_model),
    "openvino": Format(".xml", _openvino, ("openvino",)),
    "openvino_int8": Format("_int8.xml", _openvino_int8, ("openvino", "nncf")),
    "tfjs": Format("_tfjs", _tfjs, ("tensorflowjs",), "make tfjs", _has_tfjs),
}
BYTES = ("tflite_int8", "tflite_qat")  # whole numbers throughout: `Job.io` is for them
