"""`flip serve`: requests of Label Studio over HTTP, with the standard library's server."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from flipagents.machine.ports import check_port
from flipagents.serve.hosts import HERE, foreign
from flipagents.serve.label_studio import Backend
from flipenv.errors import FlipError

LONGEST = 100_000_000  # bytes of a request: an image of 64 MB in base64, and the rest
PATIENCE = 30  # s until a client has to send on
AT_ONCE = 4  # requests whose bodies are in memory


class RefusedError(Exception):
    """A request that is answered with an HTTP status and a reason."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def serve(backend: Backend, host: str = "127.0.0.1", port: int = 9090) -> None:
    """Answer at http://HOST:PORT until Ctrl-C; ConfigError where it cannot listen there."""
    check_port(host, port)
    with make_server(backend, host, port) as server, suppress(KeyboardInterrupt):
        print(f"http://{host}:{server.server_address[1]} (Ctrl-C to stop)", flush=True)
        server.serve_forever()


def make_server(backend: Backend, host: str, port: int) -> ThreadingHTTPServer:
    """A server that is bound and answers once `serve_forever` runs."""

    class Bound(Handler):
        model = backend
        alone = host in HERE
        places = threading.BoundedSemaphore(AT_ONCE)

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say in a line that a client went away in the middle, in place of a traceback."""
            print(f"a request ended early: {type(sys.exception()).__name__}", flush=True)

    return Server((host, port), Bound)


class Handler(BaseHTTPRequestHandler):
    """JSON in, JSON out; errors are {"error": reason}."""

    model: ClassVar[Backend]
    alone: ClassVar[bool]  # whether it answers this machine alone
    places: ClassVar[threading.BoundedSemaphore]
    timeout = PATIENCE
    server_version = "flip"
    sys_version = ""

    def do_GET(self) -> None:
        """Say whether the model is up."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Set up, or predict."""
        self._answer(self._post)

    def log_message(self, *_: Any) -> None:
        """Log nothing: paths and answers are private."""

    def _get(self) -> dict[str, Any]:
        match self.path.partition("?")[0]:
            case "/" | "/health":
                return {"status": "UP", "model_class": "flip", "model_version": self.model.version}
            case "/versions":
                return {"versions": [self.model.version], "message": ""}
        raise RefusedError(HTTPStatus.NOT_FOUND, "expected /health, /versions, /setup or /predict")

    def _post(self) -> dict[str, Any]:
        path = self.path.partition("?")[0]
        if path not in ("/setup", "/predict", "/webhook"):
            raise RefusedError(HTTPStatus.NOT_FOUND, "expected /setup or /predict; nothing is trained here")
        if not self.places.acquire(blocking=False):
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "busy; try again")
        try:
            body = self._body()
            # Label Studio tells of each annotation at /webhook; nothing is learned from it.
            return self.model.predict(body) if path == "/predict" else {"model_version": self.model.version}
        finally:
            self.places.release()

    def _body(self) -> Mapping[str, Any]:
        # A web page can send a form or text anywhere; for JSON its browser asks first, and is not answered.
        if self.headers.get_content_type() != "application/json":
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected Content-Type: application/json")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "expected Content-Length")
        if len(length) > 12 or int(length) > LONGEST:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {LONGEST} bytes")
        try:
            body = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "the body is no JSON") from None
        if not isinstance(body, dict):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "the body is no JSON object")
        return body

    def _answer(self, act: Any) -> None:
        status, content = HTTPStatus.OK, {}
        try:
            reason = foreign(self.headers.get("Host", ""), self.headers.get("Origin")) if self.alone else None
            if reason is not None:
                raise RefusedError(HTTPStatus.FORBIDDEN, reason)
            content = act()
        except RefusedError as error:
            status, content = error.status, {"error": str(error)}
        except FlipError as error:
            status, content = HTTPStatus.BAD_REQUEST, {"error": str(error)}
        except TimeoutError:
            status, content = HTTPStatus.REQUEST_TIMEOUT, {"error": "the body did not come"}
        except Exception as error:  # a thread that dies would leave the client waiting
            status, content = HTTPStatus.INTERNAL_SERVER_ERROR, {"error": f"{type(error).__name__}; not answered"}
            print(f"{self.command}: {error!r}", flush=True)
        if status != HTTPStatus.OK:
            print(f"{self.command}: {int(status)} {content['error']}", flush=True)
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        with suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(data)
