"""Settings that belong to a folder: a run resumes with the same settings, and others are refused."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from txray.errors import UsageError
from txray.files import TEMP_PREFIX


@dataclass(frozen=True)
class SettingsLock:
    """The settings of a run, checked against those stored in its folder.

    The caller reads and writes the file, which may hold more than settings. It stores `lock.settings` and passes what
    it reads to `require_same`.

    Attributes:
        folder: folder of the run.
        file: name of the file in it that stores the settings.
        settings: everything the result depends on; kept as plain JSON values, as they are read back from a file.
        content: noun phrase for messages, such as `a training`.
        opaque: names of settings that are fingerprints; messages name them without their values.
    """

    folder: Path
    file: str
    settings: Mapping[str, Any]
    content: str
    opaque: Collection[str] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", json.loads(json.dumps(self.settings)))

    @property
    def path(self) -> Path:
        """Return the path of the file."""
        return self.folder / self.file

    def is_stored(self) -> bool:
        """Return whether the folder belongs to a run of this kind.

        Raises:
            UsageError: there is no such file, and the folder holds other files, or is a file.
        """
        if self.path.is_file():
            return True
        if self.folder.exists() and not (
            self.folder.is_dir() and all(path.name.startswith(TEMP_PREFIX) for path in self.folder.iterdir())
        ):
            raise UsageError(f"{self.folder}: does not hold {self.content}; use a new or empty folder")
        return False

    def require_same(self, stored: Mapping[str, Any], *, ignore_unknown: bool = False) -> None:
        """Refuse to resume with other settings.

        Args:
            stored: settings read from the folder.
            ignore_unknown: whether to skip settings that only one side has, such as those of another version.

        Raises:
            UsageError: a setting differs; the message names it, with dots between nested names.
        """
        difference = self._difference(stored, self.settings, "", ignore_unknown)
        if difference:
            raise UsageError(
                f"{self.folder}: holds {self.content} {difference}; "
                "use the same settings to resume, or another folder"
            )

    def _difference(
        self, stored: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str, ignore_unknown: bool
    ) -> str:
        names = stored.keys() & wanted.keys() if ignore_unknown else stored.keys() | wanted.keys()
        for name in sorted(names):
            old, new = stored.get(name), wanted.get(name)
            if old == new:
                continue
            path = f"{prefix}{name}"
            if isinstance(old, dict) and isinstance(new, dict):
                if difference := self._difference(old, new, f"{path}.", ignore_unknown):
                    return difference
            elif path.partition(".")[0] in self.opaque:
                return f"that differs in {path}"
            else:
                return f"with {path}={old!r} (requested: {new!r})"
        return ""
