"""What the repository promises: dependencies pinned, README true, files small, no leaks."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from benchmarks.pages import section
from tests.readme_tables import README, ROOT, TABLES

OURS = ("experts", "db", "sam_ui")
CODE = (*OURS, "tests", "benchmarks")
BUNDLED_POOL_LIMIT = 40 * 1024 * 1024


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_name(line: str) -> str:
    return canonical(re.split(r"[\s\[<>=!~;]", line, maxsplit=1)[0])


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.fixture(scope="module")
def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    return {requirement_name(line): line for line in pins}


def code_files(*folders: str, suffixes: tuple[str, ...] = (".py",)) -> list[Path]:
    files = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    files += [ROOT / "app.py", ROOT / "setup.py"]
    return sorted(path for path in files if path.suffix in suffixes and path.is_file())


def imported_modules(files: list[Path]) -> dict[str, Path]:
    """Top-level name of every import, also of those inside functions, and a file that has it."""
    found: dict[str, Path] = {}
    for path in files:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            else:
                continue
            found.update({name.split(".")[0]: path for name in names})
    return found


# -- dependencies -----------------------------------------------------------------------------


def test_constraints_are_exact_and_name_no_place(constraints: dict[str, str]) -> None:
    assert constraints["torch"] == "torch==2.13.0"
    wrong = [
        line
        for line in constraints.values()
        if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line)
    ]
    assert wrong == []


def test_constraints_cover_every_direct_dependency(
    project: dict, constraints: dict[str, str]
) -> None:
    direct = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    assert {requirement_name(line) for line in direct} - constraints.keys() == set()


@pytest.mark.parametrize(
    ("folders", "extras"),
    [(OURS, ("spacy",)), (("tests", "benchmarks"), ("test",))],
    ids=["app", "tests"],
)
def test_every_import_is_a_declared_dependency(
    project: dict, folders: tuple[str, ...], extras: tuple[str, ...]
) -> None:
    declared = {requirement_name(line) for line in project["dependencies"]}
    for extra in extras:
        declared |= {requirement_name(x) for x in project["optional-dependencies"][extra]}
    own = {*CODE, "app", *sys.stdlib_module_names, "setuptools"}
    installed = packages_distributions()
    missing = {
        f"{module} ({path.relative_to(ROOT)})"
        for module, path in imported_modules(code_files(*folders)).items()
        if module not in own
        and not {canonical(name) for name in installed.get(module, [])} & declared
    }
    assert missing == set()


LIGHT = ["experts.errors", "experts.spans", "experts.corpus", "experts.formats", "experts.evaluate"]
LIGHT += ["experts.card", "db", "sam_ui.cli"]
HEAVY = {"torch", "transformers", "peft", "sentence_transformers", "gradio", "pandas", "sklearn"}


@pytest.mark.parametrize("module", LIGHT)
def test_import_stays_light(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert HEAVY & set(ran.stdout.split()) == set()


# -- README -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TABLES)
def test_readme_tables_are_up_to_date(name: str) -> None:
    assert section(README.read_text("utf-8"), name) == TABLES[name](), "run `make readme`"


def test_every_setting_has_a_description() -> None:
    from sam_ui.settings import Settings

    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def command_names() -> Iterator[str]:
    import typer

    from sam_ui.cli import app

    def walk(command: object, path: str) -> Iterator[str]:
        children = getattr(command, "commands", None)
        if children is None:
            yield path
            return
        for name, child in children.items():
            if not child.hidden:
                yield from walk(child, f"{path} {name}")

    yield from walk(typer.main.get_command(app), "sam-ui")


def test_readme_documents_every_command() -> None:
    readme = README.read_text("utf-8")
    undocumented = [name for name in command_names() if not re.search(rf"{name}\b", readme)]
    assert undocumented == []


def test_readme_names_no_command_that_does_not_exist() -> None:
    blocks = re.findall(r"```(?:sh|text)\n(.*?)```", README.read_text("utf-8"), re.S)
    used = re.findall(r"^\s*(sam-ui(?: [a-z][a-z-]*)+)", "\n".join(blocks), re.M)
    known = set(command_names())
    assert used
    assert [line for line in used if not any(line.startswith(name) for name in known)] == []


def test_readme_shows_the_gemma_notice() -> None:
    notice = "Gemma is provided under and subject to the Gemma Terms of Use found at"
    for name in ("README.md", "NOTICE"):
        words = " ".join((ROOT / name).read_text("utf-8").split())
        assert notice in words
        assert "ai.google.dev/gemma/terms" in words


def test_readme_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", README.read_text("utf-8"))
    assert [target for target in targets if not (ROOT / target).exists()] == []


# -- files ------------------------------------------------------------------------------------


def test_no_file_of_ours_is_longer_than_400_lines() -> None:
    files = code_files(*CODE, suffixes=(".py", ".js", ".css"))
    files += [path for path in (ROOT / "assets").rglob("*") if path.suffix in {".css", ".js"}]
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in files
    }
    assert {name: lines for name, lines in lengths.items() if lines > 400} == {}


def test_no_file_names_a_place_on_somebodys_computer() -> None:
    # Put together here, so that this file does not find itself.
    needles = ["/" + place + "/" for place in ("work", "home", "root", "Users", "tmp/w")]
    suffixes = (".py", ".js", ".css", ".md", ".toml", ".json", ".jsonl", ".txt", ".ini", ".mako")
    files = code_files(*CODE, "assets", suffixes=suffixes)
    files += [path for path in ROOT.iterdir() if path.is_file() and path.suffix in suffixes]
    files += [ROOT / "Makefile", ROOT / ".ci" / "run"]
    found = {
        f"{path.relative_to(ROOT)}: {needle}"
        for path in files
        for needle in needles
        # At the start of a path only: inside an address these are ordinary words.
        if re.search(rf"(?<![\w.:/-]){re.escape(needle)}", path.read_text("utf-8", "replace"))
    }
    assert found == set()


def test_bundled_pool_stays_small() -> None:
    files = [path for path in (ROOT / "assets" / "experts").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < BUNDLED_POOL_LIMIT


def test_ci_runs_make_test() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    lines = script.read_text("utf-8").splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in lines
    assert lines[-1] == "make test"
