"""python -m utils.soup runs/a/best.keras runs/b/best.keras --out runs/mean.keras

The mean of the weights of networks of one architecture that began from the same checkpoint: as fast as one of them and
mostly better than each. Batch norms' statistics are averaged too, which is exact enough where runs stay near each other.
A network that takes its last alpha as fourth channel may be averaged with one that does not, if it is named first: it
keeps its weights of that channel whole. `--weights 0.7 0.3` leans to one side.

Source: Wortsman et al., "Model soups", ICML 2022.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from utils import backend, cli

FAR = 0.5  # of the weights' length: networks that far apart did not begin from the same checkpoint


def mean(arrays: list[list[np.ndarray]], shares: list[float] | None = None) -> list[np.ndarray]:
    """The mean of several lists of weights, in proportion to `shares`, or in equal parts.

    Raises ValueError where they are not of one architecture, or too far apart.
    """
    shapes = [[array.shape for array in own] for own in arrays]
    if any(own != shapes[0] for own in shapes):
        raise ValueError("the networks are not of one architecture")
    middle = [np.average(same, axis=0, weights=shares) for same in zip(*arrays, strict=True)]
    length = _length(middle)
    if any(_length([a - b for a, b in zip(own, middle, strict=True)]) > FAR * length for own in arrays):
        raise ValueError("the networks are too far apart for a mean: they must come from the same checkpoint")
    return middle


def with_prior(arrays: list[np.ndarray], like: list[np.ndarray]) -> list[np.ndarray]:
    """Weights of a network without a prior as those of one with it: kernels of the fourth channel are taken from `like`."""
    first, wanted = arrays[0], like[0]
    if first.shape != (*wanted.shape[:2], 3, *wanted.shape[3:]) or wanted.shape[2] != 4:
        return arrays
    return [np.concatenate([first, wanted[:, :, 3:]], axis=2), *arrays[1:]]


def _length(arrays: list[np.ndarray]) -> float:
    return float(np.sqrt(sum(np.square(array, dtype=np.float64).sum() for array in arrays)))


def main() -> int:
    parser = cli.parser(__doc__)
    parser.add_argument("checkpoints", type=Path, nargs="+", metavar="FILE", help=".keras files, two or more")
    parser.add_argument(
        "--size", type=cli.size, metavar="HxW", help="input size; default: the first one's own"
    )
    parser.add_argument(
        "--weights", type=cli.above_zero, nargs="+", metavar="SHARE", help="of each; default: equal"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help=".keras file to write")
    args = parser.parse_args()
    if len(args.checkpoints) < 2:
        raise ValueError("a mean needs two checkpoints or more")
    if args.weights and len(args.weights) != len(args.checkpoints):
        raise ValueError(f"--weights: give {len(args.checkpoints)}, one for each checkpoint")
    if args.out.suffix != ".keras":
        raise ValueError(f"{args.out}: give a name that ends in .keras")
    import models
    from models import card as cards

    backend.choose()
    card = cards.read(args.checkpoints[0])
    size = args.size or card["architecture"]["input_size"]
    networks = [models.load(path, input_size=tuple(size)) for path in args.checkpoints]
    arrays = [network.get_weights() for network in networks]
    networks[0].set_weights(mean([with_prior(own, arrays[0]) for own in arrays], args.weights))
    architecture = {**card["architecture"], "input_size": list(size)}
    parts = [path.name for path in args.checkpoints]
    shares = {"shares": args.weights} if args.weights else {}
    kept = {name: value for name, value in card.items() if name not in ("metrics", "epoch", "parity")}
    moved = [
        cards.read(path).get("logits_shifted", 0.0) for path in args.checkpoints
    ]  # by utils/threshold.py
    if any(moved):
        kept["logits_shifted"] = round(float(np.average(moved, weights=args.weights)), 4)
    models.save(networks[0], args.out, {**kept, "architecture": architecture, "mean_of": parts, **shares})
    print(f"written: {args.out}")
    return 0


if __name__ == "__main__":
    cli.run(main)
