"""Many files through a few workers, each of which opens what it needs once: threads here, or Ray Data on a cluster.

    for result in bulk.run(paths, make_worker, workers=2):            # threads of this process
    for result in bulk.run(paths, make_worker, ray_address="auto"):   # actors of a Ray cluster

`make_worker()` returns a function from an item to a result. A worker writes its files whole (utils/files.py) to a
folder that all machines see, and its last file says that the item is done. On a cluster a worker may die at any
time: its items are then given to another, which must pass by what is done already. All run in the folder that the
command was started in, so that relative paths mean the same.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import pickle
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Any

from utils.backend import quiet

BLOCK = 16  # items, at most, that are done again or passed by when a worker of a cluster dies
SHARES = 4  # blocks a worker, at least, while there are enough items
AHEAD = 3  # items a worker that wait in memory
MISSING = "ray is not installed: pip install 'ray[data]', or leave --ray out"

Work = Callable[[Any], Any]


def run(
    items: list[Any],
    make_worker: Callable[[], Work],
    workers: int | None = 1,
    ray_address: str | None = None,
) -> Iterator[Any]:
    """The results of all items, in the order they are ready; the first error of a worker is raised.

    ray_address: "local" starts a cluster on this machine, "auto" or host:port joins one, None uses threads. On a cluster
    items, results and `make_worker` must be picklable. `workers`: the most that are used, None for one a processor.
    Raises ValueError without ray, before anything is begun, and without a cluster there.
    """
    if ray_address is None:
        return _threads(iter(items), make_worker, workers or os.cpu_count() or 1)
    if importlib.util.find_spec("ray") is None:
        raise ValueError(MISSING)
    return _ray(items, make_worker, workers, ray_address)


def _threads(items: Iterable[Any], make_worker: Callable[[], Work], workers: int) -> Iterator[Any]:
    own, opening = threading.local(), threading.Lock()

    def work(item: Any) -> Any:
        if not hasattr(own, "work"):
            with opening:  # runtimes are silenced while they open, which is a matter of the whole process
                own.work = make_worker()
        return own.work(item)

    with ThreadPoolExecutor(workers) as pool:
        waiting = set()
        try:
            for item in items:
                waiting.add(pool.submit(work, item))
                if len(waiting) >= AHEAD * workers:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield from (task.result() for task in done)
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (task.result() for task in done)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class _Actor:
    """A worker of the cluster: one a process, for as long as that lives.

    Bad input is a result like others: what is raised Ray would wrap, and tell at length.
    """

    def __init__(self, make_worker: Callable[[], Work], folder: str) -> None:
        self._make, self._folder = make_worker, folder
        self._work: Work | None = None

    def __call__(self, row: dict[str, bytes]) -> dict[str, bytes]:
        try:
            if self._work is None:
                os.chdir(self._folder)
                self._work = self._make()
            found = self._work(pickle.loads(row["item"])), None
        except (OSError, ValueError) as error:
            found = None, error
        return {"result": pickle.dumps(found)}


def _ray(
    items: list[Any], make_worker: Callable[[], Work], workers: int | None, address: str
) -> Iterator[Any]:
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise ValueError(MISSING) from error
    started = not ray.is_initialized()
    if started:
        _join(ray, address, workers)
    try:
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        ray.data.DataContext.get_current().enable_progress_bars = False
        workers = workers or max(1, int(ray.cluster_resources().get("CPU", 2)) - 1)
        blocks = max(1, -(-len(items) // BLOCK), min(len(items), SHARES * workers))
        pickled = [{"item": pickle.dumps(item)} for item in items]  # Arrow would make lists of tuples
        rows = ray.data.from_items(pickled, override_num_blocks=blocks)
        # Ray Data starts a worker that dies anew, and gives its block to one that lives, as often as it takes.
        found = rows.map(
            _Actor,
            fn_constructor_args=(make_worker, os.getcwd()),
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers),
            num_cpus=1,
        )
        for row in found.iter_rows():
            result, error = pickle.loads(row["result"])
            if error:
                raise error
            yield result
    finally:
        if started:
            ray.shutdown()


def _join(ray: Any, address: str, workers: int | None) -> None:
    """Start a cluster of this machine ("local") or join the one there."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it reports to its makers unless told not to
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # a worker that dies is no news for a terminal
    settings: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": "ERROR"}
    if address == "local":
        settings |= {"num_cpus": (workers or os.cpu_count() or 1) + 1, "include_dashboard": False}
    try:
        with quiet():
            ray.init(**settings)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ValueError(f"no Ray cluster at {address}: start one with `ray start --head`") from error
