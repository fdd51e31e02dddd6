"""A network of three layers, batch norm among them, that compiles in a moment: for what is the same with every network.

    python -m tests.tiny train.py PHOTOS --model tiny      # any script, which then knows it

With $LOGICAL_DEVICES TensorFlow sees so many processors.
"""

from __future__ import annotations

import os
import runpy
import sys
import types

import keras

import models
from models import blocks

SIZE = (32, 32)
MODULE, ENTRY = "models.tiny", models.Entry(SIZE, 8)


def build(size: tuple[int, int], channels: int = 3) -> keras.Model:
    inputs, x = blocks.pixels(size, channels)
    x = keras.layers.Conv2D(4, 3, 2, padding="same", name="enc")(x)
    x = keras.layers.ReLU()(blocks.batch_norm(x, "enc_bn"))
    x = keras.layers.Conv2DTranspose(1, 4, 2, padding="same", name="logits")(x)
    return keras.Model(inputs, blocks.alpha(x))


def module() -> types.ModuleType:
    found = types.ModuleType(MODULE)
    found.build, found.ENCODER = build, ("enc",)
    return found


def main() -> None:
    if "LOGICAL_DEVICES" in os.environ:
        import tensorflow as tf

        parts = [tf.config.LogicalDeviceConfiguration()] * int(os.environ["LOGICAL_DEVICES"])
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)
    sys.modules[MODULE] = module()
    models.REGISTRY["tiny"] = ENTRY
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
