"""What the pages for phones say of the files that ship is what the files say."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from tests.conftest import ROOT
from utils import segmenter
from utils.temporal import HOLD


@pytest.mark.parametrize("page", ["android", "ios"])
def test_shapes_and_kinds(page: str) -> None:
    text = (ROOT / f"docs/{page}.md").read_text()
    rows = re.findall(r"^\| `(\S+\.tflite)` \| (\S+) \[([\d, ]+)\] \| (\S+) \[([\d, ]+)\] \|$", text, re.M)
    assert len(rows) >= 4
    for name, kind, shape, out_kind, out_shape in rows:
        opened = segmenter.TFLiteSegmenter(ROOT / "checkpoints" / name, 1)
        for details, said, of in ((opened._input, shape, kind), (opened._output, out_shape, out_kind)):
            assert list(details["shape"]) == [int(n) for n in said.split(",")], name
            assert details["dtype"] == np.dtype(of).type, name
        assert opened.card.get("input_scale", 1.0) == 1.0
    assert f"{100 * HOLD:.0f} % of the last alpha" in text.replace("\n", " ")
    for name in re.findall(r"`(?:checkpoints/)?((?:live|photo)\w*\.tflite)`", text):
        assert (ROOT / "checkpoints" / name).is_file(), name


def test_the_benchmark_of_ios_names_the_input() -> None:
    text = (ROOT / "docs/ios.md").read_text()
    settings = json.loads(re.search(r'^\{"graph.*\}$', text, re.M)[0])
    opened = segmenter.TFLiteSegmenter(ROOT / "checkpoints" / settings["graph"], 1)
    assert settings["input_layer"] == opened._input["name"]
    assert settings["input_layer_shape"] == ",".join(map(str, opened._input["shape"]))
