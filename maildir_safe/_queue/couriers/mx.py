"""A courier to the servers that the DNS names for each recipient's domain (RFC 5321 section 5.1).

What the DNS says is a stranger's: host names are checked, and only a few of them are tried. Addresses that
no other host can have (loopback and the like) are not connected to: a stranger must not reach what listens
there for this machine only.
"""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from typing import TYPE_CHECKING

from maildir_safe._delivery.status import RecipientStatus, one_line
from maildir_safe._queue.couriers.courier import domain_of
from maildir_safe._queue.couriers.dialogue import Smtp
from maildir_safe._queue.couriers.idle_connections import IdleConnections
from maildir_safe._queue.couriers.smtp import TIMEOUT, UNREACHABLE, SmtpCourier

if TYPE_CHECKING:
    from typing import Any

    from maildir_safe._queue.couriers.courier import DeliveryRequest

_MOST_HOSTS = 5
_MOST_ADDRESSES = 5  # of a host
_CONNECTING = 30.0  # seconds for each address
_MOST_COURIERS = 200
_DEADLINE = 900.0  # seconds for a message; the worker's own limit would also repeat what was delivered
_LOOKUP = 30.0  # seconds
_IN_HOST_NAMES = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-._")

_NO_DOMAIN = RecipientStatus(550, "5.1.2 there is no such domain")
_NO_MAIL = RecipientStatus(556, "5.1.10 the domain accepts no mail")
_OURSELVES = RecipientStatus(554, "5.4.6 the domain's mail comes back to this server")
_BAD_HOSTS = RecipientStatus(451, "4.4.4 the domain names no usable mail server")
_TOO_SLOW = RecipientStatus(451, "4.4.1 the domain's mail servers do not answer")


class NoServers(Exception):
    """There is no server for a domain.

    Attributes:
        status: what its recipients get.
    """

    def __init__(self, status: RecipientStatus) -> None:
        super().__init__(status.text)
        self.status = status


class Ourselves(Exception):
    """A host has only addresses of this machine."""


