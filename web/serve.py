"""Serve the built browser page, with the headers that let it use threads.

    python -m web.serve

Then open http://127.0.0.1:8000. Everything comes from web/dist, which `make web` builds; nothing else is needed, and
nothing is sent anywhere. Browsers give the camera only to pages from this machine or over HTTPS: for another device
on the network give --host 0.0.0.0 with a --certificate (see web/README.md).
"""

from __future__ import annotations

import errno
import ssl
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from utils import cli

BUILT = Path(__file__).resolve().parent / "dist"
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",  # these two make SharedArrayBuffer, and so threads, possible
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
LASTING = "/assets/"  # files named after what is in them: they never change


class Handler(SimpleHTTPRequestHandler):
    """Files of the built page, with `HEADERS`; folders are not listed."""

    protocol_version = "HTTP/1.1"
    extensions_map = {  # noqa: RUF012 (as in the parent class)
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".wasm": "application/wasm",
        ".webmanifest": "application/manifest+json",
        ".tflite": "application/octet-stream",
        ".svg": "image/svg+xml",
    }

    _found = False

    def send_response(self, code: int, message: str | None = None) -> None:
        self._found = code in (200, 304)
        super().send_response(code, message)

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        lasting = self._found and self.path.startswith(LASTING)
        self.send_header("Cache-Control", "max-age=31536000, immutable" if lasting else "no-cache")
        super().end_headers()

    def list_directory(self, path: str) -> None:
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Waits for no browser that still holds a connection when it is stopped."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception() if hasattr(sys, "exception") else sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # OSError: the browser has gone away


def open_server(
    host: str, port: int, certificate: str | None = None, key: str | None = None, folder: Path = BUILT
) -> Server:
    """A server that is bound and ready for `serve_forever`; port 0 takes a free one. Raises OSError, ValueError."""
    if not (folder / "index.html").exists():
        raise ValueError(f"{folder.name}/ holds no built page: run make web first")
    if not 0 <= port <= 65535:
        raise ValueError(f"--port {port}: give one from 0 to 65535")
    try:
        server = Server((host, port), partial(Handler, directory=str(folder)))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ValueError(f"port {port} of {host} is taken: give another with --port") from error
        raise ValueError(f"{host}:{port} cannot be served: {cli.one_line(error)}") from error
    if certificate:
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
        except OSError as error:  # ssl.SSLError is one
            server.server_close()
            raise ValueError(f"{certificate}: no certificate with its key that can be used") from error
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return server


def main() -> None:
    parser = cli.parser(__doc__)
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--port", type=int, default=8000, help="0 takes a free one")
    add("--certificate", metavar="FILE", help="PEM certificate, for HTTPS")
    add("--key", metavar="FILE", help="its private key, if it is not in the same file")
    args = parser.parse_args()
    if args.key and not args.certificate:
        raise ValueError("--key without --certificate: give both")
    with open_server(args.host, args.port, args.certificate, args.key) as server:
        scheme = "https" if args.certificate else "http"
        print(f"{scheme}://{args.host}:{server.server_address[1]} (Ctrl-C stops)", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    cli.run(main)
