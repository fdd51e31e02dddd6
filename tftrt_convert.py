"""python tftrt_convert.py checkpoints/live.keras --out exports

Stage 10: a checkpoint -> TensorRT, for this machine's NVIDIA GPU.

Where TensorFlow was built with TensorRT (2.17 and older, Jetsons, NVIDIA's images), a SavedModel by TF-TRT. Elsewhere an ONNX
file, compared with the checkpoint, and an .engine from it by the package tensorrt. --engine onnxruntime stops at the ONNX
file, for ONNX Runtime's TensorRT provider; so does --dry-run, on any machine. Run the result with tftrt_infer.py.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from utils import cli


def arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("checkpoint", help="trained network: .keras or .h5")
    parser.add_argument("--precision", default="fp16", choices=("fp16", "fp32", "int8"), help="of the engine")
    parser.add_argument(
        "--engine",
        default="auto",
        choices=("auto", "tftrt", "tensorrt", "onnxruntime"),
        help="what makes it; auto: tftrt where TensorFlow has it, else tensorrt",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="all that needs no GPU: the compared ONNX file"
    )
    parser.add_argument(
        "--size", type=cli.size, metavar="HxW", help="input size; default: the checkpoint's own"
    )
    parser.add_argument("--out", default="exports", metavar="DIR", help="folder to write to")
    parser.add_argument("--force", action="store_true", help="write over files that are there already")
    parser.add_argument(
        "--calibration", metavar="DIR", help="photos to build and compare with; default: data/samples"
    )
    parser.add_argument("--photos", type=cli.positive, default=16, help="photos to use at most")
    parser.add_argument(
        "--threads", type=cli.threads, default=os.cpu_count(), help="threads of the comparison"
    )
    return parser.parse_args()


def main() -> int:
    args = arguments()
    from utils import exporting, formats, tensorrt
    from utils.exporting import Job
    from utils.segmenter import KerasSegmenter

    photos = exporting.choose_photos(args.calibration or exporting.SAMPLES, args.photos)
    network, card = exporting.load(args.checkpoint, args.size)
    from utils.fold import fold  # after TensorFlow was imported quietly

    card["source"] = Path(args.checkpoint).name
    source = KerasSegmenter(network, card, args.threads)
    stem = Path(args.out) / Path(args.checkpoint).stem
    engine = choose_engine(args)
    if engine != "tftrt":
        formats.choose("onnx")  # is refused where its packages are missing
    target = Path(f"{stem}_tftrt" if engine == "tftrt" else f"{stem}_{args.precision}.engine")
    with exporting.saved_model(fold(network, "own")) as folder:
        job = Job(folder, exporting.calibration(source, photos))
        if engine == "tftrt":
            exporting.check_free([target], args.force)
            make = lambda raw: tensorrt.tf_trt(folder, raw, args.precision, job.pixels)  # noqa: E731
        else:
            onnx = write_onnx(Path(f"{stem}.onnx"), job, source, photos, args.force)
            if engine == "onnxruntime":
                print(f"{cli.next_command('tftrt_infer.py', onnx)} (with the package onnxruntime-gpu)")
                return 0
            need_tensorrt(onnx)
            exporting.check_free([target], args.force)
            make = lambda raw: raw.write_bytes(tensorrt.build(onnx, args.precision, job.pixels))  # noqa: E731
        compare_and_place(target, make, source, photos, args.precision)
    print(cli.next_command("tftrt_infer.py", target))
    return 0


def choose_engine(args: argparse.Namespace) -> str:
    """ "tftrt", "tensorrt" or "onnxruntime" (which is the ONNX file alone). Raises ValueError."""
    from utils import tensorrt

    if args.dry_run:
        return "onnxruntime"
    has = tensorrt.has_tf_trt()
    if args.engine == "tftrt" and not has:
        raise ValueError(
            "this TensorFlow was built without TensorRT: 2.17 was the last with it; use NVIDIA's image of it, a Jetson, or "
            "--engine tensorrt"
        )
    return args.engine if args.engine != "auto" else "tftrt" if has else "tensorrt"


def need_tensorrt(onnx: Path) -> None:
    """Raises ValueError where no engine can be built, saying what became of the ONNX file."""
    from utils import tensorrt

    missing = tensorrt.reason_missing()
    if missing:
        raise ValueError(
            f"{missing}; {onnx} is written and equal to the checkpoint: there, run tftrt_convert.py again, or "
            f"tftrt_infer.py {onnx.name} with ONNX Runtime's TensorRT provider"
        )


def write_onnx(path: Path, job, source, photos: list[Path], force: bool) -> Path:
    """The ONNX file that TensorRT reads; one of the same network that is there already is kept."""
    from models import card as cards
    from utils import exporting

    # What came out of export.py says that its output is alpha, the default.
    same = {"output_kind": "alpha", **{key: source.card.get(key) for key in ("weights", "architecture")}}
    if path.exists() and not force and same.items() <= {"output_kind": "alpha", **cards.read(path)}.items():
        print(f"{path.name}: is there already")
        return path
    exporting.check_free([path], force)
    compare_and_place(path, lambda raw: exporting.convert("onnx", job, raw), source, photos, "onnx")
    return path


def compare_and_place(path: Path, make, source, photos: list[Path], kind: str) -> None:
    """Write a file by `make`, compare it with its source and give it its name. Raises ValueError if it differs."""
    from utils import exporting, parity

    tolerance = {"onnx": "onnx", "fp32": "onnx", "fp16": "tflite_fp16", "int8": "tflite_int8"}[kind]
    with exporting.workplace(path) as raw:
        make(raw)
        card = {**source.card, "format": kind}
        exported = exporting.trial(raw, card, source.threads)
        found = parity.compare(source, exported, exporting.frames(photos))
        faults = found.faults(tolerance)
        if faults:
            raise ValueError(f"{path.name} is not written: {'; '.join(faults)}")
        exporting.place(raw, path, {**card, "parity": found.as_card()})
    print(f"{path.name}: {exported}, max |d| {found.max:.1e}, IoU {found.iou:.4f}: ok")


if __name__ == "__main__":
    cli.run(main)
