"""What was answered survives a power cut, a full disk and a lock that was left behind."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import durable, locks
from harness.journal import Journal
from harness.records import Record
from harness.types import Answer

resource = pytest.importorskip("resource", reason="limits of a process are POSIX's")
ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def full_after(size: int) -> Iterator[None]:
    """No file may grow beyond this: what is written past it fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [1000, 2000, 2500, 2999])
def test_a_disk_that_fills_ends_the_command_in_a_line_and_the_same_command_ends_as_an_undisturbed_one(cli, bench, size):
    with full_after(size):
        said = cli(*bench.words())
    assert said.code == 1
    assert re.search(r"(run\.json|records\.jsonl): File too large; what was answered is kept", said.err), said.err
    assert not list(bench.results.glob("*/.*.tmp"))
    assert cli(*bench.words()).code == 0
    kept = [json.loads(line)["id"] for line in bench.records().read_text().splitlines()]
    assert len(kept) == len(set(kept)) == 18


@contextlib.contextmanager
def other(path: Path, end: str) -> Iterator[None]:
    """Another process that began to write this file, and then does this."""
    body = f"""
import os, sys
from pathlib import Path
from harness import durable

with durable.draft(Path({str(path)!r})) as written:
    written.write_text("half")
    print("begun", flush=True)
    {end}
"""
    words = [sys.executable, "-c", body]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline()
        yield


KILLED, WAITS = "os.kill(os.getpid(), 9)", "sys.stdin.read()"


def drafts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(".tmp"))


def test_what_a_killed_process_began_to_write_goes_when_the_file_is_written_and_a_living_ones_stays(tmp_path):
    with other(tmp_path / "run.json", WAITS):
        for name in ("run.json", "other.json"):
            with other(tmp_path / name, KILLED):
                pass
        assert len(drafts(tmp_path)) == 3
        durable.replace(tmp_path / "run.json", "{}")
        assert len(drafts(tmp_path)) == 2, "the killed one's is gone; of another file nothing is"
    assert (tmp_path / "run.json").read_text() == "half", "the last to write it wrote it"
    assert [name.split(".")[1] for name in drafts(tmp_path)] == ["other"]


def test_a_folder_that_a_killed_process_began_goes_with_all_that_is_in_it(tmp_path):
    with other(tmp_path / "merged", KILLED):
        pass
    [half] = tmp_path.iterdir()
    half.unlink()
    half.mkdir()
    (half / "model.safetensors").write_text("half")
    durable.folder(tmp_path / "merged", lambda draft: (draft / "model.safetensors").write_text("whole"))
    assert [path.name for path in tmp_path.iterdir()] == ["merged"]


@pytest.mark.parametrize(
    "name",
    [
        ".run.json.deadbeef-4194305-0123abcd.tmp",  # another machine's: more processes than Linux counts
        ".run.json.0123456789ab.tmp",  # an older version's
        "run.json.tmp",
        ".run.json.old",
    ],
)
def test_what_may_be_another_machines_or_the_users_stays(tmp_path, name):
    (tmp_path / name).touch()
    durable.replace(tmp_path / "run.json", "{}")
    assert (tmp_path / name).exists()


def writes(bench, command: str, out: Path) -> list[str]:
    """The words that write this page of the bench's two runs there."""
    places = ["--results", str(bench.results), "--include", str(bench.plugin)]
    both = [path.name for path in bench.results.iterdir()] if command == "report" else []
    return [command, *both, "--out", str(out), *places, *(["--data", str(bench.data)] if both else [])]


@pytest.mark.parametrize(("command", "name"), [("leaderboard", "page.md"), ("report", "page.html")])
def test_a_page_is_written_whole_or_what_was_there_stays(cli, bench, tmp_path, command, name):
    assert cli(*bench.words()).code == cli(*bench.words(weights="others")).code == 0
    (tmp_path / "pages").mkdir()
    out, link = tmp_path / "pages" / name, tmp_path / f"link-{name}"
    link.symlink_to(out)
    words = writes(bench, command, link)
    assert cli(*words).code == 0 and link.is_symlink() and out.stat().st_mode & 0o777 == 0o644
    whole = out.read_bytes()
    out.write_text("the page before")
    out.chmod(0o600)
    with full_after(len(whole) - 1):
        said = cli(*words)
    assert said.code == 2 and f"cannot write {link}: File too large" in said.err
    assert out.read_text() == "the page before"
    assert cli(*words).code == 0 and out.read_bytes() == whole and out.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in out.parent.iterdir()] == [name]
    pipe = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert cli(*writes(bench, command, Path(f"/dev/fd/{pipe.stdin.fileno()}"))).code == 0
    assert pipe.communicate()[0].endswith(whole[-40:]), "a pipe takes it as well; links hang on where the page lies"


def test_results_below_a_file_are_refused_before_anything_is_asked(cli, bench):
    bench.results.touch()
    said = cli(*bench.words())
    assert said.code == 2 and "name another --results" in said.err
    assert bench.asked() == []


