"""Who may ask: only this machine, or whoever knows the token; and what the page may load."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlencode, urlsplit

from flask import Flask, Response, redirect, request
from werkzeug.wrappers import Response as AnyResponse

COOKIE = "txray-token"


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only.

    Args:
        host: a name or an address.
    """
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def refused(code: int, text: str) -> Response:
    """The answer to a request that cannot be answered: one line.

    Args:
        code: HTTP status.
        text: what is wrong.
    """
    return Response(f"txray: {text}\n", status=code, mimetype="text/plain")


@dataclass(frozen=True)
class Guard:
    """What every request is checked for.

    Attributes:
        token: that a request must know, in its address or its cookie; None where only this machine can ask.
    """

    token: str | None

    def watch(self, server: Flask, scripts: Sequence[str]) -> None:
        """Check every request of a server, and tell browsers what its pages may load.

        Args:
            server: of the dashboard.
            scripts: hashes of inline scripts, as in a content security policy.
        """
        policy = (
            f"default-src 'none'; script-src 'self' {' '.join(scripts)}; style-src 'self' 'unsafe-inline'; "
            "img-src 'self' data: blob:; connect-src 'self'; font-src 'self' data:; base-uri 'none'; "
            "form-action 'none'"
        )
        server.before_request(self._refusal)

        @server.after_request
        def _headers(response: Response) -> Response:
            response.headers["Content-Security-Policy"] = policy
            response.headers["X-Content-Type-Options"] = "nosniff"
            response.headers["Referrer-Policy"] = "no-referrer"
            response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
            return response

    def _refusal(self) -> AnyResponse | None:
        """The answer to a request that is not let in; None for all others."""
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            # A page of another site, that cannot read the answer, must not set anything going, either.
            return refused(403, f"answers to its own pages only, not to those of {origin!r}")
        if self.token is None:
            # Another site's name that points to this machine must not read what it serves.
            host = urlsplit(f"//{request.host}").hostname or ""
            if is_loopback(host):
                return None
            return refused(
                403, f"answers to localhost only, not to {host!r}; serve with --host to allow others"
            )
        given = request.args.get("token")
        if given is not None and self._fits(given):
            # The rest of the address is the view.
            rest = urlencode(
                [(name, value) for name, value in request.args.items(multi=True) if name != "token"]
            )
            answer = redirect(f"{request.path}?{rest}" if rest else request.path)
            answer.set_cookie(COOKIE, self.token, httponly=True, samesite="Strict", max_age=7 * 86_400)
            return answer
        if self._fits(request.cookies.get(COOKIE, "")):
            return None
        return refused(401, "open the address with its token, as 'txray serve' printed it")

    def _fits(self, given: str) -> bool:
        return self.token is not None and hmac.compare_digest(given.encode(), self.token.encode())
