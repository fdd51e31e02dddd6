"""PP-HumanSegV2-Lite: MobileNetV3-large with a light pyramid decoder that adds from deep to shallow.

Parameters are counted with batch-norm statistics: 3,030,358 as "human" (192x192), 937,006 as "portrait" (144x256
or 224x398, height x width), which leaves out the three deepest blocks; any even size. Source: PaddleSeg's MobileSeg,
by which PP-HumanSegV2 is built; Peng et al., "PP-LiteSeg: A Superior Real-Time Semantic Segmentation Model", 2022.
"""

from __future__ import annotations

import keras
from keras import KerasTensor, layers

from models import blocks, mobilenetv3_large
from models.pp_humanseg import context, finish, pixels, separable

ENCODER = mobilenetv3_large.ENCODER

# Channels that each step up hands on, from deep to shallow (the shallowest at stride 4)
FORMS = {"human": (128, 96, 64, 32), "portrait": (128, 64, 32)}


def build(
    size: tuple[int, int], channels: int = 3, form: str = "human", training_heads: bool = False
) -> keras.Model:
    """Pixels [N, H, W, channels] -> alpha [N, H, W, 1].

    form: "human" or "portrait". training_heads: returns a list, the alpha and that of a head on each deeper step, to
    train all of them on the same target; leave them out to deploy. Raises ValueError on another form.
    """
    if form not in FORMS:
        raise ValueError(f"form {form!r} is unknown: choose {' or '.join(FORMS)}")
    widths = FORMS[form]
    inputs, x = pixels(size, channels)
    features = mobilenetv3_large.encoder(x, 32 if len(widths) == 4 else 16)
    x = separable(context(features[-1], 128, "context"), 128, "context_out", bias=True)
    steps = []
    for index, (skip, width) in enumerate(zip(features[::-1], widths, strict=True)):
        x = step(x, skip, width, f"step_{index}")
        steps.append(x)
    classes = head(fuse(steps), 16, "classes")
    heads = [head(y, 32, f"head_{i}") for i, y in enumerate(steps[-2::-1])] if training_heads else []
    return finish(inputs, classes, heads, "pp_humanseg_v2_lite")


def step(x: KerasTensor, skip: KerasTensor, filters: int, name: str) -> KerasTensor:
    """`x` enlarged to `skip` and added to it."""
    low = separable(skip, x.shape[-1], f"{name}_skip", bias=True)
    x = blocks.resize(x, *skip.shape[1:3], f"{name}_up")
    return separable(layers.Add(name=f"{name}_add")([low, x]), filters, f"{name}_out", bias=True)


def fuse(steps: list[KerasTensor]) -> KerasTensor:
    """All steps at the size of the last, shallow first, made 32 channels."""
    *deep, last = steps
    parts = [last]
    for index, x in reversed(list(enumerate(deep))):
        x = separable(x, last.shape[-1], f"fuse_{index}", bias=True)
        parts.append(blocks.resize(x, *last.shape[1:3], f"fuse_{index}_up"))
    return separable(layers.Concatenate(name="fuse_cat")(parts), 32, "fuse_out", bias=True)


def head(x: KerasTensor, filters: int, name: str) -> KerasTensor:
    """Logits of background and person."""
    x = separable(x, filters, f"{name}_features", bias=True)
    return layers.Conv2D(2, 1, use_bias=False, name=name)(x)
