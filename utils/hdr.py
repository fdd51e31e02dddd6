"""Phone videos in high dynamic range as players for other screens show them.

    image = pixels(frame)       # a decoded frame whose `is_hdr` -> uint8 RGB [H, W, 3]

Read as if it were an ordinary video, HLG is dull and PQ is grey: their signal's upper part is for lights brighter than white.
FFmpeg's scaler takes their diffuse white, 203 cd/m2 by ITU-R BT.2408, for white, and BT.2020's colours to BT.709's.
"""

from __future__ import annotations

import threading
from fractions import Fraction
from typing import Any

import numpy as np

PQ, HLG = 16, 18  # FFmpeg's numbers of transfer curves (ITU-T H.273)
UNSAID, BT2020 = 2, 9  # of primaries and of matrices
GOAL = (
    "out_color_matrix=bt709:out_range=full:out_primaries=bt709:out_transfer=bt709:"
    "intent=relative_colorimetric"  # what is brighter than white is white; the other ways darken faces for it
)

_own = threading.local()  # the graph of the last kind of frame that this thread had


def is_hdr(frame: Any) -> bool:
    """Whether a decoded frame says that its transfer curve is HLG's or PQ's."""
    return frame.color_trc in (PQ, HLG)


def pixels(frame: Any, width: int | None = None) -> np.ndarray:
    """Its picture as uint8 RGB [H, W, 3] for an ordinary screen, `width` pixels wide where given."""
    if frame.color_primaries == UNSAID:
        frame.color_primaries = BT2020
    if frame.colorspace == UNSAID:
        frame.colorspace = BT2020
    kind = (frame.width, frame.height, frame.format.name, frame.color_range, frame.colorspace, width)
    if getattr(_own, "kind", None) != kind:
        _own.graph, _own.kind = _graph(frame, width or frame.width), kind
    _own.graph.push(frame)
    return _own.graph.pull().to_ndarray()


def _graph(frame: Any, width: int) -> Any:
    from av.filter import Graph

    graph = Graph()
    source = graph.add_buffer(
        width=frame.width,
        height=frame.height,
        format=frame.format,
        time_base=frame.time_base or Fraction(1, 1000),
    )
    scale = graph.add("scale", f"w={width}:h={frame.height}:{GOAL}")
    rgb, sink = graph.add("format", "pix_fmts=rgb24"), graph.add("buffersink")
    graph.link_nodes(source, scale, rgb, sink).configure()
    return graph
