"""Steps that are run once: a finished one is skipped when the same command is started again."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from nha.core.system import atomic_path


class Steps:
    """Runs named steps once; `steps.json` records the settings, the seconds and the result of each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: dict[str, dict] = json.loads(path.read_text("utf-8")) if path.is_file() else {}

    def run(
        self,
        name: str,
        settings: str,
        folder: Path,
        action: Callable[[], object],
        *,
        replace: bool = True,
    ) -> dict:
        """Run a step unless an earlier run has finished it with the same settings.

        Args:
            name: the key of the step's record.
            settings: everything that the result depends on, as text.
            folder: the step's output, which is kept if the same step was interrupted.
            action: writes the folder, returns a value for JSON.
            replace: remove a folder that was written with other settings; False leaves it to the action, which refuses
                it or continues.

        Returns:
            The record: settings (a digest), seconds, result.
        """
        settings = hashlib.sha256(settings.encode()).hexdigest()
        record = self.records.get(name, {})
        if record.get("settings") != settings:
            if replace:
                shutil.rmtree(folder, ignore_errors=True)
            record = {"settings": settings}
            self._keep(name, record)
        if "seconds" in record and folder.exists():
            print(f"== {name}: done before ({record['seconds']:.0f} s)")
            return record
        print(f"== {name}")
        start = time.perf_counter()
        result = action()
        record = {"settings": settings, "seconds": round(time.perf_counter() - start, 2), "result": result}
        self._keep(name, record)
        return record

    def _keep(self, name: str, record: dict) -> None:
        self.records[name] = record
        with atomic_path(self.path) as temporary:
            temporary.write_text(json.dumps(self.records, indent=1), encoding="utf-8")
