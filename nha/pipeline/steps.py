"""Steps that are run once: a finished one is skipped when the same command is started again."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from nha.core.json_file import read_json_object, write_json
from nha.core.manifest import Manifest
from nha.core.output_folder import remove_own_output
from nha.data.dataset_folder import DatasetFolder
from nha.data.frame_store import remove_caches


class Steps:
    """Runs named steps once; `steps.json` records the settings, the seconds and the result of each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        content = read_json_object(path)
        self.records: dict[str, dict] = {name: row for name, row in content.items() if isinstance(row, dict)}

    def run(
        self,
        name: str,
        settings: str,
        folder: Path,
        action: Callable[[], object],
        *,
        replace: bool = True,
        outputs: Sequence[Path] = (),
    ) -> dict:
        """Run a step unless an earlier run has finished it with the same settings.

        Args:
            name: the key of the step's record.
            settings: everything that the result depends on, as text.
            folder: the step's output, which is kept if the same step was interrupted.
            action: writes the folder, returns a value for JSON.
            replace: remove the step's own files if they were written with other settings; False leaves them to the
                action, which refuses them or continues.
            outputs: files in the folder; where one is not as the step wrote it, the step is not finished, whatever its
                record says.

        Returns:
            The record: settings (a digest), seconds, result.
        """
        settings = hashlib.sha256(settings.encode()).hexdigest()
        record = self.records.get(name, {})
        if record.get("settings") != settings:
            if replace:
                remove_step(folder)
            record = {"settings": settings}
            self._keep(name, record)
        if _is_finished(record) and folder.is_dir() and all(map(Manifest(folder).owns, outputs)):
            print(f"== {name}: done before ({record['seconds']:.0f} s)", flush=True)
            return record
        print(f"== {name}", flush=True)
        start = time.perf_counter()
        result = action()
        record = {"settings": settings, "seconds": round(time.perf_counter() - start, 2), "result": result}
        self._keep(name, record)
        return record

    def _keep(self, name: str, record: dict) -> None:
        self.records[name] = record
        write_json(self.path, self.records)


def _is_finished(record: dict) -> bool:
    seconds = record.get("seconds")
    return isinstance(seconds, (int, float)) and 0 <= seconds < math.inf and "result" in record


def remove_step(folder: Path) -> None:
    """Remove what a step has written; other files in its folder stay."""
    remove_caches(DatasetFolder(folder))
    remove_own_output(folder)
