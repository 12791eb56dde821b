"""The files of a tracking run, and whether a folder holds those of this program."""

from __future__ import annotations

from pathlib import Path

from nha.core.errors import UserError
from nha.core.json_file import read_json_object
from nha.core.manifest import MANIFEST_FILE
from nha.core.output_folder import require_own
from nha.data.tracking_file import TRACKING_FILE_NAMES

RESULT_FILE = TRACKING_FILE_NAMES[0]
PROGRESS_FILE = "tracking_progress.json"
REPORT_FILE = "tracking_report.json"
VIDEO_FILE = "tracking.mp4"
PERSON_FILE = "tracking_person.npz"


def require_own_output(folder: Path) -> Path:
    """Create the folder of a run where it does not exist. Raises UserError for one with files from elsewhere."""
    is_ours = (folder / PROGRESS_FILE).exists() or (folder / MANIFEST_FILE).exists()
    if (folder / RESULT_FILE).exists() and not is_ours:
        raise UserError(
            f"'{folder}' holds a tracking of another program or version ({RESULT_FILE} without {PROGRESS_FILE}); "
            "choose another --out"
        )
    return require_own(folder, files_of_earlier_versions)


def files_of_earlier_versions(folder: Path) -> list[str]:
    """The files of a run whose version of this program kept no manifest; empty for a folder from elsewhere."""
    if not read_json_object(folder / PROGRESS_FILE).keys() >= {"settings", "frame_ids"}:
        return []
    names = (RESULT_FILE, PROGRESS_FILE, REPORT_FILE, VIDEO_FILE, PERSON_FILE)
    return [name for name in names if (folder / name).is_file()]
