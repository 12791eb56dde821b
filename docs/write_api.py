"""Writes `docs/api.md` from the docstrings of the public names: `python docs/write_api.py`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import nha

API = Path(__file__).resolve().parent / "api.md"

INTRODUCTION = """\
# Python API

Public names of the package `nha`, written by `docs/write_api.py` from the docstrings. Names are loaded when they
are first used; `import nha` alone imports none of the large libraries. An error that the caller can correct is a
`UserError` with one line that says what is wrong and what to do.

Shapes: N frames, H x W pixels, S identity and E expression coefficients. Images are NCHW; `rgb01` is in 0..1.
Angles are radians, lengths metres. Coordinates: `docs/method.md`, section 2.

For extensions: loss terms `nha/losses/terms.py`, networks of the avatar `nha/avatar/open.py`, estimators
`nha/preprocess/registry.py`, choice of the rasteriser `nha/render/rasterize.py`.

"""

EXAMPLES = {
    "BlendAvatar": "weights = avatar.shape_coefficients(avatar.scaled_drive(params))  # [N, S]",
    "HeadAvatar": "image = avatar.render(params, camera).rgb01  # [N, 3, H, W]",
    "Camera": "camera = nha.Camera(intrinsics, extrinsics, (512, 512))  # [N, 3, 3], [N, 3, 4]",
    "HeadParams": "params = params.replace(jaw=params.jaw + 0.2)  # a copy with another jaw",
    "NeuralHeadAvatar": "offsets = avatar.offsets(params.neck)  # [N, V, 3] metres",
    "Tracking": "params, camera = tracking.params(10), tracking.camera(10, image_size=(256, 256))",
    "UserError": """\
try:
    avatar = nha.load_avatar("me/avatar/avatar.ckpt")
except nha.UserError as error:
    print(error)""",
    "evaluate": 'means = nha.evaluate("me/avatar/avatar.ckpt", "me/dataset", "me/tracking", split="val")',
    "export": 'nha.export(avatar, "me/export", tracking=tracking, formats=["glb"])',
    "load_avatar": 'avatar = nha.load_avatar("me/avatar/avatar.ckpt", device="cuda")',
    "load_head": 'assets = nha.load_head("procedural")',
    "load_tracking": 'tracking = nha.load_tracking("me/tracking")',
    "make": 'made = nha.make("talk.mp4", "me", quality="draft"); avatar = nha.load_avatar(made.avatar)',
    "optimize_avatar": 'avatar = nha.optimize_avatar("me/dataset", "me/tracking", "me/avatar", config="demo")',
    "preprocess": 'dataset = nha.preprocess("talk.mp4", "me/dataset", scale=512, crop_to_head=True)',
    "reenact": 'nha.reenact("me/avatar/avatar.ckpt", "me/tracking", "me/by_friend", driving_video="friend.mp4")',
    "track": 'tracking = nha.track(dataset, "me/tracking", head="procedural")',
    "train": 'avatar = nha.train(dataset, tracking, "me/avatar", config="demo", device="cpu")',
}


def entries() -> Iterator[str]:
    """Each public name as Markdown: signature and docstring; for a class also its public methods."""
    for name in sorted(nha.__all__, key=str.lower):
        yield entry(name, getattr(nha, name), "##")


def entry(name: str, value: object, heading: str) -> str:
    """One name as Markdown."""
    parts = [f"{heading} `{name}`"]
    if callable(value) and not (inspect.isclass(value) and issubclass(value, Exception)):
        parts.append(f"```python\n{name}{signature(value)}\n```")
    parts.append(as_markdown(inspect.getdoc(value) or ""))
    if name in EXAMPLES:
        parts.append(f"**Example**\n\n```python\n{EXAMPLES[name]}\n```")
    if inspect.isclass(value) and heading == "##":
        for method, function in vars(value).items():
            wrapped = isinstance(function, (classmethod, staticmethod))
            function = function.__func__ if wrapped else function
            if not method.startswith("_") and inspect.isfunction(function) and function.__doc__:
                parts.append(entry(f"{name}.{method}", function, "###"))
    return "\n\n".join(part for part in parts if part)


def signature(function: object) -> str:
    """The signature, one argument per line where it is long; annotations as they are written in the source."""
    found = inspect.signature(function)
    arguments, starred = [], False
    for p in found.parameters.values():
        if p.name in ("self", "cls"):
            continue
        if p.kind is p.KEYWORD_ONLY and not starred:
            arguments.append("*")
            starred = True
        stars = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        annotation = "" if p.annotation is p.empty else f": {written(p.annotation)}"
        default = "" if p.default is p.empty else f"{' = ' if annotation else '='}{p.default!r}"
        arguments.append(f"{stars}{p.name}{annotation}{default}")
    result = found.return_annotation
    returns = "" if result in (found.empty, None, "None") else f" -> {written(result)}"
    line = f"({', '.join(arguments)}){returns}"
    if len(line) <= 80:
        return line
    return "(\n" + "".join(f"    {argument},\n" for argument in arguments) + f"){returns}"


def written(annotation: object) -> str:
    """An annotation as text."""
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def as_markdown(docstring: str) -> str:
    """A Google-style docstring with its sections as bold lines and their entries as lists."""
    lines: list[str] = []
    fenced = in_list = False
    for line in docstring.splitlines():
        section = re.fullmatch(r"(Args|Attributes|Returns|Raises|Yields|Example|Examples):", line)
        if section:
            lines += [f"**{section[1]}**", ""]
            in_list = section[1] in ("Args", "Attributes", "Raises")
            fenced = section[1].startswith("Example")
            if fenced:
                lines.append("```python")
            continue
        if fenced and line and not line.startswith(" "):
            lines += ["```", ""]
            fenced = False
        if fenced:
            lines.append(line[4:])
        elif in_list and re.match(r"    \S+.*?: ", line):
            key, text = line.strip().split(": ", 1)
            lines.append(f"- `{key}`: {text}")
        else:
            lines.append("  " + line.strip() if in_list and line.startswith("     ") else line.strip())
            in_list = in_list and (not line or line.startswith(" "))
    while fenced and not lines[-1]:
        lines.pop()
    return "\n".join([*lines, *(["```"] if fenced else [])]).strip()


def main() -> None:
    """Write the file."""
    API.write_text(INTRODUCTION + "\n\n".join(entries()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
