"""Callbacks, asked as Dash asks them."""

from __future__ import annotations

import time
from typing import Any

from flask.testing import FlaskClient

from tests.unit.web.dashboard.conftest import DEADLINE
from txray.web.dashboard.url_state import UrlState


class Callbacks:
    """The callbacks of a dashboard that run on the server."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client
        self.known = [
            each for each in client.get("/_dash-dependencies").json if not each["clientside_function"]
        ]

    def call(self, output: str, view: UrlState, **values: Any) -> dict[str, dict[str, Any]] | None:
        """The answer of the callback that fills an output: id -> property -> value; None where nothing changes.

        Args:
            output: id and property.
            view: what the address says.
            values: of inputs, by id; those of the address come from the view.
        """
        (callback,) = (each for each in self.known if output in each["output"].strip(".").split("..."))
        given = {"pathname": view.path, "search": view.search, "theme": "light", "version": "1", **values}

        def filled(part: dict[str, Any]) -> dict[str, Any]:
            value = given.get(part["property"], given.get(part["id"]))
            return {**part, "value": value}

        names = callback["output"]
        many = names.startswith("..")
        outputs = [
            dict(zip(("id", "property"), name.rsplit(".", 1), strict=True))
            for name in names.strip(".").split("...")
        ]
        answer = self.client.post(
            "/_dash-update-component",
            json={
                "output": names,
                "outputs": outputs if many else outputs[0],
                "inputs": [filled(each) for each in callback["inputs"]],
                "state": [filled(each) for each in callback["state"]],
                "changedPropIds": [values.get("triggered", "url.search")],
            },
        )
        if answer.status_code == 204:
            return None
        assert answer.status_code == 200, answer.text
        assert answer.json is not None
        found: dict[str, dict[str, Any]] = answer.json["response"]
        return found or None


def figure(callbacks: Callbacks, name: str, view: UrlState, **values: Any) -> dict[str, Any]:
    """What the callback of a picture fills in, once nothing is waited for any more."""
    end = time.monotonic() + DEADLINE
    while True:
        found = callbacks.call(f"{name}-figure.figure", view, **values)
        assert found is not None
        problem = found[f"{name}-problem"]
        if problem["className"] != "empty":
            break
        assert time.monotonic() < end, problem["children"]
        time.sleep(0.02)
    return {
        "figure": found[f"{name}-figure"]["figure"],
        "style": found[f"{name}-figure"]["style"],
        "finding": found[f"{name}-finding"]["children"],
        "note": found[f"{name}-note"]["children"],
        "problem": problem["children"],
        "kind": problem["className"],
        "hidden": found[f"{name}-card"]["hidden"],
    }
