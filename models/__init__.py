"""Registry of the networks: create one by name, save it with its card, load it without running code.

    import models
    network = models.create("slim_net", input_size=(512, 512))
    models.save(network, "slim.keras", {"architecture": models.describe("slim_net", (512, 512))})
    network = models.load("slim.keras")

Every network takes RGB pixels 0..255 as float32 [N, H, W, 3] (with ``channels=4`` the fourth is the
previous alpha, also 0..255, zeros when there is none) and returns alpha 0..1 as [N, H, W, 1].
Keras is imported by the functions that need it, so listing the names costs nothing.
"""

from __future__ import annotations

import functools
import importlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models import card as cards

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Entry:
    """One architecture: its default size, the multiple its sides must have, the channels it takes."""

    size: tuple[int, int]
    multiple: int
    channels: tuple[int, ...] = (3, 4)
    options: tuple[str, ...] = ()
    encoder: bool = False


REGISTRY: dict[str, Entry] = {
    "mobile_unet": Entry((128, 128), 32, options=("decoder", "dropout"), encoder=True),
    "mobilenetv3_unet": Entry((224, 224), 32, options=("width", "dropout"), encoder=True),
    "prisma_net": Entry((256, 256), 16),
    "portrait_net": Entry((224, 224), 32, options=("edge_head",), encoder=True),
    "slim_net": Entry((512, 512), 32),
    "sinet": Entry((320, 320), 32),
    "deeplab": Entry((513, 513), 8, options=("output_stride",), encoder=True),
    "mobilenetv3_qat": Entry((256, 256), 32, encoder=True),
    "mobilenetv2_fpn": Entry((192, 192), 32, options=("alpha", "decoder"), encoder=True),
    "efficientnet_lite_fpn": Entry((320, 320), 32, options=("scale", "decoder"), encoder=True),
    "pp_humanseg_v1_lite": Entry((192, 192), 2),
    "pp_humanseg_v2_lite": Entry((192, 192), 2, options=("form", "training_heads")),
    "pp_humanseg_v1_mobile": Entry((192, 192), 32),
    "pp_humanseg_v2_mobile": Entry((192, 192), 32, options=("training_heads",)),
    "pp_humanseg_v1_server": Entry((512, 512), 8),
    "modnet": Entry((512, 512), 32, options=("prior", "branch", "training_heads"), encoder=True),
}

# Options that add outputs for training; a network is deployed without them.
TRAINING_ONLY = ("edge_head", "training_heads")


def names() -> list[str]:
    """The architectures that `create` knows, in the order of the README's table."""
    return list(REGISTRY)


def describe(
    name: str, input_size: tuple[int, int] | None = None, channels: int = 3, **options: Any
) -> dict[str, Any]:
    """What `load` needs to rebuild a network: goes into its card under "architecture".

    Raises ValueError for an unknown name, size, channel count or option, saying what would work.
    """
    entry = REGISTRY.get(name)
    if entry is None:
        raise ValueError(f"no network is called {name!r}: choose one of {', '.join(names())}")
    size = tuple(input_size or entry.size)
    _check_size(name, size, entry.multiple)
    if channels not in entry.channels:
        raise ValueError(f"{name} takes {entry.channels} channels, not {channels}")
    unknown = sorted(set(options) - set(entry.options))
    if unknown:
        known = ", ".join(entry.options) or "none"
        raise ValueError(f"{name} has no option {', '.join(unknown)}: its options are {known}")
    return {"name": name, "input_size": list(size), "channels": channels, "options": options}


