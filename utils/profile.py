"""Where a .tflite network's time goes, by type of operator.

LiteRT's Python interface has no profiler (its C library has one, for programs in C), so each operator is cut out of the graph, with its weights and
shapes, and timed alone on the same interpreter. The parts add up to roughly the whole: alone, each operator also pays
for starting, and gains from a cache of its own.
"""

from __future__ import annotations

import copy
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from utils.backend import quiet

ROUNDS = 15


class Share(NamedTuple):
    """All operators of one type: how many, and their milliseconds together."""

    operator: str
    count: int
    milliseconds: float


def by_operator(path: str | Path, threads: int = 1) -> list[Share]:
    """Median times by operator type, the slowest first. Raises ValueError for a file that is not a network."""
    from ai_edge_litert import schema_py_generated as schema

    data = Path(path).read_bytes()
    if data[4:8] != b"TFL3":
        raise ValueError(f"{path}: not a .tflite file")
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    times: dict[str, list[float]] = defaultdict(list)
    for operator in model.subgraphs[0].operators:
        code = model.operatorCodes[operator.opcodeIndex]
        name = names[max(code.builtinCode, code.deprecatedBuiltinCode)]
        times[name].append(1000 * float(np.median(_seconds(_alone(model, operator), threads))))
    shares = [Share(name, len(found), sum(found)) for name, found in times.items()]
    return sorted(shares, key=lambda share: -share.milliseconds)


def whole(path: str | Path, threads: int = 1) -> float:
    """Milliseconds of the network as it is, at best: operators are so short that a busy machine seldom disturbs one."""
    return 1000 * min(_seconds(Path(path).read_bytes(), threads, 8 * ROUNDS))


def table(shares: list[Share]) -> str:
    """Lines of type, count, milliseconds and share."""
    total = sum(share.milliseconds for share in shares)
    rows = [
        f"{share.operator:24} {share.count:4} {share.milliseconds:8.3f} ms {100 * share.milliseconds / total:5.1f} %"
        for share in shares
    ]
    return "\n".join([*rows, f"{'all':24} {sum(s.count for s in shares):4} {total:8.3f} ms"])


def _alone(model, operator) -> bytes:
    """A network of this operator alone: its constants stay, everything else it reads is an input."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    graph = model.subgraphs[0]
    used = [i for i in dict.fromkeys([*operator.inputs, *operator.outputs]) if i >= 0]
    number = {old: new for new, old in enumerate(used)}
    part, only = schema.ModelT(), schema.SubGraphT()
    part.version, part.operatorCodes, part.buffers = model.version, model.operatorCodes, [schema.BufferT()]
    only.tensors = []
    constant = set()
    for old in used:
        tensor = copy.copy(graph.tensors[old])
        buffer = model.buffers[tensor.buffer]
        has_data = buffer.data is not None and len(buffer.data)
        if has_data:
            constant.add(old)
            part.buffers.append(buffer)
        tensor.buffer = len(part.buffers) - 1 if has_data else 0
        only.tensors.append(tensor)
    alone = copy.copy(operator)
    alone.inputs = [number.get(i, -1) for i in operator.inputs]
    alone.outputs = [number[i] for i in operator.outputs]
    only.operators = [alone]
    only.inputs = [number[i] for i in dict.fromkeys(operator.inputs) if i >= 0 and i not in constant]
    only.outputs = list(alone.outputs)
    part.subgraphs = [only]
    builder = flatbuffers.Builder(1024)
    builder.Finish(part.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _seconds(network: bytes, threads: int, rounds: int = ROUNDS) -> list[float]:
    """Each run of a network on zeros."""
    from ai_edge_litert.interpreter import Interpreter

    with quiet():  # it greets on stderr
        interpreter = Interpreter(model_content=network, num_threads=threads)
        interpreter.allocate_tensors()
    for details in interpreter.get_input_details():
        interpreter.set_tensor(details["index"], np.zeros(details["shape"], details["dtype"]))
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        interpreter.invoke()
        found.append(time.perf_counter() - start)
    return found
