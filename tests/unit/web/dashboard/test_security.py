"""Who is let in, and what pages may load."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from txray.web.dashboard.app import build
from txray.web.dashboard.result_store import ResultStore
from txray.web.dashboard.security import COOKIE, Guard, is_loopback

TOKEN = "a-token-that-nobody-guesses"
PATHS = (
    "/",
    "/neuron",
    "/dashboard.js",
    "/rows/neurons",
    "/export/neurons.csv",
    "/_dash-layout",
    "/_dash-dependencies",
)


@pytest.fixture
def exposed(store: ResultStore) -> FlaskClient:
    """A dashboard that other machines can reach."""
    return build(store, Guard(TOKEN)).server.test_client()


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("192.168.0.1", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("2130706433", False),
    ],
)
def test_loopback_addresses_are_told_from_others(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST", "localhost:8050", "127.0.0.1", "127.0.0.1:65535", "[::1]", "[::1]:8050"],
)
def test_names_of_this_machine_are_let_in(client: FlaskClient, host: str) -> None:
    assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8050", "localhost.evil.example", "192.168.0.7:8050", "0.0.0.0"]
)
def test_a_foreign_name_that_leads_here_is_refused(client: FlaskClient, path: str, host: str) -> None:
    answer = client.get(path, headers={"Host": host})
    assert answer.status_code == 403
    assert answer.text.startswith("txray: serves localhost only, not ")
    assert answer.mimetype == "text/plain"


@pytest.mark.parametrize("host", ["[::1", "[nonsense]", "a b", "<script>", "[::1]:x", "::1", "@", ""])
def test_a_malformed_name_is_refused_without_an_error(client: FlaskClient, host: str) -> None:
    assert client.get("/", headers={"Host": host}).status_code in (400, 403)


def test_a_foreign_name_cannot_call_back_either(client: FlaskClient) -> None:
    answer = client.post("/_dash-update-component", json={}, headers={"Host": "evil.example"})
    assert answer.status_code == 403


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("said", ["", "?token=", "?token=wrong", f"?token={TOKEN}x", "?token=%00é%ff"])
def test_without_the_token_nothing_is_answered(exposed: FlaskClient, path: str, said: str) -> None:
    answer = exposed.get(path + said, headers={"Host": "192.168.0.7:8050"})
    assert answer.status_code == 401
    assert "open the URL with the token" in answer.text
    assert "Set-Cookie" not in answer.headers


def test_the_token_becomes_a_cookie_that_scripts_and_other_sites_do_not_see(exposed: FlaskClient) -> None:
    answer = exposed.get(f"/feature?token={TOKEN}", headers={"Host": "192.168.0.7:8050"})
    assert answer.status_code == 302
    assert answer.headers["Location"] == "/feature"
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith(f"{COOKIE}={TOKEN};")
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert TOKEN not in answer.text


@pytest.mark.parametrize("path", PATHS)
def test_the_cookie_lets_in(exposed: FlaskClient, path: str) -> None:
    exposed.set_cookie(COOKIE, TOKEN)
    assert exposed.get(path).status_code in (200, 409)
    exposed.set_cookie(COOKIE, TOKEN[:-1])
    assert exposed.get(path).status_code == 401
    exposed.set_cookie(COOKIE, "ümläut")
    assert exposed.get(path).status_code == 401


@pytest.mark.parametrize("path", [*PATHS, "/missing.css"])
def test_pages_may_load_from_here_only_and_evaluate_nothing(client: FlaskClient, path: str) -> None:
    headers = client.get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert "unsafe-eval" not in headers["Content-Security-Policy"]
    assert "'unsafe-inline'" not in policy["script-src"]
    assert "'self'" in policy["script-src"]
    sources = {source for value in policy.values() for source in value.split()}
    allowed = ("'self'", "'none'", "'unsafe-inline'", "data:", "blob:")
    assert all(source in allowed or source.startswith("'sha256-") for source in sources)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_refusals_carry_the_policy_too(client: FlaskClient, exposed: FlaskClient) -> None:
    for answer in (client.get("/", headers={"Host": "evil.example"}), exposed.get("/")):
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_the_page_names_no_foreign_host(client: FlaskClient) -> None:
    text = client.get("/").text
    assert "http://" not in text
    assert "https://" not in text
    assert "//cdn" not in text


def test_a_page_of_another_site_sets_nothing_going(client: FlaskClient, exposed: FlaskClient) -> None:
    exposed.set_cookie(COOKIE, TOKEN)
    for each in (client, exposed):
        assert each.get("/", headers={"Origin": "http://localhost"}).status_code == 200
        for origin in ("https://evil.example", "null", "http://localhost:1"):
            answer = each.post("/_dash-update-component", json={}, headers={"Origin": origin})
            assert (answer.status_code, answer.text.count("\n")) == (403, 1)


def test_the_view_outlives_the_token_in_an_address(exposed: FlaskClient) -> None:
    answer = exposed.get("/neuron", query_string={"neuron": "3", "token": TOKEN, "prefers": "a&b"})
    assert answer.headers["Location"] == "/neuron?neuron=3&prefers=a%26b"
