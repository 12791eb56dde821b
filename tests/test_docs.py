"""The documents agree with the package: paths and sections that are named exist, public names are described."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from pathlib import Path

import pytest
import torch

import nha
from nha.losses.terms import TERMS

ROOT = Path(__file__).resolve().parent.parent
FOLDERS_WITH_README = ("assets", "benchmarks", "deps/video-head-tracker")
DOCUMENTS = [ROOT / "README.md", *(ROOT / folder / "README.md" for folder in FOLDERS_WITH_README)]
DOCUMENTS += sorted((ROOT / "docs").glob("*.md"))
PACKAGE_SOURCES = [
    path
    for folder in ("nha", "python_scripts", "deps", "benchmarks", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
METHOD = (ROOT / "docs" / "method.md").read_text("utf-8")

NAMED_PATH = re.compile(r"\b(?:nha|configs|docs|benchmarks|python_scripts|jupyter_notebooks|deps)/[\w./-]*\w")
CITED_SECTIONS = re.compile(r"`docs/method\.md`,?\s+sections?\s+(\d(?:(?:,| and|, and)\s+\d)*)")
OLD_CITATION = re.compile(r"\b[Mm]ethod,\s+sections?\s+\d")
SHAPE = re.compile(r"\[[^\]\n]*\]")
UNIT = re.compile(r"metre|radian|degree|pixel|0\.\.1|-1\.\.1|axis-angle|coefficient|\bids?\b", re.IGNORECASE)
# What holds or takes tensors: annotations that name one of these.
TENSOR_TYPES = ("Tensor", "HeadParams", "Camera", "Rendering", "Surface")


def public(name: str) -> object:
    return getattr(nha, name)


def text_of(path: Path) -> str:
    """A file's text with each run of white space as one space, so that wrapped lines are searched as one."""
    return re.sub(r"[\s#]+", " ", path.read_text("utf-8"))


def tensor_arguments(value: object) -> list[str]:
    """Names of the parameters of a function, or fields of a class, whose annotation is a tensor type."""
    if dataclasses.is_dataclass(value):
        annotated = {field.name: field.type for field in dataclasses.fields(value)}
    else:
        function = value.forward if inspect.isclass(value) else value
        annotated = {p.name: p.annotation for p in inspect.signature(function).parameters.values()}
    return [name for name, kind in annotated.items() if any(t in str(kind) for t in TENSOR_TYPES)]


def methods_with_tensors(value: type) -> dict[str, list[str]]:
    """Public methods that the class itself defines -> their tensor parameters."""
    functions = {
        name: function
        for name, function in vars(value).items()
        if inspect.isfunction(function) and not name.startswith("_")
    }
    arguments = {name: tensor_arguments(function) for name, function in functions.items()}
    return {name: found for name, found in arguments.items() if found}


@pytest.mark.parametrize("name", nha.__all__)
def test_public_name_has_a_docstring(name):
    value = public(name)
    assert inspect.getdoc(value), name
    if not callable(value):
        return
    own = value.__doc__
    assert own, f"{name} has no docstring of its own"
    assert own.strip().splitlines()[0].endswith("."), f"{name}: the first line is no sentence"


@pytest.mark.parametrize("name", [n for n in nha.__all__ if dataclasses.is_dataclass(getattr(nha, n))])
def test_public_dataclass_documents_shape_and_unit_of_its_tensors(name):
    value, text = public(name), inspect.getdoc(public(name))
    for field in tensor_arguments(value):
        assert re.search(rf"\b{field}\b", text), f"{name} does not describe {field}"
    if tensor_arguments(value):
        assert SHAPE.search(text), f"{name} gives no shape"
        assert UNIT.search(text), f"{name} gives no unit"


def test_public_functions_document_shapes():
    found, without = 0, []
    for name in nha.__all__:
        value = public(name)
        if inspect.isclass(value) and not dataclasses.is_dataclass(value):
            cases = methods_with_tensors(value)
            functions = {f"{name}.{method}": getattr(value, method) for method in cases}
        elif inspect.isfunction(value) and any("Tensor" in str(a) for a in value.__annotations__.values()):
            functions = {name: value}
        else:
            continue
        for label, function in functions.items():
            takes_tensor = any("Tensor" in str(a) for a in function.__annotations__.values())
            text = inspect.getdoc(function) or ""
            if takes_tensor and not SHAPE.search(text):
                without.append(label)
            found += takes_tensor
    assert found
    assert not without


