"""Which layers lose the most when a network is put into whole numbers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from utils.backend import quiet
from utils.formats import Job, calibrated

PICTURES = 8
WORST = 3


def blame(job: Job) -> list[str]:
    """The layers whose int8 answers are farthest from float32, as one sentence in a list; empty where unknown.

    Each is run on the float32 answers of those before it; the error is told in steps of its own scale, where
    rounding alone gives 0.29. Source: TensorFlow's QuantizationDebugger.
    """
    import tensorflow as tf

    def pictures() -> Any:
        return ([picture] for picture in itertools.islice(job.pixels(), PICTURES))

    try:
        with quiet():
            debugger = tf.lite.experimental.QuantizationDebugger(
                converter=calibrated(job), debug_dataset=pictures
            )
            debugger.run()
    except Exception:  # an aid only: a network that it cannot take apart is still refused for its parity
        return []
    errors = worst(debugger.layer_statistics, names(debugger))
    return [f"most is lost in {', '.join(errors)}"] if errors else []


def worst(statistics: dict[str, dict[str, float]], known: dict[str, tuple[str, float]]) -> list[str]:
    """The `WORST` layers by root mean square error in steps; `known` gives each tensor's layer and scale."""
    steps = {}
    for tensor, found in statistics.items():
        layer, scale = known.get(tensor, (tensor, 0.0))
        if scale > 0:
            error = float(np.sqrt(found["mean_squared_error"])) / scale
            steps[layer] = max(error, steps.get(layer, 0.0))
    ranked = sorted(steps.items(), key=lambda item: -item[1])[:WORST]
    return [f"{layer} ({error:.1f} steps)" for layer, error in ranked]


def names(debugger: Any) -> dict[str, tuple[str, float]]:
    """Tensor name -> (a short layer name, the scale of its whole numbers)."""
    details = debugger.quant_model if hasattr(debugger, "quant_model") else None
    if details is None:
        return {}
    import tensorflow as tf

    with quiet():
        interpreter = tf.lite.Interpreter(model_content=details)
        tensors = interpreter.get_tensor_details()
    return {t["name"]: (short(t["name"]), float(t["quantization"][0] or 0.0)) for t in tensors}


def short(tensor: str) -> str:
    """The layer's own name out of a tensor's path: "functional/block_3_expand_relu/Relu6;..." -> "block_3_expand_relu"."""
    parts = [part for part in tensor.split(";")[0].split("/") if part]
    inner = [
        part
        for part in parts
        if part[0].islower() and not part.startswith(("functional", "serving", "model"))
    ]
    return (inner or parts or [tensor])[-1]
