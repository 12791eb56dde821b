"""Play with an avatar in the browser: free camera, sliders for face and head, the video's motion, films and pictures.

The picture is the avatar's own neural rendering, small while something moves and in full when it rests. The page and
everything on it come from this machine; nothing is fetched from elsewhere.

From another machine: ssh -L 8080:127.0.0.1:8080 NAME, start the viewer there, open http://127.0.0.1:8080 here.
"""

from __future__ import annotations

from nha.core.config import parse_settings
from nha.core.system import run_script


def main() -> None:
    """Parse the settings and serve until Ctrl-C."""
    from nha.viewer.app import view_avatar
    from nha.viewer.settings import ViewerSettings

    view_avatar(parse_settings(ViewerSettings, description=__doc__))


if __name__ == "__main__":
    run_script(main)
