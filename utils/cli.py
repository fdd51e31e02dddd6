"""What every script's command line shares: one-line errors, exit codes, sizes, progress."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any


class Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows every default, and the pasteable command as it stands in the script."""


def parser(doc: str | None) -> argparse.ArgumentParser:
    """An argument parser that shows the script's docstring, whose first line is a command."""
    return argparse.ArgumentParser(description=doc, formatter_class=Help)


def run(main: Callable[[], int | None]) -> None:
    """Run a script's `main` and exit: 0 done, 2 bad usage or input (one line), 130 after Ctrl-C.

    Bad input reaches this place as ValueError or OSError; any other exception is a defect of ours
    and keeps its traceback.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("ABSL_MIN_LOG_LEVEL", "3")
    try:
        code = main() or 0
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        code = 130
    except (ValueError, OSError, MemoryError, ModuleNotFoundError) as error:
        if os.environ.get("PORTRAIT_DEBUG"):
            raise
        print(f"error: {one_line(error)}", file=sys.stderr)
        code = 2
    sys.stdout.flush()
    sys.stderr.flush()
    if any(thread.is_alive() for thread in _abandoned):
        os._exit(code)
    sys.exit(code)


_abandoned: list[threading.Thread] = []


def abandon(thread: threading.Thread) -> None:
    """Of a daemon thread that hangs in a driver or in FFmpeg: the interpreter would crash if it came back while ending."""
    if thread.is_alive():
        _abandoned.append(thread)


def one_line(error: BaseException) -> str:
    """An exception as one line that says what to do."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    if isinstance(error, ModuleNotFoundError):
        return f"{error.name} is not installed: pip install -r requirements.txt"
    return " ".join(str(error).split()) or type(error).__name__


def pasteable(*words: object) -> str:
    """A command of ours that a shell takes as it is, whatever is in its paths."""
    join = subprocess.list2cmdline if os.name == "nt" else shlex.join
    return join(["python", *map(str, words)])


def next_command(*words: object) -> str:
    """The last line of a script: what to run after it."""
    return f"next: {pasteable(*words)}"


def size(text: str) -> tuple[int, int]:
    """argparse type: "256x192" or "256" -> (height, width)."""
    try:
        parts = [int(part) for part in text.lower().split("x")]
    except ValueError:
        parts = []
    if len(parts) not in (1, 2) or min(parts) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size: write HxW, for instance 256x192")
    return (parts[0], parts[-1])


def frame(text: str) -> tuple[int, int]:
    """argparse type: a camera's "1280x720", width first -> (height, width)."""
    try:
        return size(text)[::-1]
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a frame's size: write WxH, for instance 1280x720"
        ) from None


def several(kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """argparse type: values of `kind` with commas between, each once."""
    return lambda text: list(dict.fromkeys(kind(part.strip()) for part in text.split(",")))


def file(*endings: str) -> Callable[[str], str]:
    """argparse type: the name of a file to write, so that a file to read is never taken for it."""

    def check(text: str) -> str:
        if not text.endswith(endings):
            raise argparse.ArgumentTypeError(f"{text!r} does not end in {' or '.join(endings)}")
        return text

    return check


def add_runtime(parser: argparse.ArgumentParser, threads: int | None = None) -> None:
    """--threads, --device, --runtime and --strict, the same in every script that opens a network."""
    from utils.fastest import CHOICES

    add = parser.add_argument_group("runtime").add_argument
    add(
        "--threads",
        type=globals()["threads"],
        default=threads or os.cpu_count(),
        help="threads of the network",
    )
    add(
        "--device",
        default="auto",
        choices=("auto", "cpu", "gpu", "npu", "tensorrt"),
        help="what it runs on; a line says what it really is",
    )
    add(
        "--runtime",
        default="file",
        choices=CHOICES,
        help="another file of the same weights beside the model; auto: the fastest here, by a short trial",
    )
    add("--strict", action="store_true", help="exit code 2 where the device asked for is not used")


def add_ray(parser: argparse.ArgumentParser) -> None:
    """--ray, the same for every command that shares its work by utils/bulk.py."""
    parser.add_argument(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="share the work on a Ray cluster (pip install 'ray[data]'), whose machines see all files under the same "
        "paths; without an address: a cluster on this machine",
    )


def add_layout(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """The settings that say how a dataset is read (utils/layouts): --layout, --category, --skip-unpaired."""
    parser.add_argument(
        "--layout",
        metavar="NAME",
        help="how the dataset lies on disk, where its folder looks like several: "
        "folders, lists, cutouts, supervisely, coco, voc, npy or videos",
    )
    parser.add_argument(
        "--category",
        default="person",
        help="the class to learn where there are several (coco, voc, supervisely)",
    )
    parser.add_argument("--skip-unpaired", action="store_true", help="leave out files without a partner")


def positive(text: str) -> int:
    """argparse type: a whole number above zero."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero")
    return int(text)


def threads(text: str) -> int:
    """argparse type: a thread count that no runtime chokes on."""
    return min(positive(text), 4 * (os.cpu_count() or 1))


def above_zero(text: str) -> float:
    """argparse type: a number above zero."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above zero")
    return value


def share(text: str) -> float:
    """argparse type: a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def from_zero(text: str) -> float:
    """argparse type: a number, 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number, 0 or more")
    return value


def count(text: str) -> int:
    """argparse type: a whole number, zero or more."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, zero or more")
    return int(text)


def progress(items: Iterable[Any], label: str, total: int | None = None, unit: str = "photo") -> Any:
    """A progress bar on standard error; silent when there is no terminal."""
    from tqdm import tqdm

    return tqdm(items, desc=label, total=total, unit=unit, disable=None, dynamic_ncols=True)


def parallel(work: Callable[[Any], Any], items: Iterable[Any], label: str, unit: str = "photo") -> list[Any]:
    """`work(item)` for each on all cores, with a progress bar; results in order. The first error stops the rest.

    Threads: for work that OpenCV, Pillow and NumPy do, which run side by side.
    """
    from concurrent.futures import ThreadPoolExecutor

    import cv2

    items = list(items)
    cv2.setNumThreads(1)  # the threads here are the parallelism
    pool = ThreadPoolExecutor(min(os.cpu_count() or 1, 32))
    try:
        return list(progress(pool.map(work, items), label, len(items), unit))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def unbroken() -> Iterator[None]:
    """Ctrl-C and a call to end are heard after this, not within it, where they would leave a lock taken for good.

    A Condition's `with` is Python code: the interrupt may come when its lock is held and nobody is yet to release it.
    """
    if threading.current_thread() is not threading.main_thread():  # no other thread is ever interrupted
        yield
        return
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    kept = {number: signal.signal(number, lambda number, _: came.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
        for number in came[:1]:
            signal.raise_signal(number)
