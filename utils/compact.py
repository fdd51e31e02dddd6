"""python -m utils.compact runs/people/best.keras --out people.keras

The same network in half the file, to be handed on: kernels are rounded to the 11 significant bits that float16 has (not
to its range), which leaves zeros that zip compresses. Alpha changes by about a thousandth; it opens, trains on and
exports as before.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from utils import backend, cli

BITS = 11


def rounded(array: np.ndarray, bits: int = BITS) -> np.ndarray:
    """Each float32 to the nearest number of `bits` significant bits; off by at most its 2^-bits part."""
    mantissa, exponent = np.frexp(array)
    return np.ldexp(np.round(mantissa * 2**bits) / 2**bits, exponent).astype(array.dtype)


def deflate(path: Path) -> None:
    """Compress the members of a zip file, whole or not at all."""
    from models import card as cards

    with (
        cards.replacing(path) as temporary,
        zipfile.ZipFile(path) as old,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as new,
    ):
        for name in dict.fromkeys(old.namelist()):
            new.writestr(name, old.read(name))


def main() -> int:
    parser = cli.parser(__doc__)
    parser.add_argument("checkpoint", type=Path, metavar="FILE", help=".keras file of ours")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help=".keras file to write")
    args = parser.parse_args()
    if args.out.suffix != ".keras":
        raise ValueError(f"{args.out}: give a name that ends in .keras")
    if args.out.resolve() == args.checkpoint.resolve():
        raise ValueError(f"{args.out}: would replace the original: give another --out")
    import models
    from models import card as cards

    backend.choose()
    network = models.load(args.checkpoint)
    weights = network.get_weights()
    network.set_weights([rounded(array) if array.ndim > 1 else array for array in weights])
    models.save(network, args.out, {**cards.read(args.checkpoint), "rounded_to_bits": BITS})
    deflate(args.out)
    was, size = (path.stat().st_size / 1e6 for path in (args.checkpoint, args.out))
    print(f"written: {args.out}, {size:.1f} MB of {was:.1f}")
    return 0


if __name__ == "__main__":
    cli.run(main)
