"""Check requests (from this machine only, or with a token), and restrict what pages may load."""

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
    """Return whether a host, a name or an address, can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def refused(code: int, text: str) -> Response:
    """Return the response to a refused request: one line."""
    return Response(f"txray: {text}\n", status=code, mimetype="text/plain")


@dataclass(frozen=True)
class Guard:
    """A check of all requests to a server.

    Attributes:
        token: required in the URL or the cookie of a request; None if only this machine can connect.
    """

    token: str | None

    def watch(self, server: Flask, scripts: Sequence[str]) -> None:
        """Check every request to a server, and send a content security policy with every response."""
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
        """Return the response to a request that is refused; None for all others."""
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            # Pages of other sites cannot read responses, but must not start jobs either.
            return refused(403, f"serves its own pages only, not those of {origin!r}")
        if self.token is None:
            # DNS rebinding: another site's name may point to this machine.
            host = urlsplit(f"//{request.host}").hostname or ""
            if is_loopback(host):
                return None
            return refused(403, f"serves localhost only, not {host!r}; serve with --host to allow others")
        token = request.args.get("token")
        if token is not None and self._fits(token):
            # The other parameters are the state of the page.
            rest = urlencode(
                [(name, value) for name, value in request.args.items(multi=True) if name != "token"]
            )
            answer = redirect(f"{request.path}?{rest}" if rest else request.path)
            answer.set_cookie(COOKIE, self.token, httponly=True, samesite="Strict", max_age=7 * 86_400)
            return answer
        if self._fits(request.cookies.get(COOKIE, "")):
            return None
        return refused(401, "open the URL with the token that 'txray serve' printed")

    def _fits(self, token: str) -> bool:
        return self.token is not None and hmac.compare_digest(token.encode(), self.token.encode())
