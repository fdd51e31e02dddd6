"""Configuration files for NVIDIA DeepStream beside an ONNX file that takes as many pictures as there are sources.

    write(network, card, Path("jetson"), sources=2)     # live.onnx, config_infer.txt, deepstream_app.txt

`deepstream-app -c deepstream_app.txt` then decodes the sources, runs them as one batch and tiles the masks. The keys are those of
Gst-nvinfer and of the reference application (https://docs.nvidia.com/metropolis/deepstream/dev-guide, version 6 and 7).
Not run on a Jetson or another GPU by us.
"""

from __future__ import annotations

import configparser
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from utils import exporting, outputs
from utils.files import write_text
from utils.formats import Job

if TYPE_CHECKING:
    import keras

RGB, NHWC, FP16, SEGMENTATION = 0, 1, 2, 2  # numbers of Gst-nvinfer
TILE = (360, 640)
TOLERANCE = 1e-3


def write(
    network: keras.Model, card: dict[str, Any], folder: Path, sources: int, force: bool = False
) -> list[Path]:
    """The ONNX file (two classes by softmax, batch of `sources`) and both configurations. Raises ValueError, OSError.

    The ONNX file is compared with the network on one batch of noise before it gets its name.
    """
    if network.input_shape[-1] != 3:
        raise ValueError(
            "DeepStream gives a network three channels: one with the alpha before as fourth cannot run there"
        )
    model = folder / f"{Path(card['source']).stem}_batch{sources}.onnx"
    texts = {
        folder / "config_infer.txt": infer_config(model.name, network.input_shape[1:3], sources),
        folder / "deepstream_app.txt": app_config(sources, network.input_shape[1:3]),
    }
    exporting.check_free([model, *texts], force)
    with (
        exporting.saved_model(network, "softmax", sources) as saved,
        exporting.workplace(model) as raw,
    ):
        exporting.convert("onnx", Job(saved, lambda: iter(())), raw)
        _compare(network, raw, sources)
        exporting.place(
            raw, model, {**card, "format": "onnx", **outputs.described(card, "softmax"), "batch": sources}
        )
    for path, text in texts.items():
        write_text(path, text)
    return [model, *texts]


def infer_config(model: str, size: tuple[int, int], sources: int) -> str:
    """Gst-nvinfer's file: whole frames, letterboxed as we do, pixels 0..255, channels last."""
    return _ini(
        {
            "property": {
                "gpu-id": 0,
                "onnx-file": model,
                "model-engine-file": f"{model}_b{sources}_gpu0_fp16.engine",
                "net-scale-factor": 1.0,
                "model-color-format": RGB,
                "infer-dims": f"3;{size[0]};{size[1]}",
                "network-input-order": NHWC,
                "maintain-aspect-ratio": 1,
                "symmetric-padding": 1,
                "batch-size": sources,
                "network-mode": FP16,
                "network-type": SEGMENTATION,
                "num-detected-classes": 2,
                "segmentation-output-order": NHWC,
                "segmentation-threshold": 0.5,
                "interval": 0,
                "gie-unique-id": 1,
            }
        }
    )


def app_config(sources: int, size: tuple[int, int]) -> str:
    """deepstream-app's file: sources to fill in, one batch, masks tiled on screen, H.264 over RTSP beside it."""
    columns = int(np.ceil(np.sqrt(sources)))
    rows = -(-sources // columns)
    groups: dict[str, dict[str, object]] = {
        "application": {"enable-perf-measurement": 1, "perf-measurement-interval-sec": 5},
        "tiled-display": {
            "enable": 1,
            "rows": rows,
            "columns": columns,
            "height": rows * TILE[0],
            "width": columns * TILE[1],
            "gpu-id": 0,
        },
    }
    for number in range(sources):  # 4 is a stream, 3 a file, 1 a camera
        address = f"rtsp://127.0.0.1:8554/camera{number}"
        groups[f"source{number}"] = {"enable": 1, "type": 4, "uri": address, "num-sources": 1, "gpu-id": 0}
    groups |= {
        "streammux": {
            "gpu-id": 0,
            "live-source": 1,
            "batch-size": sources,
            "batched-push-timeout": 40000,
            "width": 1280,
            "height": 720,
            "enable-padding": 1,
        },
        "primary-gie": {
            "enable": 1,
            "gpu-id": 0,
            "batch-size": sources,
            "gie-unique-id": 1,
            "config-file": "config_infer.txt",
        },
        "segvisual": {"enable": 1, "gpu-id": 0, "batch-size": sources, "width": size[1], "height": size[0]},
        "sink0": {"enable": 1, "type": 2, "sync": 0, "gpu-id": 0},
        "sink1": {
            "enable": 1,
            "type": 4,
            "codec": 1,
            "bitrate": 4000000,
            "rtsp-port": 8555,
            "udp-port": 5400,
            "sync": 0,
            "gpu-id": 0,
        },
    }
    return _ini(groups)


def _ini(groups: dict[str, dict[str, object]]) -> str:
    parser = configparser.ConfigParser()
    parser.read_dict(groups)
    text = io.StringIO()
    parser.write(text, space_around_delimiters=False)
    return text.getvalue()


def _compare(network: keras.Model, path: Path, sources: int) -> None:
    import onnxruntime

    pixels = np.random.default_rng(0).uniform(0, 255, (sources, *network.input_shape[1:])).astype(np.float32)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: pixels})[0][..., 1:]
    worst = float(np.abs(found - np.asarray(network(pixels))).max())
    if not worst <= TOLERANCE:
        raise ValueError(f"{path.name} is not written: it differs from the network by {worst:.2g}")
