"""`.pre-commit-hooks.yaml` as another project meets it, through the real pre-commit. Needs git."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.external

ROOT = Path(__file__).parents[2]
NETWORK = "netspec: 1\ninputs: {x: [N, 3]}\nlayers: [{type: Linear, out_features: 2}]\n"
OTHERS = {
    ".github/workflows/ci.yml": "on: push\njobs: {a: {runs-on: x, steps: []}}\n",
    "k8s.yaml": "kind: Service\n---\nkind: Deployment\n",
    "blocks/b.yaml": "netspec: 1\nblocks: {B: {layers: [{type: ReLU}]}}\n",
    "notes.txt": "netspec: 1\n",
}


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command with nobody's settings for git."""
    # Run from a git hook, the outer repository's variables would send our commits there.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    for role in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{role}_NAME": "me", f"GIT_{role}_EMAIL": "me@x"}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "PRE_COMMIT_HOME": str(folder / "cache")}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, encoding="utf-8"
    )


def commit(folder: Path) -> None:
    for arguments in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "x"]):
        done = run(folder, "git", *arguments)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def hooks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This project as a repository of its own, with what is not committed yet."""
    folder = tmp_path_factory.mktemp("hooks")
    for name in ("pyproject.toml", "README.md", "LICENSE", ".pre-commit-hooks.yaml"):
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "netspec", folder / "netspec", ignore=shutil.ignore_patterns("__pycache__"))
    commit(folder)
    return folder


def test_only_networks_are_checked(hooks: Path, tmp_path: Path) -> None:
    for name, text in (OTHERS | {"nets/good.yaml": NETWORK}).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    run(tmp_path, "git", "init", "--quiet")
    pre_commit = [sys.executable, "-m", "pre_commit", "try-repo", str(hooks), "--all-files", "--verbose"]

    run(tmp_path, "git", "add", ".github", "k8s.yaml", "blocks", "notes.txt", "nets")
    done = run(tmp_path, *pre_commit)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nets/good.yaml: valid (1 layer, 8 parameters)" in done.stdout

    (tmp_path / "nets" / "bad.yaml").write_text(NETWORK.replace("Linear", "Liner"))
    run(tmp_path, "git", "add", "nets")
    done = run(tmp_path, *pre_commit)
    assert done.returncode == 1
    assert "nets/bad.yaml:3:17: error[unknown-type]" in done.stdout
    assert "1 error in 1 file" in done.stdout or "1 error in 2 files" in done.stdout
