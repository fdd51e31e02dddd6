"""Many items through a few workers: each once, also when a worker of a Ray cluster is killed in the middle."""

from __future__ import annotations

import functools
import importlib.util
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from utils import bulk
from utils.files import write_text


def test_threads_open_once_each_and_do_everything() -> None:
    opened = []

    def make() -> Callable[[int], int]:
        opened.append(threading.get_ident())
        return lambda item: item * item

    assert sorted(bulk.run(list(range(50)), make, workers=3)) == [n * n for n in range(50)]
    assert len(opened) == len(set(opened)) <= 3


def test_few_items_wait_in_memory() -> None:
    started = []
    results = bulk.run(list(range(1000)), lambda: lambda item: started.append(item) or item, workers=2)
    for _ in range(10):
        next(results)
    assert len(started) <= 10 + 2 * bulk.AHEAD * 2
    results.close()
    assert len(started) < 50


def test_an_error_of_a_worker_is_raised() -> None:
    def work(item: int) -> int:
        if item == 7:
            raise OSError(28, "No space left on device", "x.png")
        return item

    with pytest.raises(OSError, match="No space"):
        list(bulk.run(list(range(20)), lambda: work, workers=2))


def test_without_ray_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(ValueError, match=r"pip install 'ray\[data\]'"):
        list(bulk.run([1], lambda: str, ray_address="local"))


class Clerk:
    """Writes one file an item, notes each in a log, and is killed once, with its third file just written."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0

    def __call__(self, item: int) -> int:
        path = self.folder / f"{item}.txt"
        if path.exists():
            return item
        with (self.folder / "log").open("a") as log:
            log.write(f"{item} {os.getpid()}\n")
        write_text(path, str(item * item))
        self.count += 1
        if self.count == 3 and not (self.folder / "killed").exists():
            (self.folder / "killed").write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return item


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray: pip install 'ray[data]'")
def test_a_killed_worker_of_a_cluster_loses_nothing_and_nothing_is_done_twice(
    tmp_path: Path,
) -> None:
    items = list(range(60))
    make = functools.partial(Clerk, tmp_path)
    assert sorted(bulk.run(items, make, workers=2, ray_address="local")) == items
    lines = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert (tmp_path / "killed").read_text() in {process for _, process in lines}
    assert Counter(int(item) for item, _ in lines) == Counter(items)
    assert all((tmp_path / f"{n}.txt").read_text() == str(n * n) for n in items)
    assert len({process for _, process in lines}) >= 2