def create(
    name: str,
    input_size: tuple[int, int] | None = None,
    channels: int = 3,
    weights: str | Path | None = None,
    **options: Any,
) -> keras.Model:
    """Build a network by name.

    ``input_size`` is (height, width), default the size the architecture was designed for.
    ``weights`` starts its encoder: "imagenet" (Keras downloads it), a weights file saved from the
    matching ``keras.applications`` network, for MobileNetV2 also a .keras file of ours, for EfficientNet-Lite
    its published .pth or a .keras file of ours, or None.
    Options: `REGISTRY`. Raises ValueError.
    """
    architecture = describe(name, input_size, channels, **options)
    if weights is not None and not REGISTRY[name].encoder:
        raise ValueError(f"{name} has no pretrained encoder: leave weights out")
    module = importlib.import_module(f"models.{name}")
    try:
        network = module.build(tuple(architecture["input_size"]), channels, **options)
    except TypeError as error:
        raise ValueError(f"{name} cannot be built with the options {options}") from error
    if weights is not None:
        module.load_encoder(network, weights, **options)
    return network


def save(network: keras.Model, path: str | Path, card: dict[str, Any], state: bytes | None = None) -> None:
    """Write `path` (.keras, or .h5 for the weights alone) with its card inside, whole or not at all.

    ``state`` (an .npz as bytes) travels along in a .keras file: what resuming a training needs.
    """
    path = Path(path)
    if not heads(network):  # a card copied from a file that had some
        card = {key: value for key, value in card.items() if key != "heads"}
    with cards.replacing(path) as temporary:
        if path.suffix == ".h5":
            try:
                network.save_weights(_weights_name(temporary))
                _weights_name(temporary).replace(temporary)
            finally:
                _weights_name(temporary).unlink(missing_ok=True)
            cards.attach(temporary, card)
            return
        network.save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(cards.MEMBER, cards.dumps(card))
            if state is not None:
                archive.writestr("state.npz", state)


def load(path: str | Path, **overrides: Any) -> keras.Model:
    """Open a .keras or .h5 file of this project.

    The network is rebuilt from its card and only numbers are read from the file, so code hidden in
    it (Lambda layers, pickles) is never run. ``overrides`` change the card's architecture: for
    instance ``input_size=(256, 256)`` or ``output_stride=8``. With ``channels=4`` a network of three
    is given a fourth that it does not look at yet; heads that only training has are left out, or added new, where
    ``overrides`` say so (``training_heads=False``). Raises ValueError on any other file.
    """
    path = Path(path)
    if path.suffix.lower() not in (".keras", ".h5"):
        raise ValueError(f"{path}: not a checkpoint: give a .keras or .h5 file")
    card = cards.read(path)
    architecture = card.get("architecture")
    if card.get("simulated"):
        raise ValueError(f"{path} holds a training with --qat: open best.keras, or go on with --resume")
    if not isinstance(architecture, dict) or not architecture.get("name"):
        raise ValueError(f"{path}: its card names no architecture, so it is not one of ours")
    if overrides.get("channels") == 3 and architecture.get("channels") == 4:
        raise ValueError(f"{path} looks at the alpha before, its fourth channel: it cannot be left out")
    try:
        stored = architecture.get("channels", 3)
        options = dict(architecture.get("options") or {})
        architecture = dict(architecture)
        for key, value in overrides.items():
            (architecture if key in ("input_size", "channels") else options)[key] = value
        name, channels = architecture["name"], architecture.get("channels", 3)
        size = tuple(architecture.get("input_size") or ()) or None
        # A card names the heads of a training (last.keras) apart from the architecture, which is what is deployed.
        held = {key: True for key in card.get("heads") or () if key in TRAINING_ONLY}
        stored_options = {**(architecture.get("options") or {}), **held}
        wanted = {key: bool(options.get(key)) for key in TRAINING_ONLY if key in {**options, **held}}
        own = {key: bool(stored_options.get(key)) for key in wanted}
        build = functools.partial(create, name, size, min(stored, channels))
        network = build(**{**options, **own})
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{path}: its model card is damaged") from error
    weighted(network, path)
    if own != wanted:
        network = copied(network, build(**options))
    return network if channels <= stored else _widened(network, create(name, size, channels, **options))


