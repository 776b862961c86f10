"""Whether a server can listen where it is told to, asked before anything slow is imported or loaded."""

from __future__ import annotations

import errno
import os
import socket

from flipenv.errors import ConfigError

LAST = 65_535  # of TCP


def check_port(host: str, port: int) -> None:
    """Raise ConfigError where nothing can listen at HOST:PORT; port 0 is any that is free.

    Another process may still take the port between this and the server's own start.
    """
    if not 0 <= port <= LAST:
        raise ConfigError(f"port {port} does not exist; expected 1 to {LAST}")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError):  # a name that is no name at all is a UnicodeError
        raise ConfigError(f"host {host!r} is no address; expected one of this machine, such as 127.0.0.1") from None
    with socket.socket(family, kind, protocol) as trial:
        if os.name == "posix":  # elsewhere it would share a port that somebody listens on
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(address)
        except PermissionError:
            raise ConfigError(f"port {port} wants the rights of an administrator; choose one from 1024 on") from None
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ConfigError(f"port {port} is taken by another program; end it, or choose another port") from None
            raise ConfigError(f"cannot listen on {host}:{port} ({error.strerror or error})") from None
