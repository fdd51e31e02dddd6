"""Freezing, gradient accumulation and hard photos, on a network of three layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests import portraits
from utils.dataset import find_pairs

keras = pytest.importorskip("keras")
import models  # noqa: E402
from utils.feed import Batches, Mix  # noqa: E402
from utils.hard import Hardness  # noqa: E402
from utils.schedules import Timetable  # noqa: E402
from utils.training import Recipe, Trainer  # noqa: E402

SIZE = (32, 32)
ENCODER = ("enc", "enc_bn")


def tiny(norm: bool = True, drop: float = 0.0) -> keras.Model:
    keras.utils.set_random_seed(2)
    inputs = keras.Input((*SIZE, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(inputs)
    x = keras.layers.Conv2D(4, 3, padding="same", name="enc")(x)
    x = keras.layers.BatchNormalization(name="enc_bn")(x) if norm else x
    x = keras.layers.Dropout(drop)(x) if drop else x
    x = keras.layers.Conv2D(1, 3, padding="same", name="logits")(keras.layers.ReLU()(x))
    return keras.Model(inputs, keras.layers.Activation("sigmoid")(x))


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> Batches:
    folder = portraits.write_dataset(tmp_path_factory.mktemp("trainer"), height=32, width=32)
    return Batches(find_pairs(folder / "train"), SIZE, 4)


def epoch(trainer: Trainer, batches: Batches) -> None:
    trainer.history.append({**trainer.train_epoch(batches, 1), "score": 0.5})


def changed(network: keras.Model, before: dict[str, list[np.ndarray]]) -> set[str]:
    """Layers of which any weight or statistic is another than it was."""
    pairs = ((name, zip(old, network.get_layer(name).get_weights())) for name, old in before.items())
    return {name for name, both in pairs if any(not np.array_equal(a, b) for a, b in both)}


def snapshot(network: keras.Model) -> dict[str, list[np.ndarray]]:
    return {layer.name: layer.get_weights() for layer in network.layers if layer.weights}


def start(freeze: float = 1) -> Trainer:
    return Trainer(tiny(), Timetable(0.05, 3, freeze=freeze), Recipe(encoder=ENCODER, ema=0.5))


class Killed(Exception):
    pass


def test_an_epoch_goes_on_where_it_was_broken_off(batches: Batches) -> None:
    """With dropout, hard photos, thawing and accumulation under way: all numbers are those of a run that was not broken."""
    feed = Batches(batches.pairs, SIZE, 4, hard=0.5)

    def begin() -> Trainer:
        recipe = Recipe(encoder=ENCODER, ema=0.5, accumulate=2)
        return Trainer(tiny(drop=0.3), Timetable(0.05, 3, freeze=1.4), recipe)

    def turned(trainer: Trainer) -> None:
        """Other photos are the hardest from now on; an epoch draws from those of its beginning."""
        if trainer.epoch == 1 and len(trainer.losses) == 2:
            trainer.hardness.losses[:] = -trainer.hardness.losses

    whole = begin()
    for _ in range(2):
        whole.history.append({**whole.train_epoch(feed, 1, turned), "score": 0.5})
    broken = begin()
    epoch(broken, feed)
    states = []

    def keep(trainer: Trainer) -> None:
        turned(trainer)
        states.append((trainer.network.get_weights(), trainer.state()))
        if len(trainer.losses) == 2:
            raise Killed

    with pytest.raises(Killed):
        broken.train_epoch(feed, 1, keep)
    resumed = begin()
    resumed.network.set_weights(states[-1][0])
    resumed.restore(states[-1][1])
    assert (resumed.epoch, len(resumed.losses)) == (1, 2)
    epoch(resumed, feed)
    assert resumed.history[1]["loss"] == pytest.approx(whole.history[1]["loss"], rel=1e-5)
    for one, other in zip(resumed.network.get_weights(), whole.network.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(resumed.hardness.losses, whole.hardness.losses, rtol=1e-5)
    for one, other in zip(resumed.ema.arrays(), whole.ema.arrays(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_the_average_of_three_steps_has_learnt(batches: Batches) -> None:
    """Some trainings have no more: what is kept must not be the network they began with."""
    trainer = Trainer(tiny(), Timetable(0.05, 1), Recipe())
    before = trainer.network.get_weights()
    epoch(trainer, Batches(batches.pairs[:12], SIZE, 4))
    assert trainer.ema.steps == 3
    kernel, own = trainer.ema.arrays()[0], trainer.network.get_weights()[0]
    assert np.abs(kernel - own).max() < 0.7 * np.abs(before[0] - own).max()


@pytest.mark.parametrize("count", [8, 12])
def test_a_run_goes_on_with_other_photos(batches: Batches, count: int, capsys) -> None:
    """They are fewer or more than when its state was kept: the epoch begins anew, nothing breaks."""
    old, new = (Batches(batches.pairs[:some], SIZE, 4, hard=0.5) for some in (20 - count, count))
    first, second = (Trainer(tiny(), Timetable(0.05, 3), Recipe(ema=0.5)) for _ in range(2))
    states = []
    first.history.append({**first.train_epoch(old, 1, lambda t: states.append(t.state())), "score": 0.5})
    second.restore(states[0])
    epoch(second, new)
    assert f"{count} photos instead of {20 - count}" in capsys.readouterr().out
    assert len(second.hardness.losses) == count


def test_a_state_kept_in_the_last_moment_is_still_measured(batches: Batches) -> None:
    """Minutes used up within an epoch, and killed before it was measured: the epoch has yet to be ended."""
    trainer = Trainer(tiny(), Timetable(0.05, None, 0.01), Recipe(ema=0.5))
    trainer.losses, trainer.seconds = [0.5], 60.0
    assert not trainer.finished
    epoch(trainer, batches)
    assert trainer.finished
    assert trainer.history[0]["loss"] == 0.5


def test_other_photos_and_no_time_left(batches: Batches) -> None:
    """What was learnt from those before is measured; its loss is theirs, not that of no batch."""
    trainer = Trainer(tiny(), Timetable(0.05, None, 0.01), Recipe(ema=0.5))
    trainer.losses, trainer.seconds, trainer._photos = [0.5, 0.3], 60.0, len(batches.pairs) + 1
    epoch(trainer, batches)
    assert trainer.finished
    assert trainer.history[0]["loss"] == pytest.approx(0.4)
    assert trainer.history[0]["images_per_second"] == 0


def test_frozen_encoder_stays_then_learns(batches: Batches) -> None:
    """Statistics of batch norms included."""
    trainer = start()
    before = snapshot(trainer.network)
    epoch(trainer, batches)
    assert changed(trainer.network, before) == {"logits"}
    before = snapshot(trainer.network)
    epoch(trainer, batches)
    assert changed(trainer.network, before) == {"enc", "enc_bn", "logits"}


@pytest.mark.parametrize("epochs", [1, 2])
def test_resumed_before_and_after_thawing(batches: Batches, epochs: int) -> None:
    first, second = start(1.5 if epochs == 1 else 1), start(1.5 if epochs == 1 else 1)
    for _ in range(epochs):
        epoch(first, batches)
    second.network.set_weights(first.network.get_weights())
    second.restore(first.state())
    assert second.timetable == first.timetable
    assert second.network.get_layer("enc").trainable == (epochs == 2)
    for trainer in (first, second):
        epoch(trainer, batches)
    for a, b in zip(first.network.get_weights(), second.network.get_weights(), strict=True):
        assert np.allclose(a, b, atol=1e-6)


def test_accumulated_batches_equal_a_large_one(batches: Batches) -> None:
    """On a network without batch norm, to rounding: two steps of 8 photos, as 4 + 4 or as one."""
    parts = [batches[i] for i in range(3)] + [batches[0]]
    whole = [np.concatenate(both) for both in zip(parts[0], parts[1])]
    rest = [np.concatenate(both) for both in zip(parts[2], parts[3])]
    small = Trainer(tiny(norm=False), Timetable(0.01, 1), Recipe(accumulate=2, precision="float32"))
    large = Trainer(tiny(norm=False), Timetable(0.01, 1), Recipe(precision="float32"))
    untouched = small.network.get_weights()
    small.graph.train_on_batch(*parts[0][:2], sample_weight=parts[0][2])
    assert all(np.array_equal(a, b) for a, b in zip(untouched, small.network.get_weights(), strict=True))
    for part in parts[1:]:
        small.graph.train_on_batch(*part[:2], sample_weight=part[2])
    for batch in (whole, rest):
        large.graph.train_on_batch(*batch[:2], sample_weight=batch[2])
    for a, b, c in zip(small.network.get_weights(), large.network.get_weights(), untouched, strict=True):
        assert np.allclose(a, b, atol=1e-5)
        assert np.abs(a - c).max() > 1e-3


def test_average_follows_steps_not_batches(batches: Batches) -> None:
    trainer = Trainer(tiny(), Timetable(0.01, 5), Recipe(accumulate=2))
    epoch(trainer, batches)  # three batches: one step, and one batch over
    assert (trainer.ema.steps, trainer.accumulated) == (1, 1)
    epoch(trainer, batches)
    assert (trainer.ema.steps, trainer.accumulated) == (3, 0)


def test_hardness_is_each_photos_own_loss(batches: Batches) -> None:
    hard = Batches(batches.pairs, SIZE, 4, hard=0.5)
    trainer = Trainer(tiny(norm=False), Timetable(1e-9, 3), Recipe(ema=0.5))
    epoch(trainer, hard)
    assert not np.isnan(trainer.hardness.losses).any()
    for index in range(len(hard)):
        hard.start_epoch(0)
        pixels, alpha, _ = hard[index]
        logits = models.logits(trainer.network).predict_on_batch(pixels)
        both = map(keras.ops.convert_to_tensor, (alpha, logits))
        losses = keras.ops.convert_to_numpy(trainer.loss.call(*both))
        assert np.allclose(
            trainer.hardness.losses[hard.chosen(index)], losses, rtol=0.02
        )  # in bfloat16 on PyTorch
    again = Trainer(tiny(norm=False), Timetable(1e-9, 3), Recipe(ema=0.5))
    again.restore(trainer.state())
    assert np.array_equal(again.hardness.losses, trainer.hardness.losses)
    epoch(again, hard)
    assert len(again.hardness.hardest()) == 3


def test_hardest_quarter_by_running_loss() -> None:
    hardness = Hardness(9)
    assert len(hardness.hardest()) == 0
    hardness.update(np.arange(8), np.arange(8.0))
    assert hardness.hardest().tolist() == [7, 6]  # of eight seen
    hardness.update(np.array([7, 7]), np.array([0.0, 0.0]))
    assert hardness.losses[7] == pytest.approx(7 * 0.49)
    assert hardness.hardest().tolist() == [6, 5]


def test_share_of_each_batch_comes_from_the_hardest(batches: Batches) -> None:
    pairs = batches.pairs * 4
    hard = Batches(pairs, SIZE, 8, hard=0.25, seed=3)
    hardest = np.array([40, 41, 42])
    hard.start_epoch(1, hardest)
    rows = np.array([hard.chosen(index) for index in range(len(hard))])
    assert np.isin(rows[:, -2:], hardest).all()
    assert all(len(set(row[-2:])) == 2 for row in rows)
    plain = Batches(pairs, SIZE, 8, seed=3)
    plain.start_epoch(1)
    assert all(np.array_equal(rows[i, :-2], plain.chosen(i)[:-2]) for i in range(len(plain)))
    assert np.array_equal(hard[0][0][:6], plain[0][0][:6])
    hard.start_epoch(1, hardest)
    assert np.array_equal(rows[2], hard.chosen(2))


def test_only_pictures_that_show_their_photo_count(batches: Batches, tmp_path: Path) -> None:
    """A background without people, or a cut-out, says nothing about the photo in whose place it came."""
    walls = sorted(portraits.write_backgrounds(tmp_path).iterdir())
    mix = Mix(True, walls, batches.pairs[:1], composite=0.0, empty_share=0.5, cutout_share=0.2)
    mixed = Batches(batches.pairs, SIZE, 12, mix=mix)
    shows = mixed.shows_photo(0)
    empty = mixed[0][1].max((1, 2, 3)) == 0
    assert empty.any()
    assert shows.any()
    assert not shows[empty].any()
    assert batches.shows_photo(0).all()


def test_parts_of_a_batch_are_the_batch(batches: Batches) -> None:
    halves = [Batches(batches.pairs, SIZE, 4, mix=Mix(), seed=1, part=(i, 2))[1] for i in range(2)]
    whole = Batches(batches.pairs, SIZE, 4, mix=Mix(), seed=1)[1]
    for values, *parts in zip(whole, *halves):
        assert np.array_equal(values, np.concatenate(parts))
    with pytest.raises(ValueError, match="cannot be parted"):
        Batches(batches.pairs, SIZE, 4, part=(0, 3))


@pytest.mark.parametrize("name", models.names())
def test_an_encoder_needs_nothing_beyond_itself(name: str) -> None:
    """All that its deepest layer is computed from belongs to it, and the head does not."""
    network = models.create(name, (64, 64))
    encoder = models.encoder_layers(network, name)
    deepest = keras.Model(network.inputs[0], network.get_layer(encoder[-1]).output)
    assert {layer.name for layer in deepest.layers if layer.weights} <= set(encoder)
    rest = {layer.name for layer in network.layers if layer.weights} - set(encoder)
    assert any(name.startswith(("logits", "classes")) for name in rest)
    assert len(rest) < len(encoder) or name == "prisma_net"


def test_no_encoder_no_freezing(monkeypatch: pytest.MonkeyPatch) -> None:
    from models import prisma_net

    monkeypatch.delattr(prisma_net, "ENCODER")
    with pytest.raises(ValueError, match="leave out --freeze"):
        models.encoder_layers(models.create("prisma_net", (32, 32)), "prisma_net")
