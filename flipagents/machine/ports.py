"""Check that a server can listen on a host and port, before anything slow is imported or loaded."""

from __future__ import annotations

import errno
import os
import socket

from flipenv.errors import ConfigError

LAST = 65_535  # of TCP


def check_port(host: str, port: int) -> None:
    """Raise ConfigError if HOST:PORT cannot be listened on; port 0 stands for any free port.

    Another process may still take the port between this and the server's own start.
    """
    if not 0 <= port <= LAST:
        raise ConfigError(f"port {port} does not exist; expected 1 to {LAST}")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError):  # malformed names raise UnicodeError
        raise ConfigError(f"host {host!r} is not an address; expected one of this machine, such as 127.0.0.1") from None
    with socket.socket(family, kind, protocol) as trial:
        if os.name == "posix":  # elsewhere this would share a port already in use
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(address)
        except PermissionError:
            raise ConfigError(f"port {port} needs administrator rights; choose one from 1024 on") from None
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ConfigError(f"port {port} is taken by another program; end it, or choose another port") from None
            raise ConfigError(f"cannot listen on {host}:{port} ({error.strerror or error})") from None
