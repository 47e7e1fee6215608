"""OCI image references, by the grammar of the distribution project.

https://github.com/distribution/reference/blob/main/regexp.go
"""

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

MAX_NAME = 255
"""Longest repository name with its registry, in characters, as the distribution project has it."""

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_HOST_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = rf"(?:{_HOST_LABEL}(?:\.{_HOST_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PATTERN = (
    rf"(?P<name>(?:(?P<host>{_HOST})/)?(?P<path>{_COMPONENT}(?:/{_COMPONENT})*))"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>(?:sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})))?"
)
_REFERENCE = re.compile(_PATTERN)
_HEX_ID = re.compile(r"[a-f0-9]{64}")


@dataclass(frozen=True, slots=True)
class ImageReference:
    """A parsed reference, completed as container runtimes complete it.

    `nginx` becomes registry `docker.io`, repository `library/nginx`, tag `latest`.
    """

    registry: str
    repository: str
    tag: str
    digest: str

    @property
    def canonical(self) -> str:
        """The one spelling of this reference, for comparison with what a node reports."""
        name = f"{self.registry}/{self.repository}"
        return f"{name}@{self.digest}" if self.digest else f"{name}:{self.tag}"


def parse_image(text: str) -> ImageReference:
    """Parse a reference.

    Raises:
        ValueError: `text` is not a valid OCI reference; the message says why.
    """
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise ValueError("not a valid image reference: expected [registry[:port]/]repository[:tag][@sha256:digest]")
    if len(match["name"]) > MAX_NAME:
        raise ValueError(f"the repository name is longer than {MAX_NAME} characters")
    if _HEX_ID.fullmatch(match["name"]):
        raise ValueError("64 hexadecimal characters are an image id, not a reference")
    host, path = match["host"], match["path"]
    if host and not ("." in host or ":" in host or host == "localhost" or host != host.lower()):
        # Without a dot or a port the first component is part of a Docker Hub repository.
        host, path = "", f"{host}/{path}"
    if not host or host == "index.docker.io":
        host = "docker.io"
    if host == "docker.io" and "/" not in path:
        path = f"library/{path}"
    digest = match["digest"] or ""
    return ImageReference(host, path, match["tag"] or ("" if digest else "latest"), digest)


def _image(text: str) -> str:
    parse_image(text)
    return text


Image = Annotated[
    str,
    StringConstraints(min_length=1, max_length=512),
    AfterValidator(_image),
    Field(json_schema_extra={"pattern": f"^{re.sub('[?]P<[a-z]+>', '?:', _PATTERN)}$"}),
]
