"""The rules of docs/architecture.md that a tool can hold."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "implicit", "sklearn", "streamlit", "plotly"}
PACKAGES = ("recsys_core", "ui", "pages")


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (REPO / folder).rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(REPO).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(nodes: list[ast.stmt]) -> set[str]:
    """Top-level names of absolute imports among these statements (not inside functions)."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(str(node.module).split(".")[0])
        elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test):
            found |= imported(node.body + node.orelse)
        elif isinstance(node, ast.Try):
            found |= imported(node.body + node.orelse + node.finalbody)
    return found


def test_layers_and_contracts_of_import_linter():
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=REPO, capture_output=True, text=True, timeout=120, env={"PYTHONPATH": str(REPO)})
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


@pytest.mark.parametrize("path", sources("recsys_core"), ids=name)
def test_heavy_libraries_are_imported_where_they_are_used(path):
    shared_torch_code = "nn" in path.parts or path.name.startswith("_")  # reached only from inside functions
    allowed = {"torch"} if shared_torch_code else set()
    assert not (imported(tree(path).body) & HEAVY) - allowed


@pytest.mark.parametrize("path", sources("recsys_core"), ids=name)
def test_the_core_never_imports_a_user_interface(path):
    everywhere = {alias.name.split(".")[0] for node in ast.walk(tree(path)) if isinstance(node, ast.Import) for alias in node.names}
    everywhere |= {str(n.module).split(".")[0] for n in ast.walk(tree(path)) if isinstance(n, ast.ImportFrom) and n.level == 0}
    assert not everywhere & {"streamlit", "plotly", "ui", "pages"}


# recsys_core/testing names pickle to make its use fail.
@pytest.mark.parametrize("path", [p for p in sources(*PACKAGES) if p.parent.name != "testing"], ids=name)
def test_nothing_read_from_disk_can_run_code(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [str(node.module)]
            assert not {module.split(".")[0] for module in modules} & {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
            assert called not in ("eval", "exec", "pd.read_pickle", "pandas.read_pickle"), f"line {node.lineno}: {called}"
            assert keywords.get("allow_pickle", "False") == "False", f"line {node.lineno}: allow_pickle"
            assert called != "torch.load" or keywords.get("weights_only") == "True", f"line {node.lineno}: torch.load"


@pytest.mark.parametrize("path", sources(*PACKAGES), ids=name)
def test_files_stay_short(path):
    limit = 150 if path.parent.name == "pages" else 300
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= limit, f"{lines} lines; the limit is {limit}: split it"


@pytest.mark.parametrize("path", sources("recsys_core"), ids=name)
def test_no_failure_is_swallowed(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ExceptHandler):
            broad = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
            silent = all(isinstance(part, ast.Pass) for part in node.body)
            assert not (broad and silent), f"line {node.lineno}: except {ast.unparse(node.type) if node.type else ''}: pass"


def test_no_model_imports_another():
    from recsys_core import registry

    modules = set(registry._modules("model").values())
    for module in modules:
        path = REPO / (module.replace(".", "/") + ".py")
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ImportFrom):
                base = module.rsplit(".", node.level)[0] if node.level else ""
                target = ".".join(filter(None, [base, node.module]))
                targets = {target} | {f"{target}.{alias.name}" for alias in node.names}
                assert not (targets & modules) - {module}, f"{module} imports {targets & modules}"


def run_python(code: str) -> dict:
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_importing_the_core_is_cheap():
    """Under half a second of the processor; the best of three, because the machine may be busy."""
    code = "import json, time; start = time.process_time(); import recsys_core; print(json.dumps(time.process_time() - start))"
    assert min(run_python(code) for _ in range(3)) < 0.5


def test_listing_all_plugins_loads_nothing_heavy():
    code = f"""
import json, sys
from recsys_core import registry
found = {{kind: sorted(registry.all_of(kind)) for kind in registry.KINDS}}
cards = [cls.card() for cls in registry.all_of("model").values()]
print(json.dumps({{"heavy": sorted({HEAVY!r} & set(sys.modules)), "counts": {{k: len(v) for k, v in found.items()}}}}))
"""
    found = run_python(code)
    assert found["heavy"] == []
    assert all(count > 0 for count in found["counts"].values())


def test_no_path_of_one_machine_is_committed():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPO, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("Not a git checkout, so there is no list of committed files to look at.")
    own = re.compile("|".join(re.escape(f"/{top}/") for top in ("work", "root")) + r"|/(?:home|Users)/[a-z]\w*/")
    suffixes = {".py", ".md", ".toml", ".txt", ".sh", ".css", ".json", ".yml", ""}
    for file in filter(None, listed.stdout.split("\0")):
        path = REPO / file
        if path.is_file() and path.suffix in suffixes and path.stat().st_size < 500_000:
            found = own.search(path.read_text(encoding="utf-8", errors="replace"))
            assert not found, f"{file} names {found.group(0)}"
