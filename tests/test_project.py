"""Rules of the house that a machine can check: what no source may contain, and what every script answers."""

from __future__ import annotations

import ast
import functools
import json
import re
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PROGRAM_FOLDERS = ("nha", "python_scripts", "deps", "benchmarks")
PROGRAM = sorted(path for folder in PROGRAM_FOLDERS for path in (ROOT / folder).rglob("*.py"))
SOURCES = [*PROGRAM, *sorted((ROOT / "tests").rglob("*.py"))]
SCRIPTS = sorted((ROOT / "python_scripts").glob("*.py")) + sorted((ROOT / "deps").glob("*/optimize_*.py"))

MAX_LINES = 300
# A longer file needs a reason. Path from the top folder -> reason.
LONGER_FILES: dict[str, str] = {}

ABSOLUTE_PATH = re.compile(r"(/[A-Za-z]\w*){2,}|/(tmp|home|root|usr|opt|mnt|var|etc|work)\b|[A-Za-z]:\\")


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), filename=str(path), feature_version=(3, 10))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def docstrings(tree: ast.AST) -> set[int]:
    """Ids of the constants that are docstrings."""
    nodes = (
        node
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
    )
    bodies = (node.body[0] for node in nodes if node.body)
    return {id(first.value) for first in bodies if isinstance(first, ast.Expr)}


