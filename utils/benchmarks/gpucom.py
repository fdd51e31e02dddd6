"""Seven toy networks that show what moving data costs beside computing: packed masks, channels, reshapes.

Rebuilt from a study of TFLite's GPU delegate on a phone. Each passes a binary mask on by a 3x3 convolution that changes nothing, so
that what comes out can be checked; some pack sixteen pixels into one number (utils/bitpack.py). Here they run on the CPU, where nothing
is copied to a GPU and back: the table says which of the lessons hold without one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from utils import bitpack
from utils.benchmarks import fresh, turns
from utils.benchmarks.turns import Settings

if TYPE_CHECKING:
    import keras

SIDE = 256


class Toy(NamedTuple):
    """What a toy takes, what it does, and the function that builds it."""

    shape: tuple[int, ...]
    what: str
    body: Callable[[Any], Any]


class Pair(NamedTuple):
    """Two toys that differ in one thing, and the ratio of their times that the study had on a phone's GPU."""

    one: int
    other: int
    phone: float
    what: str


def identity(pixels: Any, channels: int) -> Any:
    """A 3x3 convolution that passes the first channels on."""
    from keras import layers

    layer = layers.Conv2D(channels, 3, padding="same")
    result = layer(pixels)
    kernel = np.zeros(layer.kernel.shape, np.float32)
    kernel[1, 1, range(channels), range(channels)] = 1
    layer.set_weights([kernel, np.zeros(channels, np.float32)])
    return result


def pack(mask: Any) -> Any:
    """Sixteen pixels of a row in one number."""
    from keras import layers

    layer = layers.Conv2D(1, (1, bitpack.BITS), strides=(1, bitpack.BITS))
    result = layer(mask)
    kernel = bitpack.WEIGHTS.astype(np.float32).reshape(1, bitpack.BITS, 1, 1)
    layer.set_weights([kernel, np.zeros(1, np.float32)])
    return result


def reshape(values: Any, *shape: int) -> Any:
    from keras import layers

    return layers.Reshape(shape)(values)


def pad(mask: Any) -> Any:
    """One channel to four."""
    from keras import ops

    return ops.pad(mask, ((0, 0), (0, 0), (0, 0), (0, 3)))


