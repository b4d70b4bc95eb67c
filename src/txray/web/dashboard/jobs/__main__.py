"""The program of a `JobWorker`: it runs the tasks that its standard input requests, one by one."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from txray.errors import TxrayError, in_one_line
from txray.web.dashboard.jobs.tasks import TASKS


def main(requests: TextIO, answers: TextIO) -> None:
    """Run tasks until no more are requested; requests and answers are lines of JSON, see `worker`."""

    def send(**answer: Any) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    for line in requests:
        request = json.loads(line)
        try:
            TASKS[request["task"]](
                Path(request["out"]),
                **request["arguments"],
                advance=lambda done, total: send(progress=[done, total]),
            )
        except BrokenPipeError:
            raise
        except TxrayError as error:
            send(error=str(error))
        except MemoryError as error:
            send(error=f"out of memory ({str(error) or 'no details'}); serve fewer stages")
        except Exception as error:
            send(error=f"unexpected {type(error).__name__}: {in_one_line(error)}; please report it")
        else:
            send(done=True)


if __name__ == "__main__":
    # Requests of the browser come first. Where there is no such thing as niceness, they share.
    if hasattr(os, "nice"):
        os.nice(int(sys.argv[1]))
    # What libraries print must not get between the answers.
    stdout = sys.stdout
    sys.stdout = sys.stderr
    # The server may be gone by now.
    with suppress(BrokenPipeError):
        main(sys.stdin, stdout)
