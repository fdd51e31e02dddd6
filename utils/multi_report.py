"""What many sources came to, in three forms: lines on the screen, JSON, and figures for Prometheus."""

from __future__ import annotations

from utils.metrics_http import Family
from utils.multi import Batcher, Stream, state


def lines(batcher: Batcher) -> list[str]:
    """The panel: a line for all, a line for each source, and the stages."""
    dropped = sum(stream.reader.dropped for stream in batcher.streams)
    rows = ["source\tframes/s\tdropped\tms p50\tp95", f"all\t{batcher.rate.recent:.1f}\t{dropped}"]
    latency = batcher.latency.summary()
    for stream in batcher.streams:
        p50, p95 = latency.get(stream.name, (0.0, 0.0))
        rate = 0.0 if state(stream.reader) else stream.rate.recent
        rows.append(f"{stream.name}\t{rate:.1f}\t{stream.reader.dropped}\t{p50:.0f}\t{p95:.0f}")
    rows.append(f"batches full\t{100 * batcher.fill:.0f} %")
    rows += [
        f"{name}\t\t\t{p50:.1f}\t{p95:.1f}" for name, (p50, p95) in list(batcher.stages.summary().items())
    ]
    return rows


def facts(batcher: Batcher, tiled: int) -> dict:
    """Everything as one JSON object; times in milliseconds, `tiled` pictures of all sources."""
    batches = sum(batcher.sizes.values())
    return {
        "frames": batcher.rate.count,
        "frames_per_second": batcher.rate.mean,
        "tiled_pictures": tiled,
        "batches": {
            "count": batches,
            "fill": batcher.fill,
            "mean_size": batcher.rate.count / max(1, batches),
            "sizes": {str(size): count for size, count in sorted(batcher.sizes.items())},
        },
        "milliseconds": _times(batcher.stages.summary()),
        "sources": {stream.name: _source(stream, batcher) for stream in batcher.streams},
    }


def _source(stream: Stream, batcher: Batcher) -> dict:
    reader = stream.reader
    return {
        "source": reader.source.name,
        "frames": stream.rate.count,
        "frames_per_second": stream.rate.mean,
        "dropped": reader.dropped,
        "unwritten": stream.unwritten,
        "retries": reader.source.retries,
        "state": "; ".join(state(reader)[1:]) or "ok",
        "latency": _times(batcher.latency.summary()).get(stream.name, {}),
    }


def _times(summary: dict[str, tuple[float, float]]) -> dict[str, dict[str, float]]:
    return {name: {"p50": p50, "p95": p95} for name, (p50, p95) in summary.items()}


def families(batcher: Batcher, tiled: int) -> list[Family]:
    """The same for Prometheus; its base units are seconds, and what only grows is a counter."""
    named = [({"source": stream.name}, stream) for stream in batcher.streams]

    def each(value) -> list[tuple[dict[str, str], float]]:
        return [(labels, value(stream)) for labels, stream in named]

    return [
        Family("portrait_frames_total", "counter", "Pictures finished.", each(lambda s: s.rate.count)),
        Family("portrait_dropped_total", "counter", "Frames that came too fast.", each(_dropped)),
        Family(
            "portrait_unwritten_total",
            "counter",
            "Pictures an output was too slow for.",
            each(lambda s: s.unwritten),
        ),
        Family(
            "portrait_retries_total",
            "counter",
            "Times a source was opened again.",
            each(lambda s: s.reader.source.retries),
        ),
        Family("portrait_up", "gauge", "1 while a source gives frames.", each(_up)),
        Family(
            "portrait_frames_per_second", "gauge", "Over the last hundred.", each(lambda s: s.rate.recent)
        ),
        Family(
            "portrait_latency_seconds", "summary", "From a frame's coming to its picture.", _delays(batcher)
        ),
        Family("portrait_batch_size", "histogram", "Frames in a call of the network.", _sizes(batcher)),
        Family(
            "portrait_batch_fill_ratio", "gauge", "Of the sources that gave frames.", [({}, batcher.fill)]
        ),
        Family("portrait_tiled_total", "counter", "Pictures of all sources.", [({}, tiled)]),
    ]


def _dropped(stream: Stream) -> float:
    return stream.reader.dropped


def _up(stream: Stream) -> float:
    return float(not state(stream.reader))


def _delays(batcher: Batcher) -> list[tuple[dict[str, str], float]]:
    samples: list[tuple[dict[str, str], float]] = []
    summary = batcher.latency.summary()
    for stream in batcher.streams:
        labels = {"source": stream.name}
        for quantile, value in zip(("0.5", "0.95"), summary.get(stream.name, ()), strict=False):
            samples.append(({**labels, "quantile": quantile}, value / 1000))
        samples.append(({"": "_sum", **labels}, batcher.delays[stream.name]))
        samples.append(({"": "_count", **labels}, stream.rate.count))
    return samples


def _sizes(batcher: Batcher) -> list[tuple[dict[str, str], float]]:
    sizes = dict(batcher.sizes)
    samples: list[tuple[dict[str, str], float]] = []
    for most in range(1, len(batcher.streams) + 1):
        count = sum(number for size, number in sizes.items() if size <= most)
        samples.append(({"": "_bucket", "le": str(most)}, count))
    total = sum(sizes.values())
    samples.append(({"": "_bucket", "le": "+Inf"}, total))
    samples.append(({"": "_sum"}, sum(size * number for size, number in sizes.items())))
    samples.append(({"": "_count"}, total))
    return samples
