"""Whose certificates are trusted: the system's store, or what one variable names, for everything that connects.

In: the environment. Out: a TLS context for our own clients, and variables for the programs that we start. Fails with
`UsageError` if what the variable names cannot be loaded.

`SSL_CERT_FILE` (or `SSL_CERT_DIR`) is the one setting: OpenSSL, uv, rustls (obstore) and pip know it, git is told.
Where it is not set, the system's store holds, to which a company's own authority is added once for all programs
(`update-ca-certificates`, `update-ca-trust`). The variables of requests, curl and pip hold for our own client as well.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from wheelsmith.errors import UsageError

#: What names a file or directory of authorities, the first one first.
VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")
#: What to do about a certificate that nobody vouches for.
TLS_REMEDY = (
    "If your network has an authority of its own, add it to the system's store (`update-ca-certificates`), or name a"
    " PEM file that holds it and all others in SSL_CERT_FILE."
)
# Where distributions keep all authorities in one file: a Python that was built elsewhere looks in other places.
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
)


def authorities() -> str | None:
    """The file or directory of authorities; None: only the ones that this Python knows.

    Raises:
        UsageError: a variable names what is not there.
    """
    for name in VARIABLES:
        if value := os.environ.get(name):
            if not Path(value).exists():
                raise UsageError(f"{name} names {value}, which is not there.", "Correct or unset the variable.")
            return value
    paths = ssl.get_default_verify_paths()
    return next((path for path in (paths.cafile, *_BUNDLES) if path and Path(path).is_file()), None)


def tls_context() -> ssl.SSLContext:
    """A context for a client that verifies.

    Raises:
        UsageError: the authorities cannot be loaded.
    """
    place = authorities()
    try:
        if place is None:
            return ssl.create_default_context()
        if Path(place).is_dir():
            return ssl.create_default_context(capath=place)
        return ssl.create_default_context(cafile=place)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"The certificates of {place} cannot be loaded: {error}.", "It must be a file of PEM certificates."
        ) from error


def tool_variables() -> dict[str, str]:
    """What uv and git need to trust the same, beside the caller's environment."""
    variables = {"UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1"}  # uv >= 0.10, and before
    place = next((os.environ[name] for name in VARIABLES if os.environ.get(name)), None)
    if place is not None:
        directory = Path(place).is_dir()
        variables |= {"SSL_CERT_DIR" if directory else "SSL_CERT_FILE": place}
        variables |= {"GIT_SSL_CAPATH" if directory else "GIT_SSL_CAINFO": place}
    return {name: value for name, value in variables.items() if name not in os.environ}


def is_tls(words: str) -> bool:
    """Whether an error is about certificates or TLS itself, in the words of OpenSSL, rustls, uv or git."""
    return any(sign in words for sign in _SIGNS)


_SIGNS = (
    "CERTIFICATE_VERIFY_FAILED",
    "certificate verify failed",
    "certificate verification failed",
    "invalid peer certificate",
    "UnknownIssuer",
    "self-signed certificate",
    "self signed certificate",
    "SSL certificate problem",
    "WRONG_VERSION_NUMBER",
    "hostname mismatch",
    "doesn't match",
    "SSL: no alternative certificate",
    "gnutls_handshake",
    "server verification failed",  # git with GnuTLS 3.8
)