class MxCourier:
    """Sends to each domain's own servers, in the order of their preference. Needs dnspython (extra `relay`).

    TLS is used where it is offered, without verification. Domains of one message are sent to at the same
    time, so that one that hangs does not delay the others.

    Args:
        helo: our name, which must be this host's name in the DNS; by default this host's.
        timeout: seconds that a server may be silent.
        port: of the servers.
        resolver: a `dns.resolver.Resolver`; by default that of this host.

    Raises:
        ImportError: dnspython is missing.
        OSError: this host has no configuration for DNS.
    """

    relays = True

    def __init__(
        self, helo: str | None = None, timeout: float = TIMEOUT, port: int = 25, resolver: Any = None
    ) -> None:
        import dns.exception
        import dns.resolver

        self._dns_error = dns.exception.DNSException
        self._no_domain = dns.resolver.NXDOMAIN
        self._no_answer = dns.resolver.NoAnswer
        try:
            self._resolver = resolver or dns.resolver.Resolver()
        except dns.exception.DNSException as error:
            raise OSError(f"DNS cannot be used: {error}") from error
        self._helo = helo or os.uname().nodename
        self._timeout = timeout
        self._port = port
        self._lock = threading.Lock()
        self._couriers: dict[str, SmtpCourier] = {}
        self._idle = IdleConnections()  # of all hosts, so that their number has one limit

    def __call__(self, request: DeliveryRequest) -> dict[str, RecipientStatus]:
        """See `maildir_safe._queue.couriers.courier.Courier`."""
        groups: dict[str, list[str]] = {}
        for recipient in request.recipients:
            groups.setdefault(domain_of(recipient), []).append(recipient)
        until = time.monotonic() + _DEADLINE
        if len(groups) == 1:
            return self._send(request, *groups.popitem(), until)
        statuses = dict.fromkeys(request.recipients, _TOO_SLOW)
        pool = ThreadPoolExecutor(len(groups))
        sent = [pool.submit(self._send, request, domain, who, until) for domain, who in groups.items()]
        pool.shutdown(wait=False)
        for one in wait(sent, _DEADLINE).done:
            statuses |= one.result()
        return statuses

    def close(self) -> None:
        """End the connections that wait for another message."""
        self._idle.close()

    def _send(
        self, request: DeliveryRequest, domain: str, recipients: list[str], until: float
    ) -> dict[str, RecipientStatus]:
        """Send to the first of a domain's servers that can be reached."""
        try:
            hosts = self.hosts(domain)
        except NoServers as error:
            return dict.fromkeys(recipients, error.status)
        part = replace(request, recipients=(*recipients,))
        statuses = dict.fromkeys(recipients, _OURSELVES)
        for host in hosts:
            try:
                statuses = self._courier(host)(part)
            except Ourselves:
                continue
            if any(status.text != UNREACHABLE for status in statuses.values()) or time.monotonic() > until:
                break
        return statuses

    def hosts(self, domain: str) -> list[str]:
        """The servers of a domain, in the order in which they are tried.

        Raises:
            NoServers: there are none, or the DNS does not answer now.
        """
        if domain.startswith("["):
            return [_address(domain)]
        try:
            answer = self._resolver.resolve(f"{domain.rstrip('.')}.", "MX", lifetime=_LOOKUP, search=False)
        except self._no_domain:
            raise NoServers(_NO_DOMAIN) from None
        except self._no_answer:
            return [_checked(domain)]  # then the domain itself is the server
        except (self._dns_error, ValueError) as error:
            what = one_line(f"{domain}: {error}")
            raise NoServers(RecipientStatus(451, "4.4.3 the DNS does not answer now", what)) from error
        found = [(int(one.preference), str(one.exchange).rstrip(".").lower()) for one in answer]
        if found == [(0, "")]:
            raise NoServers(_NO_MAIL)  # RFC 7505
        return self._in_order(found)

    def _in_order(self, found: list[tuple[int, str]]) -> list[str]:
        """Servers of equal preference in random order, and none that is as far from the domain as we are."""
        ours = min((preference for preference, host in found if host == self._helo.lower()), default=1 << 16)
        nearer = [(preference, random.random(), host) for preference, host in found if preference < ours]
        if not nearer:
            raise NoServers(_OURSELVES)
        hosts = [host for _, _, host in sorted(nearer) if host and _IN_HOST_NAMES.issuperset(host)]
        if not hosts:
            raise NoServers(_BAD_HOSTS)
        return hosts[:_MOST_HOSTS]

    def _courier(self, host: str) -> SmtpCourier:
        with self._lock:
            courier = self._couriers.pop(host, None)
            if courier is None:
                name = f"[{host}]" if ":" in host else host
                courier = _HostCourier(f"smtp://{name}:{self._port}", self._helo, self._timeout, self._idle)
            self._couriers[host] = courier  # the last one used is the last one forgotten
            if len(self._couriers) > _MOST_COURIERS:
                del self._couriers[next(iter(self._couriers))]
            return courier


class _HostCourier(SmtpCourier):
    """Sends to one host that a stranger has named; its connections wait among those of other hosts."""

    def __init__(self, url: str, helo: str, timeout: float, idle: IdleConnections) -> None:
        super().__init__(url, helo, timeout=timeout)
        self._idle = idle

    def _connect(self) -> Smtp:
        return _Smtp(self._host, self._port, self._helo, timeout=self._timeout)


class _Smtp(Smtp):
    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        """Connect to one of a host's addresses. Raises OSError, Ourselves."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(target[0]) for _, _, _, _, target in found if not is_of_this_machine(str(target[0]))]
        if not addresses:
            raise Ourselves
        trouble = OSError(f"{host}: no address")
        for address in addresses[:_MOST_ADDRESSES]:
            try:
                sock = socket.create_connection((address, port), min(timeout, _CONNECTING))
                sock.settimeout(timeout)
                return sock
            except OSError as error:
                trouble = error
        raise trouble


def is_of_this_machine(address: str) -> bool:
    """Whether an IP address means this machine or its link, whichever machine says it."""
    import ipaddress

    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        found = found.ipv4_mapped or found
    return found.is_loopback or found.is_unspecified or found.is_link_local or found.is_multicast


def _address(literal: str) -> str:
    """The address in ``[192.0.2.1]`` or ``[IPv6:2001:db8::1]``. Raises `NoServers`."""
    import ipaddress

    try:
        if "%" in literal:  # a zone, which may be any text
            raise ValueError
        return str(ipaddress.ip_address(literal[1:-1].lower().removeprefix("ipv6:")))
    except ValueError:
        raise NoServers(_NO_DOMAIN) from None


def _checked(domain: str) -> str:
    try:
        host = domain.encode("idna").decode().lower()
    except UnicodeError:
        raise NoServers(_NO_DOMAIN) from None
    if not _IN_HOST_NAMES.issuperset(host):
        raise NoServers(_NO_DOMAIN)
    return host
