"""The address of an endpoint and the key to it, neither of which may leak into what people see.

address = Address.of("https://vendor.example/classify?token=secret", key)
address.shown, address.hide_secrets("what the server said")
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote_plus, urlsplit

from harness.errors import UsageError
from results.audit.answers import shown

_LOCAL_HOSTS = {"localhost", "127.0.0.1", "::1"}
_HIDDEN = "***"

_MIN_SECRET_LENGTH = 4
"""A shorter value of a query, such as a version, is no secret, and is part of many words."""

_MIN_KEY_LENGTH = 8
"""A shorter key may be part of an answer."""


@dataclass(frozen=True)
class Address:
    """Where requests go, and the key that they carry."""

    url: str = field(repr=False)
    key: str | None = field(repr=False)
    """Never written and never printed."""

    @classmethod
    def of(cls, url: str, key: str | None) -> Address:
        """Check an address.

        Raises:
            UsageError: it is no http(s) address, holds a password, or would send the key in the clear.
        """
        if "@" in re.split(r"[/?#]", url.partition("//")[2])[0]:
            raise UsageError("--endpoint: leave user and password out of the address: use --key-env")
        try:
            parts = urlsplit(url)
            _ = parts.port
        except ValueError as error:
            raise UsageError(f"--endpoint {shown(bare(url))}: {error}") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(
                f"--endpoint {shown(bare(url))}: expected an address such as https://vendor.example/classify"
            )
        if key is not None:
            if not (key and key.isascii() and key.isprintable() and " " not in key):
                raise UsageError("the API key is empty, or holds spaces or characters that no key has")
            if parts.scheme == "http" and parts.hostname not in _LOCAL_HOSTS:
                raise UsageError("--endpoint: an API key is only sent over https, or to this machine")
        return cls(url, key)

    @property
    def shown(self) -> str:
        """The address for people and files: its query, which may hold a secret, is left out."""
        return bare(self.url)

    @property
    def sha256(self) -> str:
        """Of the whole address."""
        return hashlib.sha256(self.url.encode()).hexdigest()

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        return urlsplit(self.url).hostname in _LOCAL_HOSTS

    def hide_secrets(self, text: str) -> str:
        """`text` without the key, the query and its values, should a server or an error repeat them."""
        query = urlsplit(self.url).query
        secrets = {self.key or "", query, unquote_plus(query)}
        for pair in query.split("&"):
            value = pair.partition("=")[2] or pair
            plain = unquote_plus(value)
            secrets |= {each for each in (value, plain, quote(plain)) if len(each) >= _MIN_SECRET_LENGTH}
        for secret in sorted(secrets - {""}, key=len, reverse=True):
            text = text.replace(secret, _HIDDEN)
        return text

    def hide_key(self, text: str) -> str:
        """`text` without the key, where that is long enough to be nothing else."""
        if self.key is None or len(self.key) < _MIN_KEY_LENGTH:
            return text
        return text.replace(self.key, _HIDDEN)


def bare(url: str) -> str:
    """An address, or what should be one, without user, password, query and fragment."""
    return re.sub(r"(?<=//)[^/]*@", "", re.split(r"[?#]", url)[0])