def dotted(node: ast.AST) -> str:
    """`pickle.load` of the expression that spells it, else what can be told of it."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def has_keyword(call: ast.Call, name: str, value: object) -> bool:
    return any(
        keyword.arg == name and isinstance(keyword.value, ast.Constant) and keyword.value.value is value
        for keyword in call.keywords
    )


def imported_modules(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node, node.module or ""


def torchvision(tree: ast.AST) -> Iterator[ast.AST]:
    return (node for node, module in imported_modules(tree) if module.split(".")[0] == "torchvision")


def star_import(tree: ast.AST) -> Iterator[ast.AST]:
    imports = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    return (node for node in imports if any(alias.name == "*" for alias in node.names))


def changed_module_path(tree: ast.AST) -> Iterator[ast.AST]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and dotted(node) == "sys.path")


def absolute_path(tree: ast.AST) -> Iterator[ast.AST]:
    skipped = docstrings(tree)
    constants = (
        node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in skipped
    )
    return (node for node in constants if isinstance(node.value, str) and ABSOLUTE_PATH.match(node.value))


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def shell_command(tree: ast.AST) -> Iterator[ast.AST]:
    return (
        call
        for call in calls(tree)
        if has_keyword(call, "shell", True)
        or dotted(call.func)
        in ("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput")
    )


def unsafe_reading(tree: ast.AST) -> Iterator[ast.AST]:
    """Calls that run what a file names: pickle, and numpy's and PyTorch's readers where they unpickle."""
    for call in calls(tree):
        function = dotted(call.func)
        if (
            function in ("pickle.load", "pickle.loads", "eval", "exec", "joblib.load", "dill.load")
            or (function.endswith("np.load") and has_keyword(call, "allow_pickle", True))
            or (function == "torch.load" and not has_keyword(call, "weights_only", True))
        ):
            yield call


def fixed_device(tree: ast.AST) -> Iterator[ast.AST]:
    return (call for call in calls(tree) if isinstance(call.func, ast.Attribute) and call.func.attr == "cuda")


def unchecked_json(tree: ast.AST) -> Iterator[ast.AST]:
    """JSON that may hold NaN, or is read from what need not be a regular file: `nha.core.json_file` is for both."""
    for call in calls(tree):
        function = dotted(call.func)
        of_file = call.args and isinstance(call.args[0], ast.Call) and "read" in dotted(call.args[0].func)
        if (
            function in ("json.dump", "json.load")
            or (function == "json.dumps" and not has_keyword(call, "allow_nan", False))
            or (function == "json.loads" and of_file)
        ):
            yield call


Rule = Callable[[ast.AST], Iterator[ast.AST]]
RULES: list[Rule] = [
    torchvision, star_import, changed_module_path, absolute_path, shell_command, unsafe_reading, fixed_device,
    unchecked_json,
]  # fmt: skip
RULES_FOR_TESTS: list[Rule] = [torchvision, star_import, changed_module_path, shell_command]


def test_there_is_something_to_check():
    assert len(PROGRAM) > 20
    assert {"nha/core/config.py", "nha/optimization/datamodule.py"} <= {name_of(path) for path in PROGRAM}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"no_{rule.__name__}")
def test_no_source_contains(rule):
    found = [
        f"{name_of(path)}:{node.lineno}"
        for path in (SOURCES if rule in RULES_FOR_TESTS else PROGRAM)
        for node in rule(parsed(path))
    ]
    assert not found


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (torchvision, "import torchvision.models"),
        (torchvision, "def f():\n    from torchvision import io"),
        (star_import, "from os import *"),
        (changed_module_path, "import sys\nsys.path.append('x')"),
        (absolute_path, "x = '/tmp/cache'"),
        (absolute_path, "x = f'/home/{name}'"),
        (shell_command, "subprocess.run(f'ls {x}', shell=True)"),
        (shell_command, "os.system('ls')"),
        (unsafe_reading, "pickle.load(file)"),
        (unsafe_reading, "np.load(path, allow_pickle=True)"),
        (unsafe_reading, "torch.load(path)"),
        (unsafe_reading, "torch.load(path, weights_only=False)"),
        (fixed_device, "tensor.cuda()"),
        (unchecked_json, "json.dump(content, file)"),
        (unchecked_json, "path.write_text(json.dumps(content, indent=1))"),
        (unchecked_json, "json.loads(path.read_text())"),
    ],
)
def test_the_rules_see_what_they_forbid(rule, source):
    assert list(rule(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    [
        "'''Reads /tmp/x/y.'''",
        "x = a / b",
        "x = '/'",
        "torch.load(path, weights_only=True)",
        "np.load(path, allow_pickle=False)",
        "subprocess.run(['ls'])",
    ],
)
def test_the_rules_leave_the_rest_alone(source):
    assert not [node for rule in RULES for node in rule(ast.parse(source))]


def test_long_files_have_a_reason():
    lines = {name_of(path): len(path.read_text("utf-8").splitlines()) for path in PROGRAM}
    assert {name: n for name, n in lines.items() if n > MAX_LINES and name not in LONGER_FILES} == {}
    assert [name for name in LONGER_FILES if lines.get(name, 0) <= MAX_LINES] == [], (
        "no reason is needed any more"
    )


def test_sources_are_python_3_10():
    for path in SOURCES:
        parsed(path)  # raises SyntaxError for what came later


def test_packages_import_only_downwards():
    linter = Path(sys.executable).with_name("lint-imports")
    if not linter.is_file():
        pytest.skip("import-linter is not installed beside this Python; `make env` installs it")
    done = subprocess.run([linter, "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def leave_code(script: Path, monkeypatch, *arguments: str) -> int:
    """Run a script in this process, where PyTorch is loaded already, and return its exit code."""
    monkeypatch.setattr(sys, "argv", [str(script), *arguments])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(script), run_name="__main__")
    return left.value.code


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_every_script_answers_help(script, monkeypatch, capsys):
    assert leave_code(script, monkeypatch, "--help") == 0
    printed = capsys.readouterr()
    assert "usage:" in printed.out
    assert printed.err == ""


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_every_script_refuses_an_unknown_setting_in_one_line(script, monkeypatch, capsys):
    assert leave_code(script, monkeypatch, "--no_such_setting_anywhere", "1") == 2
    error = capsys.readouterr().err
    assert re.fullmatch(r"error: unknown setting 'no_such_setting_anywhere'.*\n", error)


@pytest.mark.parametrize("whose", ["published", "ours"])
@pytest.mark.parametrize(
    ("script", "ini"),
    [
        ("deps/video-head-tracker/optimize_tracking.py", "tracking.ini"),
        ("python_scripts/optimize_nha.py", "optimize_avatar.ini"),
        ("python_scripts/reenact_avatar.py", "reenactment.ini"),
    ],
)
def test_scripts_accept_every_key_of_the_configurations(script, ini, whose, request, monkeypatch, capsys):
    shared = request.getfixturevalue("shared_dir") / "published_configs" if whose == "published" else None
    folder = shared or ROOT / "configs"
    # The placeholders of the files lead nowhere: that must be the only complaint.
    assert leave_code(ROOT / script, monkeypatch, "--config", str(folder / ini), "--device", "cpu") == 2
    error = capsys.readouterr().err
    # the configurations name files that nobody has: the first of them is what the script stumbles over
    assert re.fullmatch(r"error: .*(PATH|path|tracking-results).*\n", error)
    assert not re.search(r"setting|unexpected argument", error)


def test_the_lock_pins_every_core_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    core = [re.split("[=<>]", requirement)[0].lower() for requirement in project["dependencies"]]
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    pinned = {name.lower() for name in re.findall(r"^(?:# )?([\w-]+)==", lock, re.MULTILINE)}
    assert set(core) <= pinned
    assert "torchvision" not in pinned | set(core)


@pytest.mark.parametrize("name", ["body_part_weights.json", "split.json"])
def test_our_json_configurations_are_valid(name):
    content = json.loads((ROOT / "configs" / name).read_text("utf-8"))
    assert content.keys() >= {"body_part_weights.json": {"mlp"}, "split.json": {"train", "val"}}[name]


def test_body_part_weights_are_the_published_ones(shared_dir):
    published = json.loads((shared_dir / "published_configs" / "body_part_weights.json").read_text("utf-8"))
    assert json.loads((ROOT / "configs" / "body_part_weights.json").read_text("utf-8")) == published
