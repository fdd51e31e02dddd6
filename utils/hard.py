"""Which photos a network finds hard, so that they can be shown more often.

Source of the idea: Shrivastava et al., "Training Region-based Object Detectors with Online Hard Example
Mining", CVPR 2016; here by photo and over epochs, with a running loss instead of a second look.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

KEEP = 0.7  # of a photo's running loss when it is seen again
HARDEST = 4  # one in so many


class Hardness:
    """The running loss of each of `count` photos; NaN for those not seen yet."""

    def __init__(self, count: int) -> None:
        self.losses = np.full(count, np.nan, np.float32)

    def update(self, numbers: np.ndarray, losses: np.ndarray) -> None:
        """Take in the losses of the photos with these numbers, each as often as it was seen."""
        for number, loss in zip(numbers, losses, strict=True):
            old = self.losses[number]
            self.losses[number] = loss if np.isnan(old) else KEEP * old + (1 - KEEP) * loss

    def hardest(self) -> np.ndarray:
        """Numbers of the hardest quarter of the photos seen so far, hardest first; empty before any was."""
        known = np.flatnonzero(~np.isnan(self.losses))
        order = known[np.argsort(-self.losses[known], kind="stable")]
        return order[: -(-len(known) // HARDEST)]


class PhotoLosses(keras.metrics.Metric):
    """The loss of each picture of the last batch [N], on every backend without a second forward pass.

    `loss` is a Keras loss whose `call` gives one value a picture.
    """

    def __init__(self, loss: keras.losses.Loss, batch: int) -> None:
        super().__init__(name="photo_losses")
        self.loss = loss
        self.values = self.add_variable((batch,), keras.initializers.Zeros(), name="values")

    def update_state(self, y_true: object, y_pred: object, sample_weight: object = None) -> None:
        """Keep the losses of this batch; weights of pictures do not make them hard."""
        losses = self.loss.call(ops.cast(y_true, "float32"), ops.cast(y_pred, "float32"))
        self.values.assign(ops.stop_gradient(losses))

    def result(self) -> object:
        """The losses [N]."""
        return ops.convert_to_tensor(self.values)
