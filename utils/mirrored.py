"""Data-parallel training on TensorFlow: the part of utils/distribution.py that `tf.distribute` does.

    step = MirroredStep(strategy, graph, loss, optimizer)
    loss = step(pixels, alpha, weights)

`model.fit` and `train_on_batch` of Keras 3 clip each replica's gradients before they are added up, which is another
training than that of one device with the whole batch. Here they are added up first.
"""

from __future__ import annotations

import json
import os
from typing import Any

import keras
import numpy as np
import tensorflow as tf

WRONG = "--distribute: TF_CONFIG names no cluster of workers alone with this one among them: see utils/distribution.py"


def strategy() -> tf.distribute.Strategy:
    """All hosts of TF_CONFIG, else all GPUs of this one (without any: its logical processors). Raises ValueError."""
    if "TF_CONFIG" in os.environ:
        try:
            config = json.loads(os.environ["TF_CONFIG"])
            only, task = set(config["cluster"]) == {"worker"}, config["task"]
            listed = config["cluster"]["worker"][int(task["index"])]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise ValueError(WRONG) from error
        if (
            not only
            or task["type"] != "worker"
            or not isinstance(config["cluster"]["worker"], list)
            or not listed
        ):
            raise ValueError(WRONG)
        return tf.distribute.MultiWorkerMirroredStrategy()
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in found])


class MirroredStep:
    """A step of training on every replica's part of the batch, as one device would take it with all of it.

    Batch norms look at the whole common batch. Network, optimizer and step must be made in the strategy's scope.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        graph: keras.Model,
        loss: keras.losses.Loss,
        optimizer: keras.optimizers.Optimizer,
    ) -> None:
        self.strategy, self.graph, self.loss, self.optimizer = strategy, graph, loss, optimizer
        for layer in graph.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
        optimizer._all_reduce_sum_gradients = list  # they are added up before they are clipped
        self._run = tf.function(self._everywhere)

    def __call__(self, *batch: np.ndarray) -> float:
        """Learn from this process's part of a batch: pixels, alpha, weights. Returns the common loss."""
        own = self.strategy.extended.worker_devices
        count = len(batch[0]) // len(own)

        def part(array: np.ndarray):
            def of(context: Any) -> tf.Tensor:
                at = context.replica_id_in_sync_group % len(own) * count
                return tf.constant(array[at : at + count])

            return self.strategy.experimental_distribute_values_from_function(of)

        return float(self._run(*map(part, batch)))

    def _everywhere(self, *batch):
        losses = self.strategy.run(self._replica, args=batch)
        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    def _replica(self, pixels, alpha, weights):
        with tf.GradientTape() as tape:
            loss = self.loss(alpha, self.graph(pixels, training=True), weights)  # divided by the replicas
        variables = self.graph.trainable_weights
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        gradients = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        self.optimizer.apply(gradients, variables)
        return loss
