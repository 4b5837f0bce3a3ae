"""Certificates for STARTTLS: from a file, or made at the start for tests."""

from __future__ import annotations

import ssl
import tempfile

MADE = "made"
"""In place of a file: make a certificate for this host, and a CA that signs it."""


def server_context(
    certificate: str, hostname: str, option: str = "--tls"
) -> tuple[ssl.SSLContext, str | None]:
    """Create the TLS context of the server.

    Args:
        certificate: a PEM file with the chain and the unencrypted key, or `MADE`.
        hostname: our name. A made certificate is valid for it, for localhost and the loopback addresses.
        option: the option that names the file, for errors.

    Returns:
        The context; and for a made certificate the path of its CA's certificate, else None. Clients
        that trust this CA can verify the server. The file is removed when the process ends.

    Raises:
        ValueError: the file cannot be read, or lacks the certificate or the key; the text says which.
        ImportError: a certificate should be made, but trustme is not installed.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if certificate != MADE:
        _load(context, certificate, option)
        return context, None
    import trustme

    ca = trustme.CA()
    ca.issue_cert("localhost", "127.0.0.1", "::1", hostname).configure_cert(context)
    file = tempfile.NamedTemporaryFile(prefix="maildir-safe-ca-", suffix=".pem")  # noqa: SIM115
    file.write(ca.cert_pem.bytes())
    file.flush()
    _files.append(file)
    return context, file.name


def _load(context: ssl.SSLContext, certificate: str, option: str) -> None:
    try:
        context.load_cert_chain(certificate, password=lambda: "")  # never ask at a terminal
    except ssl.SSLError:
        raise ValueError(
            f"{option} {certificate}: not a PEM file that holds a certificate and its unencrypted key"
        ) from None
    except IsADirectoryError:
        raise ValueError(
            f"{option} {certificate}: a directory; to have a certificate made, put {option} after the Maildir"
        ) from None
    except OSError as error:
        raise ValueError(f"{option} {certificate}: {error.strerror}") from None


_files: list[object] = []  # a temporary file is removed with the last reference to it
