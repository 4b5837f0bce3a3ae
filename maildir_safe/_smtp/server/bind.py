"""Addresses to listen on: ``HOST:PORT``, ``:PORT``, ``[IPv6]:PORT``, a unix socket's path, or ``fd:3``."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pathlib
import socket
import stat
from typing import TYPE_CHECKING

from maildir_safe._fs.owner import give_socket

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


class CannotListen(Exception):
    """The server cannot listen on an address. The text says why and what to do."""


def listen(address: str, mode: int | None = None, group: str = "") -> socket.socket:
    """Open a listening socket.

    Args:
        address: ``127.0.0.1:1025``, ``:25`` (all interfaces), ``[::1]:1025``, a path that contains
            a ``/``, or ``fd:N``, a listening socket that this process was started with. Port 0
            takes a free port. A unix socket that no process listens on any more is replaced.
        mode: permissions of a unix socket: who may write to it may connect. None: as the umask says.
        group: the group of a unix socket, by name or number; ``""``: that of this process.

    Raises:
        CannotListen: the address is in use, malformed, not permitted, or not one of this machine's.
    """
    if address.startswith("fd:"):
        return _inherited(address)
    return _listen_unix(address, mode, group) if "/" in address else _listen_tcp(address)


def address_of(sock: socket.socket) -> str:
    """The address that a listening socket is bound to, in the form that `listen` takes."""
    name: Any = sock.getsockname()
    if isinstance(name, str):
        return name
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_local(sock: socket.socket) -> bool:
    """Whether only this machine can reach the socket."""
    name: Any = sock.getsockname()
    return isinstance(name, str) or name[0] == "::1" or name[0].startswith("127.")


def _listen_tcp(address: str) -> socket.socket:
    host, colon, port = address.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise CannotListen(
            f"{address}: not an address; write HOST:PORT, or a path with a / for a unix socket"
        )
    host = host.strip("[]")
    try:
        family, _, _, _, target = socket.getaddrinfo(
            host or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise CannotListen(_advice(address, int(port), error)) from error
    # asyncio turns off Nagle's algorithm (40 ms per reply) only if the socket names its protocol
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(target)
        sock.listen(512)
    except OSError as error:
        sock.close()
        raise CannotListen(_advice(address, int(port), error)) from error
    sock.setblocking(False)
    return sock


def _inherited(address: str) -> socket.socket:
    """A socket that a service manager has opened: it keeps connections while the service restarts."""
    number = address.removeprefix("fd:")
    if not (number.isascii() and number.isdigit()):
        raise CannotListen(f"{address}: not a descriptor; the first one that systemd passes is fd:3")
    try:
        sock = socket.socket(fileno=int(number))
        listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except (OSError, OverflowError) as error:
        raise CannotListen(
            f"{address}: this process was started without such a socket ({getattr(error, 'strerror', error)})"
        ) from error
    if not listens:
        sock.detach()
        raise CannotListen(f"{address}: a socket that does not listen")
    sock.setblocking(False)
    return sock


def _advice(address: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"{address}: another program listens there (ss -ltnp 'sport = :{port}' shows which); "
            "stop it, or choose another port"
        )
    if error.errno == errno.EACCES:
        return f"{address}: not allowed; ports below 1024 need root or CAP_NET_BIND_SERVICE"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{address}: no network interface of this machine has that address"
    return f"{address}: {error.strerror or error}"


def _listen_unix(path: str, mode: int | None, group: str) -> socket.socket:
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _masked(mode):
            sock.bind(path)
        if group:
            give_socket(path, int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid)
        sock.listen(512)  # before that nobody can connect, whatever the umask
    except (OSError, LookupError) as error:
        sock.close()
        raise CannotListen(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    sock.setblocking(False)
    return sock


@contextlib.contextmanager
def _masked(mode: int | None) -> Iterator[None]:
    """Make files with these permissions; a chmod afterwards could be led to another file."""
    if mode is None:
        yield
        return
    before = os.umask(0o777 & ~mode)
    try:
        yield
    finally:
        os.umask(before)


def _remove_stale(path: str) -> None:
    """Remove a socket whose server is gone. Leave anything else alone."""
    place = pathlib.Path(path)
    try:
        if not stat.S_ISSOCK(place.lstat().st_mode):
            raise CannotListen(f"{path}: exists and is not a socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            place.unlink()
            return
        except OSError as error:
            raise CannotListen(f"{path}: {error.strerror or error}") from error
    raise CannotListen(f"{path}: another program listens there")
