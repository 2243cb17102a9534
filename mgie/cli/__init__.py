"""The command line: `mgie COMMAND`, one file for each command. This floor alone reads arguments and prints.

Nothing here imports torch before a command needs it: help, and a user's mistakes, are answered at once.
"""

import io
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

import typer

from mgie.cli.batch import batch
from mgie.cli.convert import convert
from mgie.cli.data import app as data_app
from mgie.cli.demo import demo
from mgie.cli.edit import edit
from mgie.cli.evaluate import evaluate
from mgie.cli.extract import extract
from mgie.cli.info import info
from mgie.cli.serve import serve
from mgie.cli.train import train
from mgie.cli.verify import verify
from mgie.errors import MGIEError

app = typer.Typer(
    name="mgie",
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Edit photographs by instructions, with a language model that imagines the edit first.",
)
app.command()(edit)
app.command()(batch)
app.command()(demo)
app.command()(info)
app.command()(train)
app.command()(convert)
app.command()(extract)
app.command()(verify)
app.add_typer(data_app, name="data")
app.command("eval")(evaluate)
app.command()(serve)

_INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""
_QUIET = {
    "DIFFUSERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code: 0, 2 for a user's mistake, 130 after Ctrl-C.

    `mgie batch` gives 1 where some rows failed. A mistake is one line on standard error, with `--debug` after
    its traceback.

    Args:
        arguments: the command and its arguments; by default those of this process.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that a terminal cannot show is no mistake
            stream.reconfigure(errors="backslashreplace")
    if not debug:
        warnings.simplefilter("ignore")
    try:
        code = app(arguments or ["--help"], standalone_mode=False) or 0
        if code == _INTERRUPTED:  # of newer versions of Typer, which keep the exception for themselves
            raise KeyboardInterrupt
        return code
    except (KeyboardInterrupt, typer.Abort):
        print("mgie: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except MGIEError as error:
        if debug:
            traceback.print_exc()
        message = str(error)
    except Exception as error:
        # Typer's complaints about the arguments; their class is not where it was in each of its versions.
        complaint: Any = getattr(error, "format_message", None)
        if complaint is None:
            raise
        message = complaint()
    print(f"mgie: {' '.join(message.split())}", file=sys.stderr)
    return 2
