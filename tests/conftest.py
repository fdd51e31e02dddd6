"""What several tests need: the commands as users run them, a dataset, a small trained network."""

from __future__ import annotations

import importlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

from tests import portraits  # noqa: E402
from tests.windows import screen, window  # noqa: E402, F401 (fixtures)
from utils import cli  # noqa: E402

settings.register_profile("here", deadline=None)  # a busy machine is no fault of a test
settings.load_profile("here")
Command = Callable[..., subprocess.CompletedProcess]


@pytest.fixture(scope="session")
def command() -> Command:
    """Run `python script.py ...` in the repository; returns code, stdout and stderr."""

    def run(*words: object, timeout: float = 300, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, *map(str, words)],
            cwd=ROOT,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Command:
    """The same in this process, for commands that end before they change anything in it: saves importing TensorFlow."""

    def run(script: str, *words: object) -> subprocess.CompletedProcess:
        monkeypatch.setattr(sys, "argv", [script, *map(str, words)])
        main = importlib.import_module(script.removesuffix(".py")).main
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as stop:
            cli.run(main)
        return subprocess.CompletedProcess(sys.argv, stop.value.code or 0, out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of generated portraits, 12 to train and 4 to validate."""
    return portraits.write_dataset(tmp_path_factory.mktemp("people"))


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Words for train.py that name a network of three layers, which this process knows from now on (tests/tiny.py)."""
    import models
    from tests import tiny

    monkeypatch.setitem(sys.modules, tiny.MODULE, tiny.module())
    monkeypatch.setitem(models.REGISTRY, "tiny", tiny.ENTRY)
    return ("--model", "tiny", "--batch", "4")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network of random weights whose alpha spans 0..1."""
    import models
    from tests.test_export import SIZE, lively_network

    path = tmp_path_factory.mktemp("lively") / "portrait.keras"
    frames = [portraits.portrait(seed)[0] for seed in range(8)]
    card = {"architecture": models.describe("mobilenetv2_fpn", SIZE, alpha=0.35)}
    models.save(lively_network(frames, 0), path, card)
    return path


def hears_interrupts() -> None:
    """For a new process: shells make jobs in their background deaf to Ctrl-C, and tests may run in one."""
    for number in (signal.SIGINT, signal.SIGHUP):  # nohup makes them deaf to the latter
        signal.signal(number, signal.SIG_DFL)


def refused(result: subprocess.CompletedProcess, *words: str) -> str:
    """Check that a command ended with code 2 and one line holding `words`; returns the line."""
    assert result.returncode == 2, (result.returncode, result.stdout, result.stderr)
    assert "Traceback" not in result.stderr + result.stdout
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    for word in words:
        assert word in lines[0], lines[0]
    return lines[0]
