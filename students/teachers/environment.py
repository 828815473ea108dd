"""The client of an endpoint as the environment wants it: its proxies and its certificates, checked at once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from data.errors import ConfigError

if TYPE_CHECKING:
    import httpx

#: What the environment says of the way to an endpoint; proxies also in lower case.
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def open_client(url: str, timeout_seconds: float) -> httpx.Client:
    """A client with the proxies and certificates of the environment.

    Args:
        url: what will be asked.
        timeout_seconds: longest wait for anything.

    Raises:
        ConfigError: naming the variable that cannot be used, or the address.
    """
    import httpx

    try:
        httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ConfigError(f"teacher.url must be an address, got '{url}' ({error}).") from error
    try:
        _check_ports()
        return httpx.Client(timeout=timeout_seconds, follow_redirects=False)
    except ImportError as error:
        raise ConfigError(
            f"{_set_ones(_PROXIES)} must name an HTTP proxy, as SOCKS needs a package that is not here; "
            "pip install socksio, or unset it."
        ) from error
    except (httpx.InvalidURL, ValueError) as error:
        # The value is not told: it may hold a password.
        raise ConfigError(
            f"{_set_ones(_PROXIES)} must be the address of a proxy, http://host:port, got another one; mend or "
            "unset it."
        ) from error
    except OSError as error:  # also what TLS makes of a file that holds no certificates
        raise ConfigError(
            f"{_set_ones(_CERTIFICATES)} must name readable certificates, got ({error.strerror or error}); mend or "
            "unset it."
        ) from error


def _set_ones(names: tuple[str, ...]) -> str:
    """Which of the variables are set; of names of files, those that are none."""
    found = [name for name in (*names, *map(str.lower, names)) if os.environ.get(name)]
    if names is _CERTIFICATES:
        found = [name for name in found if not os.path.exists(os.environ[name])] or found
    return f"the environment variable {' or '.join(found or names)}"


def _check_ports() -> None:
    """Raises ValueError for a proxy whose port is none, which would be noticed at the first request."""
    for name in (*_PROXIES, *map(str.lower, _PROXIES)):
        address = os.environ.get(name, "")
        _ = urlsplit(address if "://" in address else f"//{address}").port
