"""HTTP server of `flip serve`, for Label Studio; standard library only."""

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
from flipagents.serve.hosts import LOCAL_HOSTS, refusal
from flipagents.serve.label_studio import Backend
from flipenv.errors import FlipError

MAX_BODY = 100_000_000  # bytes: a 64 MB image in base64, and the rest
TIMEOUT = 30  # s, per read
MAX_REQUESTS = 4  # request bodies in memory at once


class RefusedError(Exception):
    """A request refused with an HTTP status and a reason."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def serve(backend: Backend, host: str = "127.0.0.1", port: int = 9090) -> None:
    """Serve at http://HOST:PORT until Ctrl-C; ConfigError if it cannot listen there."""
    check_port(host, port)
    with make_server(backend, host, port) as server, suppress(KeyboardInterrupt):
        print(f"http://{host}:{server.server_address[1]} (Ctrl-C to stop)", flush=True)
        server.serve_forever()


def make_server(backend: Backend, host: str, port: int) -> ThreadingHTTPServer:
    """A bound server; `serve_forever` starts it."""

    class BoundHandler(Handler):
        model = backend
        local_only = host in LOCAL_HOSTS
        slots = threading.BoundedSemaphore(MAX_REQUESTS)

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Log a dropped connection in one line, without a traceback."""
            print(f"a request ended early: {type(sys.exception()).__name__}", flush=True)

    return Server((host, port), BoundHandler)


class Handler(BaseHTTPRequestHandler):
    """JSON in, JSON out; errors are {"error": reason}."""

    model: ClassVar[Backend]
    local_only: ClassVar[bool]  # whether it answers only this machine
    slots: ClassVar[threading.BoundedSemaphore]
    timeout = TIMEOUT
    server_version = "flip"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer /health and /versions."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Answer /setup, /predict and /webhook."""
        self._answer(self._post)

    def log_message(self, *_: Any) -> None:
        """Log nothing, as paths and answers are private."""

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
            raise RefusedError(HTTPStatus.NOT_FOUND, "expected /setup or /predict; training is not supported")
        if not self.slots.acquire(blocking=False):
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "busy; try again")
        try:
            body = self._body()
            # Label Studio posts annotations to /webhook; they are ignored.
            return self.model.predict(body) if path == "/predict" else {"model_version": self.model.version}
        finally:
            self.slots.release()

    def _body(self) -> Mapping[str, Any]:
        # For JSON, browsers send a CORS preflight first, which is not answered.
        if self.headers.get_content_type() != "application/json":
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected Content-Type: application/json")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "expected Content-Length")
        if len(length) > 12 or int(length) > MAX_BODY:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {MAX_BODY} bytes")
        try:
            body = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "the body is not JSON") from None
        if not isinstance(body, dict):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "the body is not a JSON object")
        return body

    def _answer(self, act: Any) -> None:
        status, content = HTTPStatus.OK, {}
        try:
            reason = refusal(self.headers.get("Host", ""), self.headers.get("Origin")) if self.local_only else None
            if reason is not None:
                raise RefusedError(HTTPStatus.FORBIDDEN, reason)
            content = act()
        except RefusedError as error:
            status, content = error.status, {"error": str(error)}
        except FlipError as error:
            status, content = HTTPStatus.BAD_REQUEST, {"error": str(error)}
        except TimeoutError:
            status, content = HTTPStatus.REQUEST_TIMEOUT, {"error": "timed out reading the body"}
        except Exception as error:  # otherwise the client would get no response
            status, content = HTTPStatus.INTERNAL_SERVER_ERROR, {"error": f"internal error: {type(error).__name__}"}
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
