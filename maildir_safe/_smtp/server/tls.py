"""Certificates for STARTTLS: given, or made at the start for tests."""

from __future__ import annotations

import ssl
import tempfile

MADE = "made"
"""In place of a file: make a certificate for this host, signed by a CA that is made with it."""


def server_context(certificate: str, hostname: str) -> tuple[ssl.SSLContext, str | None]:
    """What a server needs for TLS.

    Args:
        certificate: a PEM file with the chain and the unencrypted key, or `MADE`.
        hostname: our name; a made certificate is for it, for localhost and the loopback addresses.

    Returns:
        The context, and for a made certificate the path of its CA's, in a file that goes away when
        the process ends: clients that trust it can verify us.

    Raises:
        ValueError: the file cannot be read or does not hold both; says which. ImportError: trustme is
            needed to make one.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if certificate != MADE:
        _load(context, certificate)
        return context, None
    import trustme

    ca = trustme.CA()
    ca.issue_cert("localhost", "127.0.0.1", "::1", hostname).configure_cert(context)
    file = tempfile.NamedTemporaryFile(prefix="maildir-safe-ca-", suffix=".pem")  # noqa: SIM115
    file.write(ca.cert_pem.bytes())
    file.flush()
    _files.append(file)
    return context, file.name


def _load(context: ssl.SSLContext, certificate: str) -> None:
    try:
        context.load_cert_chain(certificate, password=lambda: "")  # never ask at a terminal
    except ssl.SSLError:
        raise ValueError(
            f"--tls {certificate}: not a PEM file that holds a certificate and its unencrypted key"
        ) from None
    except IsADirectoryError:
        raise ValueError(
            f"--tls {certificate}: a directory; for a certificate of its own, put --tls behind the Maildir"
        ) from None
    except OSError as error:
        raise ValueError(f"--tls {certificate}: {error.strerror}") from None


_files: list[object] = []  # a temporary file is gone with the last reference to it
