"""The command line: each command reads its words, calls one function, prints.

Nothing heavy is imported before ``main`` is entered, so that a Ctrl-C is heard whatever is being imported.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from harness import extras
from harness.cli import unread
from harness.errors import OhdBenchError, UsageError
from harness.shown import one_line, plain

if TYPE_CHECKING:
    import typer

COMMANDS = (
    "run", "merge", "list", "show", "score", "compare", "attribute", "effects", "objects", "report", "encoder", "train",
    "sweep", "study", "export", "leaderboard", "results", "data", "new", "check", "doctor",
)  # fmt: skip
"""The files that have commands, in the order of ``--help``. They import what is heavy inside their commands."""

VERBOSE = "OHD_BENCH_VERBOSE"
NO_PLACE = {
    errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.ELOOP, errno.EACCES, errno.EPERM, errno.EROFS,
}  # fmt: skip
"""What systems say of a name that a word of the command gives and that cannot be what it is to be."""
KEPT = "what was answered is kept, and the same command goes on from there"


class Terminated(BaseException):
    """SIGTERM, raised so that everything is flushed on the way out."""


def build() -> typer.Typer:
    """The whole command: each file of COMMANDS adds its own."""
    import importlib
    import pkgutil

    import typer
    from typer.core import TyperGroup

    from harness.cli import examples

    class Group(TyperGroup):
        def invoke(self, ctx: Any) -> Any:
            try:
                return super().invoke(ctx)
            except EOFError as error:  # a file that ends too soon: typer takes it for a user who left, "Aborted."
                raise RuntimeError(f"EOFError: {error}") from error

    app = typer.Typer(
        name="ohd-bench",
        cls=Group,
        help="Does a better eye make a more honest vision-language model?",
        epilog="Every command takes -v (--verbose): show tracebacks and what libraries say; "
        "and --config FILE.toml: its options from a file (docs/outputs.md).",
        no_args_is_help=True,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    there = {module.name for module in pkgutil.iter_modules(__path__)}
    for name in (name for name in COMMANDS if name in there):
        importlib.import_module(f"harness.cli.{name}").register(app)
    examples.add(app)
    return app


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Run the command; whatever goes wrong ends in one line on stderr and the documented exit code."""
    # Threads that wait for one that another program has put aside are not to keep the core from it: on a busy machine
    # two threads took ten times as long so as one, and on an idle one this costs a few percent.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if not os.environ.get("COLUMNS", "0").strip(
        "0"
    ):  # no width, as shutil.get_terminal_size has it; rich writes nothing
        os.environ.pop("COLUMNS", None)
    words = sys.argv[1:] if words is None else [*words]  # the module harness.cli.list hides the name
    heard: list[int] = []
    _listen(heard)
    code = 0
    verbose = not {"-v", "--verbose"}.isdisjoint(words)
    try:
        _speak_every_encoding()
        _require_printable(words, os.environ)
        with _heeding(verbose):
            _run([word for word in words if word not in ("-v", "--verbose")])
    except BaseException as error:
        # A signal that is heard amid the import of an extension comes out of it as whatever error that makes of it.
        code = _code(_SIGNALS[heard[0]]() if heard and not isinstance(error, SystemExit) else error, verbose)
    try:
        unread.flush()
    except OSError as error:
        code = code or _code(error, verbose)
    sys.exit(code)


def _code(error: BaseException, verbose: bool) -> int:
    """The exit code of a command that ended so; what ended it is said, unless that is done or nobody reads it."""
    if (pipe := unread.broken_pipe(error)) is not None:
        return unread.CODE if unread.is_of_reader(pipe) else _told(pipe, verbose)
    if isinstance(error, SystemExit) and _ended_by_typer(error):  # typer ends every command so, Ctrl-C with 130
        return _told(KeyboardInterrupt(), verbose) if error.code == 130 else int(error.code or 0)
    return _told(error, verbose)