def test_render_documents_its_result():
    text = inspect.getdoc(nha.NeuralHeadAvatar.render)
    for argument in inspect.signature(nha.NeuralHeadAvatar.render).parameters:
        assert argument == "self" or re.search(rf"\b{argument}\b", text), argument
    assert issubclass(nha.NeuralHeadAvatar, torch.nn.Module)


def test_api_document_names_everything_public():
    api = (ROOT / "docs" / "api.md").read_text("utf-8")
    sections = dict(re.findall(r"^## `(\w+)`\n(.*?)(?=^## |\Z)", api, re.MULTILINE | re.DOTALL))
    assert set(sections) == set(nha.__all__), "run `python docs/write_api.py`"
    for name, section in sections.items():
        value = public(name)
        if not (inspect.isclass(value) and issubclass(value, Exception)):
            missing = [p for p in inspect.signature(value).parameters if not re.search(rf"\b{p}\b", section)]
            assert not missing, f"{name} lacks {missing}; run `python docs/write_api.py`"


def test_examples_of_the_api_document_fit_the_signatures():
    api = (ROOT / "docs" / "api.md").read_text("utf-8")
    examples = re.findall(r"\*\*Example\*\*\n\n```python\n(.*?)\n```", api, re.DOTALL)
    assert len(examples) == len(nha.__all__)
    calls = [node for text in examples for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    used = set()
    for call in calls:
        function = call.func
        if not isinstance(function, ast.Attribute) or ast.unparse(function.value) != "nha":
            continue
        keywords = {keyword.arg: keyword.value for keyword in call.keywords}
        inspect.signature(getattr(nha, function.attr)).bind(*call.args, **keywords)
        used.add(function.attr)
    assert {name for name in nha.__all__ if name.islower()} <= used


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_paths_that_a_document_names_exist(document):
    named = set(NAMED_PATH.findall(document.read_text("utf-8")))
    missing = [name for name in sorted(named) if not (ROOT / name.rstrip(".")).exists()]
    assert not missing, missing


def test_names_that_the_method_locates_are_defined_there():
    text = " ".join(METHOD.split())
    located = [(name, path) for name, path in re.findall(r"`(\w+)` (?:in|of) `(nha/[\w/]+\.py)`", text)]
    for path, names in re.findall(r"`(nha/[\w/]+\.py)`: ((?:`\w+`(?:, )?)+)", text):
        located += [(name, path) for name in re.findall(r"`(\w+)`", names)]
    assert len(located) > 30
    for name, path in located:
        source = (ROOT / path).read_text("utf-8")
        assert re.search(rf"^(?:    )?(?:def|class) {name}\b|^{name}\b.*=", source, re.MULTILINE), (
            name,
            path,
        )


def test_method_names_paths():
    assert len(set(NAMED_PATH.findall(METHOD))) > 25


def test_cited_sections_exist():
    sections = set(re.findall(r"^## (\d) ", METHOD, re.MULTILINE))
    assert sections == {str(number) for number in range(1, 10)}
    cited: dict[str, set[str]] = {}
    for path in PACKAGE_SOURCES:
        numbers = {n for text in CITED_SECTIONS.findall(text_of(path)) for n in re.findall(r"\d", text)}
        if numbers:
            cited[path.relative_to(ROOT).as_posix()] = numbers
    assert len(cited) > 30
    wrong = {name: numbers - sections for name, numbers in cited.items() if numbers - sections}
    assert not wrong


def test_no_citation_of_an_unnamed_method():
    sources = [path for path in PACKAGE_SOURCES if path != Path(__file__).resolve()]
    old = [path.relative_to(ROOT).as_posix() for path in sources if OLD_CITATION.search(text_of(path))]
    assert not old


@pytest.mark.parametrize("name", TERMS)
def test_loss_term_is_described(name):
    losses = METHOD.split("\n## 4 ")[1].split("\n## 5 ")[0]
    row = next((line for line in losses.splitlines() if line.startswith(f"| `{name}` |")), None)
    assert row, f"docs/method.md, section 4 has no row of {name}"
    function = TERMS[name].function
    file = Path(inspect.getsourcefile(function)).resolve().relative_to(ROOT).as_posix()
    for text in (f"`w_{name}`", f"`{file}`", f"`{function.__name__}`"):
        assert text in row, f"the row of {name} lacks {text}"
    described = losses.replace(row, "")
    assert f"`{name}`" in described or "semantic_*" in described and name.startswith("semantic_")
