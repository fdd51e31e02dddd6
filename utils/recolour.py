"""python -m utils.recolour train PORTRAITS --extra people --minutes 10 --out checkpoints/harmoniser.tflite

Train the harmonisation network, or score one: `python -m utils.recolour score FILE PORTRAITS`.

In a photo, person and scene belong together. The person is recoloured (light, contrast, tone curves, saturation), and the
network learns to undo it. The score is on the photos of `val`, recoloured the same way each time.
"""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np

from utils import blending, cli, dataset, harmonise, texture
from utils.dataset import Pair
from utils.images import read_image, read_mask, resize

BATCH = 32
LEAST, MOST = 0.05, 0.8  # of a photo that must be person
NOBODY = f"no photo whose person covers {LEAST:.0%} to {MOST:.0%} of it: give other photos"
UNTOUCHED = 0.1  # of the pictures, so that what fits is left alone


def recoloured(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A picture uint8 RGB [H, W, 3] as another camera or another room would show it."""
    changes = (
        (texture.tone_curve, 0.8),
        (texture.brightness_contrast, 0.6),
        (cast, 0.7),
        (texture.saturation_hue, 0.3),
    )
    for change, share in changes:
        if rng.random() < share:
            image = change(image, rng)
    return image


def cast(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light of another colour and strength: each channel times 0.6..1.5."""
    gains = np.clip(np.exp(rng.normal(0, 0.15) + rng.normal(0, 0.12, 3)), 0.6, 1.5)
    return np.clip(image * gains, 0, 255).astype(np.uint8)


def example(image: np.ndarray, alpha: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture with its person recoloured, uint8 RGB [H, W, 3]."""
    if rng.random() < UNTOUCHED:
        return image
    return blending.over(recoloured(image, rng), alpha, image)


def error(picture: np.ndarray, truth: np.ndarray, alpha: np.ndarray) -> float:
    """Mean |difference| of the person's colours, 0..255."""
    difference = np.abs(picture.astype(np.float32) - truth).mean(2)
    return float((difference * alpha).sum() / max(1.0, alpha.sum()))


def load(pairs: list[Pair], size: int) -> tuple[np.ndarray, np.ndarray]:
    """All photos and alphas uint8 at size x size, those with enough person in them and enough around it."""
    dataset.check_sizes(pairs)
    images, alphas = [], []
    for pair in cli.progress(pairs, "photos"):
        alpha = resize(read_mask(pair.mask), size, size)
        if LEAST < alpha.mean() < MOST:
            images.append(resize(read_image(pair.image, at_least=size), size, size))
            alphas.append((alpha * 255).astype(np.uint8))
    if not images:
        raise ValueError(NOBODY)
    return np.stack(images), np.stack(alphas)


def train(args) -> int:
    """Train for --minutes and write the network with its score."""
    from utils import backend, exporting

    backend.choose()
    import keras

    from models import harmoniser

    keras.utils.set_random_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    pairs, validation = dataset.open_dataset(args.dataset, 0.1, True, args.seed)
    for folder in args.extra:
        pairs += dataset.find_pairs(folder, True)
    images, alphas = load(pairs, harmoniser.SIZE + 16)
    network = harmoniser.build()
    model = harmoniser.trainer(network)
    # The schedule runs by the clock: the rate follows the share of the minutes that has passed.
    model.compile(optimizer=keras.optimizers.AdamW(args.rate, weight_decay=0.01), loss=loss)
    began, losses = time.perf_counter(), []
    bar = cli.progress(range(10**9), "steps")
    for _ in bar:
        share = (time.perf_counter() - began) / (60 * args.minutes)
        if share >= 1:
            break
        model.optimizer.learning_rate = (
            args.rate * min(1.0, 20 * share + 0.02) * 0.5 * (1 + np.cos(np.pi * share))
        )
        losses.append(float(model.train_on_batch(*batch(images, alphas, harmoniser.SIZE, rng))))
    print(
        f"{len(losses)} steps, loss {np.mean(losses[: len(losses) // 10 + 1]):.4f} -> {np.mean(losses[-(len(losses) // 5 + 1) :]):.4f}"
    )
    card = {
        "name": "harmoniser",
        "output_kind": "colour grid",
        "parameters": network.count_params(),
        "data": {
            "folders": [Path(folder).name for folder in (args.dataset, *args.extra)],
            "note": args.data_note,
        },
        "settings": {
            "minutes": args.minutes,
            "rate": args.rate,
            "batch": BATCH,
            "seed": args.seed,
            "steps": len(losses),
        },
    }
    with exporting.saved_model(network) as folder, exporting.workplace(Path(args.out)) as raw:
        exporting.convert("tflite", exporting.Job(folder, lambda: iter(())), raw)
        exporting.place(raw, Path(args.out), card)
    return report(args.out, validation)


def loss(truth, colours):
    """Mean |difference| over the person; `truth` is colours 0..1 and alpha, [N, H, W, 4]."""
    from keras import ops

    alpha = truth[..., 3:]
    return ops.sum(ops.abs(truth[..., :3] - colours) * alpha) / (3 * ops.sum(alpha) + 1.0)


def batch(images, alphas, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Composite and alpha 0..255 [32, size, size, 4], and the true colours 0..1 with alpha."""
    given, wanted = (np.empty((BATCH, size, size, 4), np.float32) for _ in range(2))
    for row, number in enumerate(rng.integers(0, len(images), BATCH)):
        top, left = rng.integers(0, images.shape[1] - size + 1, 2)
        part = slice(top, top + size), slice(left, left + size)
        step = 1 if rng.random() < 0.5 else -1
        image = np.ascontiguousarray(images[number][part][:, ::step])
        alpha = np.ascontiguousarray(alphas[number][part][:, ::step])
        if rng.random() < 0.5:  # any scene, so that skin is not always what it was
            image = recoloured(image, rng)
        weight = alpha.astype(np.float32) / 255
        given[row, ..., :3], given[row, ..., 3] = example(image, weight, rng), alpha
        wanted[row, ..., :3], wanted[row, ..., 3] = image.astype(np.float32) / 255, weight
    return given, wanted


def score(args) -> int:
    """Print the colour error of a network on recoloured photos."""
    return report(args.model, dataset.open_dataset(args.dataset, 0.1, True, 0)[1])


def report(path: str, pairs: list[Pair]) -> int:
    """The table: untouched, Lab transfer, this network."""
    dataset.check_sizes(pairs)
    network = harmonise.Harmoniser(path)
    found: dict[str, list[float]] = {"as it came": [], "Lab transfer": [], "network": []}
    for number, pair in enumerate(cli.progress(pairs, "score")):
        image, alpha = read_image(pair.image), read_mask(pair.mask)
        if not LEAST < alpha.mean() < MOST:
            continue
        rng = np.random.default_rng((7, number))
        composite = blending.over(recoloured(image, rng), alpha, image)
        background = scene(image, alpha)
        transferred = blending.over(blending.colour_transfer(composite, alpha, background), alpha, image)
        results = composite, transferred, network(composite, alpha)
        for name, picture in zip(found, results, strict=True):
            found[name].append(error(picture, image, alpha))
    if not found["network"]:
        raise ValueError(NOBODY)
    for name, errors in found.items():
        print(
            f"{name:14} mean |error| {np.mean(errors):6.2f}, median {np.median(errors):6.2f} of 255, {len(errors)} photos"
        )
    return 0


def scene(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The scene without its person, filled in, as Lab transfer's goal."""
    hole = (cv2.dilate(np.ascontiguousarray(alpha), np.ones((7, 7), np.uint8)) > 0.1).astype(np.uint8)
    mean = image[hole == 0].mean(0) if (hole == 0).any() else image.mean((0, 1))
    return np.where(hole[..., None] > 0, mean, image).astype(np.uint8)


def main() -> int:
    parser = cli.parser(__doc__)
    commands = parser.add_subparsers(required=True)
    add = commands.add_parser("train", formatter_class=cli.Help, help="train a network")
    add.set_defaults(run=train)
    add.add_argument("dataset", help="photos and masks")
    add.add_argument("--extra", action="append", default=[], metavar="DIR", help="more of them")
    add.add_argument("--minutes", type=cli.above_zero, default=10.0, help="how long to train")
    add.add_argument("--rate", type=cli.above_zero, default=2e-3, help="peak learning rate")
    add.add_argument("--seed", type=int, default=0, help="of everything random")
    add.add_argument("--out", default=str(harmonise.SHIPPED), metavar="FILE", help="the .tflite to write")
    add.add_argument("--data-note", default="", help="goes into the model card")
    add = commands.add_parser("score", formatter_class=cli.Help, help="score a network")
    add.set_defaults(run=score)
    add.add_argument("model", help="the .tflite or .onnx")
    add.add_argument("dataset", help="photos and masks")
    args = parser.parse_args()
    return args.run(args)


if __name__ == "__main__":
    cli.run(main)