def rows(mask: Any) -> Any:
    """Packed, and without the channel's axis: the last axis is sixteen long."""
    return reshape(pack(mask), SIDE, SIDE // bitpack.BITS)


TOYS = {
    1: Toy((SIDE, SIDE, 1), "mask through", lambda x: identity(x, 1)),
    2: Toy((SIDE, SIDE, 1), "packed", lambda x: pack(identity(x, 1))),
    3: Toy((SIDE, SIDE, 4), "four channels through", lambda x: identity(x, 4)),
    4: Toy((SIDE, SIDE, 4), "four channels in, packed, rows of 16 out", lambda x: rows(identity(x, 1))),
    5: Toy(
        (SIDE * SIDE * 3,),
        "flat in, reshaped to three channels, else as 4",
        lambda x: rows(identity(reshape(x, SIDE, SIDE, 3), 1)),
    ),
    6: Toy((SIDE, SIDE, 4), "four in, three sliced off, else as 4", lambda x: rows(identity(x[..., :3], 1))),
    7: Toy(
        (SIDE, SIDE, 4),
        "four in, three sliced off, padded to four out",
        lambda x: pad(identity(x[..., :3], 1)),
    ),
}
# The study's GPU, without unpacking: 16.5, 6.5, 4.8, 2.7, 4.0, 3.0 and 5.7 ms.
PAIRS = (
    Pair(1, 2, 0.39, "few output bytes: a convolution more, a sixteenth of the bytes"),
    Pair(1, 3, 0.29, "channels in fours: sixteen times the arithmetic"),
    Pair(4, 5, 1.48, "a reshape: three flat channels in instead of four"),
    Pair(4, 6, 1.11, "a slice: four channels in, three used"),
    Pair(3, 7, 1.19, "slice and pad around one channel instead of four throughout"),
    Pair(1, 4, 0.16, "all together: fours in, few bytes out"),
)


def build(number: int) -> keras.Model:
    """The toy as a Keras network."""
    import keras

    toy = TOYS[number]
    pixels = keras.Input(toy.shape)
    return keras.Model(pixels, toy.body(pixels))


def report(threads: list[int], settings: Settings) -> list[dict[str, Any]]:
    """Print and return the table: parameters, bytes, times on the CPU with and without unpacking."""
    from utils import backend

    backend.choose()
    with tempfile.TemporaryDirectory() as folder:
        found = write_all(Path(folder))
        for count in threads:
            times = fresh.apart(measure, [row["file"] for row in found], count, settings)
            for row, spent in zip(found, times, strict=True):
                row |= {f"{name}_{count}": value for name, value in spent.items()}
            print_table(found, count)
    for row in found:
        del row["file"]
    print(
        "measured on the CPU (LiteRT, XNNPACK), nothing on a GPU: numbers in, network run, numbers out, all toys in turns. "
        "That GPUs reward channels in fours and few bytes, and punish reshapes, is the study's finding, not measured here."
    )
    return found


def write_all(folder: Path) -> list[dict[str, Any]]:
    """Every toy as a float32 .tflite, and what is known of it."""
    from utils import exporting
    from utils.formats import Job

    found = []
    for number, toy in TOYS.items():
        network = build(number)
        file = folder / f"toy_{number}.tflite"
        with exporting.saved_model(network) as saved:
            exporting.convert("tflite", Job(saved, lambda: iter(())), file)
        found.append(
            {
                "toy": number,
                "what": toy.what,
                "parameters": network.count_params(),
                "bytes_in": 4 * int(np.prod(network.input_shape[1:])),
                "bytes_out": 4 * int(np.prod(network.output_shape[1:])),
                "file_bytes": file.stat().st_size,
                "file": file,
            }
        )
    return found


def measure(files: list[Path], threads: int, settings: Settings) -> list[dict[str, float]]:
    """Median and 95th percentile of each toy, and of unpacking. Raises ValueError if a mask comes out changed."""
    mask = np.random.default_rng(0).random((SIDE, SIDE)) < 0.5
    runs = [partial(run, interpreter(file, threads), fed(file, threads, mask)) for file in files]
    packed = []
    for file, one in zip(files, runs, strict=True):
        out = one()
        packed.append(out.size < mask.size)
        if not np.array_equal(unpacked(out), mask):
            raise ValueError(f"{file.name}: the mask that came out is not the one that went in")
    spent = turns.in_turns(runs, settings, f"{threads} threads, network")
    unpack = [partial(unpacked, one()) for one in runs]
    after = turns.in_turns(unpack, settings, f"{threads} threads, unpacking")
    return [
        {
            "p50_ms": float(np.median(its)),
            "p95_ms": float(np.percentile(its, 95)),
            "unpack_ms": float(np.median(more)) if small else 0.0,
        }
        for its, more, small in zip(spent, after, packed, strict=True)
    ]


def interpreter(file: Path, threads: int) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    from utils.backend import quiet

    with quiet():
        found = Interpreter(model_path=str(file), num_threads=threads)
        found.allocate_tensors()
    return found


def fed(file: Path, threads: int, mask: np.ndarray) -> np.ndarray:
    """The mask in the first of the toy's channels, the others empty."""
    shape = interpreter(file, threads).get_input_details()[0]["shape"]
    values = np.zeros((mask.size, int(np.prod(shape)) // mask.size), np.float32)
    values[:, 0] = mask.ravel()
    return values.reshape(shape)


def run(network: Any, values: np.ndarray) -> np.ndarray:
    """In, through and out, as a caller pays for it."""
    network.set_tensor(network.get_input_details()[0]["index"], values)
    network.invoke()
    return network.get_tensor(network.get_output_details()[0]["index"])


def unpacked(output: np.ndarray) -> np.ndarray:
    """A toy's output as the boolean mask [256, 256]: unpacked, or its first channel."""
    if output.size < SIDE * SIDE:
        return bitpack.unpack(output.reshape(SIDE, -1)) > 0.5
    return output.reshape(SIDE, SIDE, -1)[..., 0] > 0.5


def print_table(found: list[dict[str, Any]], threads: int) -> None:
    """The toys, then the pairs."""
    print(f"\ntoy  parameters  bytes in  bytes out  file  p50 / p95 ms, {threads} thread(s)  unpacking ms")
    middle = {}
    for row in found:
        middle[row["toy"]] = row[f"p50_ms_{threads}"] + row[f"unpack_ms_{threads}"]
        unpack = f"{row[f'unpack_ms_{threads}']:.3f}" if row[f"unpack_ms_{threads}"] else "-"
        times = f"{row[f'p50_ms_{threads}']:.3f} / {row[f'p95_ms_{threads}']:.3f}"
        print(
            f"{row['toy']:3} {row['parameters']:11} {row['bytes_in']:9} {row['bytes_out']:10} {row['file_bytes']:5} "
            f"{times:>27} {unpack:>13}  {row['what']}"
        )
    print("\ntoys    here, with unpacking    on the study's GPU")
    for one, other, phone, what in PAIRS:
        print(f"{other} to {one} {middle[other] / middle[one]:21.2f} {phone:21.2f}  {what}")
