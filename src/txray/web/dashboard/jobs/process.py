"""The process that does the work: requests come in as lines of JSON, progress and outcomes go out as such."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from txray.errors import TxrayError, in_one_line
from txray.web.dashboard.jobs.tasks import WORK

_PATHS = ("out", "neurons", "postings")
"""Arguments that are files to write."""


def main(requests: TextIO, answers: TextIO) -> None:
    """Do what is asked until nothing more comes.

    Args:
        requests: one JSON object per line: `work`, a name of `WORK`, and `arguments`.
        answers: one JSON object per line: `progress` [done, all], `done` true, or `failed` with one line of text.
    """

    def say(**answer: Any) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    for line in requests:
        request = json.loads(line)
        arguments = {
            name: Path(value) if name in _PATHS else value for name, value in request["arguments"].items()
        }
        try:
            WORK[request["work"]](**arguments, advance=lambda done, of: say(progress=[done, of]))
        except BrokenPipeError:
            raise
        except TxrayError as error:
            say(failed=str(error))
        except MemoryError as error:
            say(failed=f"out of memory ({str(error) or 'no more given'}); serve fewer stages")
        except Exception as error:
            say(failed=f"unexpected {type(error).__name__}: {in_one_line(error)}; please report it")
        else:
            say(done=True)


if __name__ == "__main__":
    # Clicks come first. Where there is no such thing as niceness, they share.
    if hasattr(os, "nice") and len(sys.argv) > 1:
        os.nice(int(sys.argv[1]))
    # What libraries print must not come between the answers.
    own = sys.stdout
    sys.stdout = sys.stderr
    # Who asked may have gone meanwhile: then nobody waits for an answer.
    with suppress(BrokenPipeError):
        main(sys.stdin, own)