def weighted(network: keras.Model, path: Path) -> keras.Model:
    """`network` with the numbers of a .keras or .h5 file. Raises ValueError."""
    try:
        with cards.weights_file(path) as weights:
            network.load_weights(weights)
    except Exception as error:  # zip, zlib, HDF5 and Keras each have errors of their own
        raise ValueError(
            f"{path}: its weights do not fit {network.name}: it is damaged or from another version"
        ) from error
    return network


def encoder_layers(network: keras.Model, name: str) -> tuple[str, ...]:
    """Names of the layers with weights that make up the encoder of the architecture `name`.

    Its module says by ENCODER how their names begin: all that lies before the deepest features, without lateral
    connections. Raises ValueError for an architecture that is not divided so.
    """
    prefixes = getattr(importlib.import_module(f"models.{name}"), "ENCODER", None)
    if prefixes is None:
        raise ValueError(f"{name} has no encoder of its own that could be frozen: leave out --freeze")
    return tuple(layer.name for layer in network.layers if layer.weights and layer.name.startswith(prefixes))


def heads(network: keras.Model) -> tuple[str, ...]:
    """Names of the heads that only training has, in the order of their channels in `logits`."""
    names = sorted(layer.name for layer in network.layers if layer.name.endswith("_logits"))
    return tuple(name.removesuffix("_logits") for name in names)


def logits(network: keras.Model) -> keras.Model:
    """The same network ending in logits [N, H, W, 1], for losses; two classes become their difference.

    Those of `heads` follow as further channels.
    """
    import keras

    found = [
        network.get_layer(name).output for name in ("logits", *(f"{head}_logits" for head in heads(network)))
    ]
    found = [head[..., 1:] - head[..., :1] if head.shape[-1] == 2 else head for head in found]
    return keras.Model(
        network.inputs[0],
        keras.layers.Concatenate()(found) if len(found) > 1 else found[0],
        name=network.name,
    )


def without_heads(network: keras.Model, architecture: dict[str, Any]) -> keras.Model:
    """The network, which `architecture` describes, without the heads that only training has."""
    options = dict(architecture["options"])
    if not any(options.get(key) for key in TRAINING_ONLY):
        return network
    size, channels = tuple(architecture["input_size"]), architecture["channels"]
    return copied(network, create(architecture["name"], size, channels, **deployed(options)))


def deployed(options: dict[str, Any]) -> dict[str, Any]:
    """An architecture's options without those that only training has."""
    return {key: value for key, value in options.items() if key not in TRAINING_ONLY}


def copied(donor: keras.Model, network: keras.Model) -> keras.Model:
    """`network` with the weights that `donor` has under the same names; what it has not stays new."""
    known = {layer.name: layer for layer in donor.layers}
    for layer in network.layers:
        if layer.weights and layer.name in known:
            layer.set_weights(known[layer.name].get_weights())
    return network


def _check_size(name: str, size: tuple[int, int], multiple: int) -> None:
    """DeepLab counts grid points (8 n + 1), as its paper does, or plain multiples; others multiples."""
    wrong = [side for side in size if side < multiple or side % multiple > (name == "deeplab")]
    if len(size) != 2 or wrong:
        near = [max(multiple, side // multiple * multiple) for side in size]
        above = [value + multiple for value in near]
        raise ValueError(
            f"{name} cannot take {'x'.join(map(str, size))}: sides must be multiples of {multiple}; "
            f"the nearest that work are {'x'.join(map(str, near))} and {'x'.join(map(str, above))}"
        )


def _widened(donor: keras.Model, wide: keras.Model) -> keras.Model:
    """`wide` with the weights of `donor`; those of the input channels it has more are zero."""
    from models import blocks

    for source, target in zip(donor.layers, wide.layers, strict=True):
        pairs = zip(source.get_weights(), target.weights, strict=True)
        target.set_weights([blocks.fit(values, variable.shape) for values, variable in pairs])
    return wide


def _weights_name(path: Path) -> Path:
    """Keras insists on this ending for a file of weights."""
    return path.with_name(path.name + ".weights.h5")
