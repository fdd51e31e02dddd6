"""Keras starts without what it never needs, and nothing is lost by that."""

import importlib
import importlib.util
import sys

import pytest

from utils import backend


def test_a_hidden_module_is_missing_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "this", raising=False)
    with backend.hidden({"this", "pytest"}):
        assert importlib.import_module("pytest")  # was imported before: it stays
        with pytest.raises(ImportError):
            importlib.import_module("this")
    assert importlib.util.find_spec("this")


@pytest.mark.parametrize("name", backend.BACKENDS)
def test_keras_starts_without_what_it_does_not_need(command, name: str) -> None:
    pytest.importorskip(name)
    lines = """
import sys
from utils import backend
name = backend.choose()
print(sorted({*backend.UNUSED} & {*sys.modules} - {name}))
import keras, matplotlib.pyplot
print(float(keras.ops.sum(keras.ops.ones(3))))
"""
    done = command("-c", lines, KERAS_BACKEND=name)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["[]", "3.0"]
