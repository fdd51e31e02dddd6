"""Figures for Prometheus over HTTP, text format 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats).

with serve("127.0.0.1", 9100, lambda: [Family("frames_total", "counter", "Frames shown.", [({}, 12)])]):
    ...
"""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Family(NamedTuple):
    """A figure: `kind` is counter, gauge, summary or histogram; `samples` are (labels, value), where the label
    "" is what the name goes on with ("_sum", "_bucket")."""

    name: str
    kind: str
    help: str
    samples: list[tuple[dict[str, str], float]]


def text(families: list[Family]) -> str:
    """All figures in the text format."""
    lines = []
    for name, kind, help_text, samples in families:
        lines += [f"# HELP {name} {_escaped(help_text, quotes=False)}", f"# TYPE {name} {kind}"]
        for labels, value in samples:
            pairs = ",".join(f'{key}="{_escaped(label)}"' for key, label in labels.items() if key)
            lines.append(f"{name}{labels.get('', '')}{'{' + pairs + '}' if pairs else ''} {_number(value)}")
    return "\n".join(lines) + "\n"


def address(spec: str) -> tuple[str, int]:
    """ "9100" or "HOST:9100" as (host, port); this machine alone by default. Raises ValueError."""
    host, _, port = spec.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise ValueError(f"--metrics {spec}: give a port, or HOST:PORT for other machines to see it")
    return host.strip("[]") or "127.0.0.1", int(port)


@contextlib.contextmanager
def serve(host: str, port: int, figures: Callable[[], list[Family]]) -> Iterator[str]:
    """Answers GET /metrics on a thread of its own; gives the address. Port 0 is any that is free. Raises OSError."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path.split("?")[0] in ("/", "/metrics")
            body = (text(figures()) if known else "give /metrics\n").encode()
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            """Nothing: each look would be a line."""

    try:
        server = http.server.ThreadingHTTPServer((host, port), Handler)
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"--metrics {host}:{port}") from error
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="metrics", daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_address[1]}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _escaped(words: str, quotes: bool = True) -> str:
    words = words.replace("\\", "\\\\").replace("\n", "\\n")
    return words.replace('"', '\\"') if quotes else words


def _number(value: float) -> str:
    if value != value or value in (float("inf"), float("-inf")):
        return {"inf": "+Inf", "-inf": "-Inf"}.get(str(value), "NaN")
    return str(int(value)) if value == int(value) else repr(float(value))