def test_a_mount_that_adds_to_no_file_ends_the_command_with_its_name_and_loses_nothing(cli, bench, monkeypatch):
    assert cli(*bench.words(), "--limit", "2").code == 0
    for run in bench.results.iterdir():  # a run that was ended amid its questions
        (run / "run.json").write_text((run / "run.json").read_text().replace('"complete"', '"interrupted"'))
    records = bench.records()
    lines = records.read_text().splitlines(keepends=True)
    records.write_text("".join(lines[:3]))
    real = os.open

    def refuses(path, flags, *more, **others):
        if flags & os.O_APPEND and Path(path).exists():
            raise PermissionError(errno.EPERM, "Operation not permitted")  # a mount tells no file's name
        return real(path, flags, *more, **others)

    monkeypatch.setattr(os, "open", refuses)
    said = cli(*bench.words(), "--limit", "2")
    assert said.code == 2 and f"cannot use {records}: Operation not permitted" in said.err
    assert records.read_text() == "".join(lines[:3])
    monkeypatch.undo()
    assert cli(*bench.words(), "--limit", "2").code == 0
    assert sorted(records.read_text().splitlines(keepends=True)) == sorted(lines)


def test_a_journal_is_on_the_disk_when_a_batch_ends_and_not_at_every_record(tmp_path, monkeypatch):
    flushed, now = [], iter(range(1000))
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (flushed.append(os.fstat(file).st_size), real(file)))
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    with Journal(tmp_path / "records.jsonl") as journal:
        flushed.clear()
        for n in range(6):
            journal.append([Record(str(n), "i", "", "k", "r", Answer("yes"))], batch_ends=n % 3 == 2)
        sizes = (tmp_path / "records.jsonl").stat().st_size
        assert flushed == [sizes // 2, sizes]


def test_batches_that_end_at_once_are_flushed_together_and_all_when_the_task_ends(tmp_path, monkeypatch):
    flushed = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (flushed.append(os.fstat(file).st_size), real(file)))
    monkeypatch.setattr("time.monotonic", lambda: 0.0)
    with Journal(tmp_path / "records.jsonl") as journal:
        flushed.clear()
        for n in range(50):
            journal.append([Record(str(n), "i", "", "k", "r", Answer("yes"))], batch_ends=True)
        assert flushed == []
    assert flushed == [(tmp_path / "records.jsonl").stat().st_size]


def test_a_file_is_replaced_whole_or_left_as_it_was(tmp_path):
    path = tmp_path / "run.json"
    durable.replace(path, "old")
    with full_after(10), pytest.raises(OSError, match=r"File too large: .*run\.json"):
        durable.replace(path, "n" * 100)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_lock_left_behind_by_a_killed_process_is_in_nobodys_way_and_a_living_ones_is(tmp_path):
    path = tmp_path / ".lock"
    code = f"import sys; sys.path[:0] = [{str(ROOT)!r}]\nfrom pathlib import Path\nfrom harness import locks\n"
    code += f"held = locks.taken(Path({str(path)!r}))\nprint('held', flush=True)\nsys.stdin.read()\n"
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout and other.stdout.readline() == "held\n"
    with pytest.raises(locks.Held):
        locks.taken(path)
    other.kill()
    other.communicate()
    with locks.taken(path, patience=5), pytest.raises(locks.Held):
        locks.taken(path)


NO_LOCKS = """
import errno, fcntl, os, sys
from pathlib import Path
from harness import locks

def none(file, how):
    raise OSError(getattr(errno, sys.argv[2]), "no locks here")

fcntl.flock = none
held = locks.taken(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("said", ["ENOLCK", "EOPNOTSUPP", "ENOSYS"])
@pytest.mark.filterwarnings("ignore:flock not supported")  # filelock's own word of ENOSYS
def test_where_a_mount_keeps_no_locks_writers_are_kept_apart_all_the_same(cli, bench, monkeypatch, said):
    def none(file, how):
        raise OSError(getattr(errno, said), "no locks here")

    monkeypatch.setattr("fcntl.flock", none)
    assert cli(*bench.words()).code == 0
    lock = bench.records().parents[1] / ".lock"
    words = [sys.executable, "-W", "ignore", "-c", NO_LOCKS, str(lock), said]
    where = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=where) as other:
        assert other.stdout and other.stdout.readline() == "held\n"
        held = cli(*bench.words())
        assert held.code == 2 and "another process is writing" in held.err
        other.kill()
    with locks.taken(lock, patience=5), pytest.raises(locks.Held):
        locks.taken(lock)


def test_a_read_only_file_system_is_said_before_anything_is_asked(bench):
    bench.results.mkdir(mode=0o555)
    tried = ["unshare", "--mount", "true"]
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    if root and (shutil.which("unshare") is None or subprocess.run(tried, capture_output=True).returncode):
        pytest.skip("root writes everywhere, and no file system can be mounted here")
    script = f'mount --bind {bench.results} {bench.results} && mount -o remount,bind,ro {bench.results} && exec "$@"'
    alone = ["unshare", "--mount", "sh", "-c", script, "sh"] if root else []
    where = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [*alone, sys.executable, "-m", "ohd_bench", *bench.words()]
    said = subprocess.run(words, capture_output=True, text=True, env=where)
    assert said.returncode == 2 and said.stderr.count("\n") == 1, said.stderr
    assert "cannot write to" in said.stderr and "name another --results" in said.stderr
    assert bench.asked() == []


def test_nothing_is_decided_by_a_clock_that_can_be_set():
    for path in [*ROOT.glob("harness/**/*.py"), *ROOT.glob("encoders/**/*.py")]:
        assert "time.time(" not in path.read_text(encoding="utf-8"), path
