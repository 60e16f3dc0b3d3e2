"""Commands as users type them: run in this process, in another one, or where torch is not installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import forked
from typer.testing import CliRunner, Result

from qloc.cli import app

FACTS = [
    {
        "id": f"f{n}",
        "relation": "capital",
        "subject": subject,
        "object": answer,
        "queries": ["The capital of [X] is [Y].", "[X] has its capital in [Y]."],
    }
    for n, (subject, answer) in enumerate(
        [("France", "Paris"), ("Kenya", "Nairobi"), ("Peru", "Lima"), ("Austria", "Vienna")]
    )
]


BLOCKED = """
import sys
from importlib.machinery import PathFinder
ABSENT, found = {"torch", "transformers", "tokenizers", "safetensors"}, PathFinder.find_spec
PathFinder.find_spec = staticmethod(lambda name, path=None, target=None:
    None if name.partition(".")[0] in ABSENT else found(name, path, target))
from qloc.cli import main
sys.argv[0] = "qloc"
main()
"""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="qloc")


def done(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: object, code: int = 2) -> str:
    """What a refused command says; that it says nothing else, and no traceback."""
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    assert isinstance(result.exception, SystemExit)
    return result.stderr.removesuffix("\n")


def process(*arguments: object, code: str = "from qloc.cli import main; main()") -> list[str]:
    return [sys.executable, "-c", code, *map(str, arguments)]


def write_facts(path: Path, *facts: object) -> Path:
    path.write_text("".join(f if isinstance(f, str) else json.dumps(f) + "\n" for f in facts or FACTS))
    return path


SEVERAL = """
import json
for arguments in json.loads(sys.argv.pop(1)):
    sys.argv[1:] = arguments
    try:
        main()
    except SystemExit as ended:
        if ended.code:
            raise
"""


def blocked(*arguments: object, first: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command where torch is not installed, after some lines of Python."""
    code = BLOCKED.replace("main()\n", f"{first}\nmain()\n")
    return forked.run(process(*arguments, code=code), capture_output=True, text=True)


def all_blocked(*commands: list[object], first: str = "") -> subprocess.CompletedProcess[str]:
    """Run commands one after the other in one such process, until one fails."""
    given = json.dumps([[str(argument) for argument in command] for command in commands])
    code = BLOCKED.replace("main()\n", f"{first}\n{SEVERAL}")
    return forked.run(process(given, code=code), capture_output=True, text=True)
