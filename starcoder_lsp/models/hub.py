"""Ask the hub about a file before its download: commit, size, sha256, licence; and explain its refusals.

The hub answers `HEAD /REPO/resolve/REVISION/FILE` with `X-Repo-Commit`, `X-Linked-Size` and `X-Linked-Etag` (the sha256
of a large file) and a redirect to the host that has the bytes. `GET /api/models/REPO/revision/REVISION` lists the files
and the licence.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import quote

from attrs import frozen

from starcoder_lsp.models.catalogue import Source
from starcoder_lsp.models.environment import Environment
from starcoder_lsp.models.errors import ModelsError
from starcoder_lsp.models.transport import Client, Response, TransportError
from starcoder_lsp.printable import printable

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MAX_REDIRECTS: Final = 5
_MAX_LISTED: Final = 12
UNAUTHORIZED, FORBIDDEN, NOT_FOUND, TOO_MANY, FIRST_SERVER_ERROR = 401, 403, 404, 429, 500


class RefusedByHubError(ModelsError):
    """The hub refuses the file, and will refuse it again."""


class RevisionNotFoundError(RefusedByHubError):
    """The repository has no such revision."""


class EntryNotFoundError(RefusedByHubError):
    """The repository has no such file at this revision."""


@frozen
class RemoteFile:
    """A file as the hub describes it, at a commit. `sha256` is empty if the hub does not state it."""

    source: Source
    n_bytes: int
    sha256: str
    etag: str

    def url(self, endpoint: str) -> str:
        """Return the address from which it is downloaded, by way of a redirect."""
        return _resolve_url(endpoint, self.source)


@frozen
class Hub:
    """Requests to the hub by one HTTP client."""

    client: Client
    environment: Environment

    @property
    def headers(self) -> dict[str, str]:
        """The headers for the hub itself. The client drops them when it is redirected to another host."""
        token = self.environment.token
        return {"Authorization": f"Bearer {token}"} if token else {}

    async def describe(self, source: Source) -> RemoteFile:
        """Ask for commit, size and sha256 of a file. Raises `ModelsError` and `TransportError`."""
        url = _resolve_url(self.environment.endpoint, source)
        headers = self.headers
        for _ in range(_MAX_REDIRECTS):
            response = await self.client.head(url, headers=headers, follow_redirects=False)
            refuse(response, source)
            commit = response.headers.get("X-Repo-Commit")
            etag = response.headers.get("X-Linked-Etag") or response.headers.get("ETag") or ""
            size = response.headers.get("X-Linked-Size") or response.headers.get("Content-Length") or ""
            is_redirect = response.next_request is not None
            if not is_redirect or (commit and "X-Linked-Size" in response.headers):
                return _remote_file(source, commit, etag, size)
            assert response.next_request is not None  # noqa: S101  for the type checker
            following = response.next_request
            url, headers = str(following.url), {k: v for k, v in headers.items() if k in following.headers}
        message = f"{source}: the hub redirects again and again"
        raise RefusedByHubError(message)

    async def list_files(self, source: Source) -> tuple[tuple[str, ...], str]:
        """Return the files that can be pulled at a revision, and the key of the licence; empty if none is stated.

        These are the GGUF files and the vocabulary.
        """
        url = f"{self.environment.endpoint}/api/models/{source.repository}/revision/{quote(source.revision, safe='')}"
        response = await self.client.get(url, headers=self.headers, follow_redirects=True)
        refuse(response, source)
        try:
            answer: Any = response.json()
            names = [str(each["rfilename"]) for each in answer["siblings"]]
        except (ValueError, LookupError, TypeError) as error:
            message = f"{url} does not answer as the hub does; is HF_ENDPOINT right?"
            raise RefusedByHubError(message) from error
        card = answer.get("cardData")
        stated = card.get("license") if isinstance(card, dict) else None
        key = stated[0] if isinstance(stated, list) and stated else stated
        of_use = (n for n in names if n.endswith(".gguf") or Source(source.repository, "", n).is_vocabulary)
        return tuple(of_use), printable(str(key or ""))


def refuse(response: Response, source: Source) -> None:
    """Raise `RefusedByHubError` for an answer that no second try mends, `TransportError` for one that it may."""
    status, code = response.status_code, response.headers.get("X-Error-Code", "")
    where = f"{source.repository} on {response.url.host}"
    if status in {UNAUTHORIZED, FORBIDDEN}:
        if code == "GatedRepo":
            message = (
                f"{where} is gated: accept its conditions on https://huggingface.co/{source.repository}, make a token"
                " there, and set HF_TOKEN to it"
            )
        elif code == "RepoNotFound" or status == UNAUTHORIZED:
            message = f"there is no repository {where}, or it is private: check the name, or set HF_TOKEN"
        else:
            message = f"{where} refuses the download ({status}); check HF_TOKEN"
        raise RefusedByHubError(message)
    if status == NOT_FOUND:
        if code == "RevisionNotFound":
            message = f"{where} has no revision {source.revision}"
            raise RevisionNotFoundError(message)
        if code == "EntryNotFound":
            message = f"{where} has no file {source.file}"
            raise EntryNotFoundError(message)
        message = f"there is no {source} on {response.url.host}"
        raise RefusedByHubError(message)
    if status == TOO_MANY or status >= FIRST_SERVER_ERROR:
        what = "too many requests" if status == TOO_MANY else response.reason_phrase
        message = f"{response.url.host} answers {status} ({what})"
        raise TransportError(message)
    if status >= 400:  # noqa: PLR2004
        message = f"{response.url.host} answers {status} ({response.reason_phrase}) for {source}"
        raise RefusedByHubError(message)


def which_file(source: Source, names: tuple[str, ...]) -> ModelsError:
    """Return the error for a request that names no file, or a missing one. It lists the repository's files."""
    listed = ", ".join(names[:_MAX_LISTED]) + (", …" if len(names) > _MAX_LISTED else "")
    problem = f"has no file {source.file}" if source.file else "was named without a file"
    there = f"it has {listed}" if names else "it has no .gguf file and no tokenizer.json"
    return ModelsError(printable(f"{source.repository} {problem}; {there}. Name one as {source.repository}:FILE"))


def _remote_file(source: Source, commit: str | None, etag: str, size: str) -> RemoteFile:
    if not size.isdecimal() or not commit:
        message = f"{source}: the answer has no size and commit as the hub's has; is HF_ENDPOINT right?"
        raise RefusedByHubError(message)
    plain = etag.removeprefix("W/").strip('"').lower()
    sha256 = plain if _SHA256.fullmatch(plain) else ""
    return RemoteFile(Source(source.repository, commit, source.file), int(size), sha256, plain)


def _resolve_url(endpoint: str, source: Source) -> str:
    return f"{endpoint}/{source.repository}/resolve/{quote(source.revision, safe='')}/{quote(source.file)}"
