"""What every script's command line shares: one-line errors, exit codes, sizes, progress."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable
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
    sys.exit(code)


def one_line(error: BaseException) -> str:
    """An exception as one line that says what to do."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    if isinstance(error, ModuleNotFoundError):
        return f"{error.name} is not installed: pip install -r requirements.txt"
    return " ".join(str(error).split()) or type(error).__name__


def size(text: str) -> tuple[int, int]:
    """argparse type: "256x192" or "256" -> (height, width)."""
    try:
        parts = [int(part) for part in text.lower().split("x")]
    except ValueError:
        parts = []
    if len(parts) not in (1, 2) or min(parts) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size: write HxW, for instance 256x192")
    return (parts[0], parts[-1])


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
