"""The networks to measure: files as they are, checkpoints and names on the runtimes asked for, and peers.

contenders = open_all(["live.keras", "sinet:64x64"], ["litert", "onnx"], folder)
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import models
from utils import cli
from utils.fastest import RUNTIMES

if TYPE_CHECKING:
    import keras

# Where MediaPipe's package keeps its selfie networks; its newer versions download others instead.
PEERS, PACKAGE = "modules/selfie_segmentation", "mediapipe==0.10.14"
# The float32 file that each runtime is given of a checkpoint
FORMATS = {"litert": "tflite", "onnx": "onnx", "openvino": "openvino", "saved_model": "saved_model"}


@dataclass
class Contender:
    """One network on one runtime, and what is known of it."""

    name: str
    path: Path
    parameters: int | None = None
    architecture: dict[str, Any] | None = None
    iou: float | None = None
    boundary_iou: float | None = None
    peer: bool = False


def runtimes(text: str) -> list[str]:
    """Names as in `--runtime` with commas between, or "all" whose files can be written here. Raises ValueError."""
    names = [name.strip().replace("onnxruntime", "onnx") for name in text.split(",")]
    if names == ["all"]:
        return ["keras", *(name for name, format in FORMATS.items() if not _format(format).missing)]
    for name in names:
        if name not in RUNTIMES:
            raise ValueError(f"--runtimes {text}: choose from {', '.join(RUNTIMES)}, or all")
    return list(dict.fromkeys(names))


def open_all(names: list[str], wanted: list[str], folder: Path) -> list[Contender]:
    """Every model on every runtime of `wanted` that it has (none: its own); what is exported goes below `folder`.

    Raises FileNotFoundError, ValueError for what is no network of ours or runs on none of `wanted`.
    """
    found = []
    for name in names:
        its_own = Path(tempfile.mkdtemp(dir=folder))
        path = Path(name)
        if name.split(":")[0] in models.names() or (not path.suffix and not path.is_dir()):
            found += _built(name, wanted or ["litert"], its_own)
        elif path.suffix in RUNTIMES["keras"] and set(wanted) - {"keras"}:
            found += _checkpoint(path, wanted, its_own)
        else:
            found.append(_file(path, wanted))
    return found


def peers(option: str | None, folder: Path) -> list[Contender]:
    """MediaPipe's selfie networks of the installed package ("mediapipe"; it is not imported) or one file, with cards."""
    from utils import peers

    if not option:
        return []
    files = _package_files() if option == "mediapipe" else [Path(option)]
    for path in files:
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
    return [Contender(f"{path.stem} (peer)", peers.prepare(path, folder), peer=True) for path in files]


def _package_files() -> list[Path]:
    package = importlib.util.find_spec("mediapipe")
    found = (
        sorted((Path(package.origin).parent / PEERS).glob("*.tflite")) if package and package.origin else []
    )
    if not found:
        what = "holds no selfie networks" if package else "is not installed"
        raise ValueError(
            f"--peer mediapipe: the package {what}: pip install --no-deps {PACKAGE}, or give a .tflite"
        )
    return found


def _file(path: Path, wanted: list[str]) -> Contender:
    """A model file on its own runtime, with what its card knows."""
    its = next((name for name, endings in RUNTIMES.items() if path.suffix in endings), None)
    if (path / "model.json").is_file():
        its = "TensorFlow.js"
    if wanted and its not in wanted:
        raise ValueError(
            f"{path}: runs on {its or 'nothing known'}, not on {', '.join(wanted)}: give the checkpoint"
        )
    card = models.cards.read(path)
    metrics = card.get("metrics", {})
    return Contender(
        path.name,
        path,
        parameters=card.get("parameters"),
        architecture=card.get("architecture"),
        iou=metrics.get("iou"),
        boundary_iou=metrics.get("boundary_iou"),
        peer=bool(card.get("peer")),
    )


def _checkpoint(path: Path, wanted: list[str], folder: Path) -> list[Contender]:
    """A checkpoint itself, and exported in float32 to the other runtimes."""
    from utils import exporting

    _need_formats(wanted)
    network, card = exporting.load(path)
    known = _file(path, [])
    parts = []
    for name, file in _written(network, card, path.stem, wanted, folder, path).items():
        parts.append(Contender(f"{path.name} ({name})", file, known.parameters, known.architecture))
        parts[-1].iou, parts[-1].boundary_iou = known.iou, known.boundary_iou
    return parts


def _built(text: str, wanted: list[str], folder: Path) -> list[Contender]:
    """An architecture with random weights: name:HxW:option=value. Raises ValueError."""
    name, *details = text.split(":")
    if name not in models.names():
        raise ValueError(f"{text}: give a model file or one of {', '.join(models.names())}")
    from utils import backend, recipe

    _need_formats(wanted)
    backend.choose()
    sizes = [cli.size(part) for part in details if "=" not in part]
    options = recipe.options(argparse.Namespace(option=[part for part in details if "=" in part]))
    architecture = models.describe(name, sizes[0] if sizes else None, **options)
    network = models.create(name, tuple(architecture["input_size"]), **options)
    print(f"building {text}", flush=True)
    card = {"name": name, "architecture": architecture}
    checkpoint = folder / f"{name}.keras"
    if "keras" in wanted:
        models.save(network, checkpoint, card)
    files = _written(network, card, name, wanted, folder, checkpoint)
    label = text if len(files) == 1 else f"{text} ({{}})"
    return [
        Contender(label.format(runtime), file, network.count_params(), architecture)
        for runtime, file in files.items()
    ]


def _written(
    network: keras.Model, card: dict, stem: str, wanted: list[str], folder: Path, checkpoint: Path
) -> dict[str, Path]:
    """Runtime -> file, written to `folder` where it is not the checkpoint."""
    from utils import exporting, fold
    from utils.formats import Job

    found = {"keras": checkpoint}
    others = [runtime for runtime in wanted if runtime != "keras"]
    if not others:
        return found
    with exporting.saved_model(fold.fold(network, "own")) as saved:
        for runtime in others:
            target = folder / f"{stem}{_format(FORMATS[runtime]).ending}"
            exporting.convert(FORMATS[runtime], Job(saved, lambda: iter(())), target)
            models.cards.attach(target, card)
            found[runtime] = target
    return {runtime: found[runtime] for runtime in wanted}


def _need_formats(wanted: list[str]) -> None:
    """Raises ValueError where a runtime's file cannot be written here."""
    from utils import formats

    if "tensorrt" in wanted:
        raise ValueError("tensorrt: its engine is built by tftrt_convert.py: give the .engine file itself")
    needed = [FORMATS[name] for name in wanted if name in FORMATS]
    if needed:
        formats.choose(",".join(needed))


def _format(name: str) -> Any:
    from utils import formats

    return formats.FORMATS[name]