def _run(words: Sequence[str]) -> None:
    """The command, with what ``--config`` names as its options' defaults."""
    from harness.cli import config

    if words[:1] == ["--version"]:
        from importlib.metadata import version

        print(f"ohd-bench {version('ohd-bench')}")
        return
    words, path = config.taken(words)
    app = build()
    if path is None:
        app(args=words, standalone_mode=True)
        return
    import typer

    app(args=words, standalone_mode=True, default_map=config.defaults(path, typer.main.get_command(app)))


@contextmanager
def _heeding(verbose: bool) -> Iterator[None]:
    """Every command takes ``-v``; those whose libraries then chatter read it from the environment."""
    if not verbose:
        yield
        return
    before = os.environ.get(VERBOSE)
    os.environ[VERBOSE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[VERBOSE]
        else:
            os.environ[VERBOSE] = before


def _ended_by_typer(end: SystemExit) -> bool:
    """Whether the command is over; what a plug-in or a library does to end the process is an error of its own."""
    frame = end.__traceback__
    while frame and frame.tb_next:
        frame = frame.tb_next
    return frame is not None and str(frame.tb_frame.f_globals.get("__name__")).startswith(("click.", "typer."))


def _told(error: BaseException, verbose: bool) -> int:
    """Says on stderr in one line what ended the command; the exit code."""
    if verbose:
        import traceback

        print(plain("".join(traceback.format_exception(error))), file=sys.stderr)
    code, line = _ending(error)
    with suppress(OSError):  # where nobody reads it
        print(one_line(line), file=sys.stderr)
    return code


def _ending(error: BaseException) -> tuple[int, str]:
    """The exit code and the one line of what ended a command."""
    if isinstance(error, KeyboardInterrupt):
        return 130, f"interrupted; {KEPT}"
    if isinstance(error, Terminated):
        return 143, f"terminated; {KEPT}"
    error = extras.missing(error) or error
    if isinstance(error, OhdBenchError):
        return error.code, f"{error.label}: {error}"
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return 2, f"error: no file has so long a name as '{str(error.filename)[:60]}…'"
    if isinstance(error, OSError) and error.errno in NO_PLACE:
        return 2, f"error: cannot use {error.filename or 'this place'}: {error.strerror}; name another"
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return 1, f"error: {where}{error.strerror or error}; {KEPT}"
    return 1, (
        f"error: this was not foreseen: {type(error).__name__}: {str(error)[:300]} ({_where(error)}); {KEPT}. "
        "-v shows the traceback: please report it, with the command, to the maintainers of ohd-bench"
    )


def _where(error: BaseException) -> str:
    """The innermost line of this code that the error passed."""
    import traceback
    from pathlib import Path

    ours = Path(__file__).parents[2]
    frames = traceback.extract_tb(error.__traceback__)
    inside = [one for one in frames if Path(one.filename).is_relative_to(ours)] or frames
    return f"{Path(inside[-1].filename).name}, line {inside[-1].lineno}" if inside else "no line"


def _speak_every_encoding() -> None:
    """What stdout or stderr cannot write is written out as an escape, and where it is closed nowhere; no error."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # a file opened later would else become what libraries print to
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        reconfigure = getattr(getattr(sys, name), "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _require_printable(words: Sequence[str], environment: Mapping[str, str]) -> None:
    """UsageError where a word of the command holds a control character: it would be shown and kept, over and over."""
    told = [*words, *(value for name, value in environment.items() if name.startswith("OHD_BENCH_"))]
    for word in told:
        if plain(word) != word:
            raise UsageError(
                f"'{plain(word)}' holds a character that no terminal can show; rename the file, or leave it out"
            )


def _listen(heard: list[int]) -> None:
    """Ctrl-C and SIGTERM are raised where they are heard, and noted."""

    def hear(number: int, frame: FrameType | None) -> NoReturn:
        heard.append(number)
        raise _SIGNALS[number]

    for number in _SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # under nohup, say
            signal.signal(number, hear)


_SIGNALS: dict[int, type[BaseException]] = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}
