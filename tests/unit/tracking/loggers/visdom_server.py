"""A server of Visdom on this machine alone, which fetches nothing: `python visdom_server.py PORT FOLDER`."""

from __future__ import annotations

import sys

from visdom.server.run_server import start_server

if __name__ == "__main__":
    # By its own command it would first download the scripts of its page.
    start_server(
        port=int(sys.argv[1]), hostname="127.0.0.1", base_url="", env_path=sys.argv[2], bind_local=True
    )
