"""`netspec lsp` where its library is not installed."""

from __future__ import annotations

import subprocess
import sys


def test_a_missing_extra_is_one_line_and_exit_code_3() -> None:
    code = "import sys; sys.modules['pygls'] = None; sys.argv[1:] = ['lsp']; from netspec.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=90)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "error: the language server needs pygls: pip install 'netspec-runner[lsp]'\n"


def test_no_numpy_is_imported() -> None:
    code = "import netspec.editor.features, sys; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=90)
