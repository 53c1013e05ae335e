"""The Hugging Face Hub: push an encoder with a card of what it measured, push runs, and fetch them."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness import extras, packed
from harness.asking import evaluate
from harness.comparison import metric_table
from harness.errors import OhdBenchError, UsageError
from harness.kept_runs import pick, require_folder, runs, say_shards
from harness.report import leaderboard
from harness.store import Run, records_files
from harness.types import OF_ENCODERS, Task

RUNS = "results"
WEIGHTS = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "LICENSE*")
"""What of an encoder's folder is pushed; its checkpoints and logs stay."""
OFFLINE = "HF_HUB_OFFLINE is set, so that nothing goes to the Hub or comes from it: unset it"


@dataclass(frozen=True)
class Parcel:
    """What is pushed: each file by its path in the repository, as a file or as its bytes."""

    repo: str
    kind: str
    files: Mapping[str, Path | bytes]

    def push(self, private: bool = False) -> str:
        """Push it in one commit, to a repository that is made where there is none; the commit's address."""
        _require_online()
        from huggingface_hub import CommitOperationAdd, HfApi

        told = f"ohd-bench {version('ohd-bench')}: {len(self.files)} files"
        adds = [
            CommitOperationAdd(name, str(what) if isinstance(what, Path) else what) for name, what in self.files.items()
        ]
        with _told(self.repo):
            api = HfApi()
            api.create_repo(self.repo, repo_type=self.kind, private=private, exist_ok=True)
            done = api.create_commit(self.repo, adds, repo_type=self.kind, commit_message=told)
            return str(done.commit_url)

    def write(self, folder: Path) -> Path:
        """Write it to a folder instead."""
        for name, what in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(what, Path):
                shutil.copyfile(what, path)
            else:
                path.write_bytes(what)
        return folder


@contextlib.contextmanager
def _told(repo: str) -> Iterator[None]:
    """Whatever the Hub answers that is not what was asked for is said in one line."""
    import httpx
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    try:
        yield
    except HFValidationError as error:
        raise UsageError(f"'{repo}': write OWNER/NAME ({_first(error)})") from error
    except (HfHubHTTPError, LocalTokenNotFoundError, httpx.HTTPError) as error:
        raise OhdBenchError(
            f"{repo}: the Hub says: {_first(error)}; 'hf auth login' or HF_TOKEN says who you are"
        ) from error


def _first(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _require_online() -> None:
    if not extras.there("huggingface_hub"):
        raise extras.needs("huggingface_hub")
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise UsageError(f"{OFFLINE}, or --dry-run DIR writes what would be pushed")


def of_runs(repo: str, results: Path, names: Sequence[str]) -> Parcel:
    """These kept runs, or all: their manifests and records, and a card with their leaderboard."""
    from huggingface_hub import DatasetCard, DatasetCardData

    require_folder(results)
    wanted = [pick(results, name) for name in names] or runs(results)
    if not wanted:
        raise UsageError(f"{results} holds no run to push")
    files: dict[str, Path | bytes] = {}
    for run in wanted:
        say_shards(run)
        records = [path for one in records_files(run.folder) for path in packed.files(one)]
        for path in (run.folder / "run.json", *records):
            files[f"{RUNS}/{run.id}/{path.relative_to(run.folder).as_posix()}"] = path
    card = DatasetCardData(tags=["ohd-bench", "hallucination"], pretty_name=repo.split("/")[-1])
    told = (
        f"Runs of ohd-bench {version('ohd-bench')}: `ohd-bench results pull {repo}` brings them into a folder of runs."
    )
    page = (
        leaderboard.render(results, RUNS, leaderboard.unreadable(results))
        if not names
        else "\n".join(f"- `{run.id}`" for run in wanted)
    )
    files["README.md"] = str(DatasetCard(f"---\n{card.to_yaml()}\n---\n\n{told}\n\n{page}\n")).encode("utf-8")
    return Parcel(repo, "dataset", files)


def of_encoder(repo: str, folder: Path, results: Path, licence: str) -> Parcel:
    """An encoder's folder as ``train`` or ``encoder convert`` wrote it, with a card of how it was made and measured."""
    if not (folder / "config.json").is_file():
        raise UsageError(
            f"{folder} is no encoder's folder: it has no config.json; 'train' and 'encoder convert' write one"
        )
    files: dict[str, Path | bytes] = {
        path.name: path for form in WEIGHTS for path in sorted(folder.glob(form)) if path.is_file()
    }
    files["README.md"] = card(repo.split("/")[-1], folder, results, licence).encode("utf-8")
    return Parcel(repo, "model", files)


def card(name: str, folder: Path, results: Path, licence: str) -> str:
    """The model card: recipe, base, data and versions, and in its metadata what kept runs of these weights measured."""
    from huggingface_hub import ModelCard, ModelCardData

    told = _made(folder)
    recipe, measured = told.get("recipe") or {}, _measured(told.get("digest", ""), results)
    base = str(recipe.get("base", ""))
    data = ModelCardData(
        model_name=name, library_name="transformers", pipeline_tag="zero-shot-image-classification",
        tags=["clip", "ohd-bench"], license=licence or None, base_model=_hub_name(base) or None,
        eval_results=[one for one, _ in measured] or None,
        ohd_bench={
            "version": version("ohd-bench"), "recipe": recipe.get("name", ""), "digest": told.get("digest", ""),
            "base_digest": told.get("base_digest", ""), "data_digest": (told.get("data") or {}).get("digest", ""),
            "commit": (told.get("git") or {}).get("commit", ""),
        },
    )  # fmt: skip
    own = folder / "README.md"
    text = ModelCard(own.read_text(encoding="utf-8")).text.strip() if own.is_file() else f"# {name}"
    rows = "\n".join(line for _, line in measured)
    table = (
        f"\n\n## Measured by kept runs\n\n| task | metric | value | run |\n|---|---|---|---|\n{rows}" if rows else ""
    )
    use = f"\n\n`ohd-bench run --encoder clip:{name}` asks it every benchmark."
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}{table}{use}\n"))


def _made(folder: Path) -> dict[str, Any]:
    path = folder / "recipe.json"
    if not path.is_file():
        return {}
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{path} is not JSON ({error})") from error
    return told if isinstance(told, dict) else {}


def _hub_name(base: str) -> str:
    """``OWNER/NAME`` where the base is a model of the Hub."""
    name = base.partition(":")[2] or base
    return name if name.count("/") == 1 and not Path(name).exists() and not name.startswith((".", "/")) else ""


def _measured(digest: str, results: Path) -> list[tuple[Any, str]]:
    """The headline of each task in kept runs of these weights, asked in full and without a control."""
    from huggingface_hub import EvalResult

    found: dict[tuple[str, str], tuple[Any, str]] = {}
    for run in runs(results) if digest and results.is_dir() else []:
        manifest = run.manifest()
        whole = manifest.get("status") == "complete" and not manifest.get("limit") and not manifest.get("part")
        if (manifest.get("encoder") or {}).get("digest") != digest or not whole or manifest.get("control") != "none":
            continue
        world = " (micro world: a bench of the tool)" if manifest.get("world") == "micro" else ""
        for task, value in _headlines(run):
            lvlm = "" if task.mode in OF_ENCODERS else f" in {manifest['lvlm']['spec']}"
            kind = "image-text-to-text" if lvlm else "zero-shot-image-classification"
            result = EvalResult(
                task_type=kind, dataset_type=task.name, dataset_name=f"{task.name}{world}", metric_type=task.headline,
                metric_name=f"{task.headline}{lvlm}", metric_value=round(value, 2),
            )  # fmt: skip
            found.setdefault(
                (task.name, lvlm),
                (result, f"| {task.name}{world} | {task.headline}{lvlm} | {value:z.1f} | `{run.id}` |"),
            )
    return list(found.values())


def _headlines(run: Run) -> list[tuple[Task, float]]:
    found = []
    for task in evaluate.kept_tasks([run]):
        scores = metric_table.scores(task, run.records(task.name, words=False))
        group = next((group for group, metric in task.summary if metric == task.headline), "")
        if (one := scores.get(group, {}).get(task.headline)) and one.value == one.value:
            found.append((task, one.value))
    return found


def pulled(repo: str, revision: str) -> Path:
    """A data set of the Hub, fetched into its cache; OhdBenchError where it cannot be."""
    if not extras.there("huggingface_hub"):
        raise extras.needs("huggingface_hub")
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    with _told(repo):
        try:
            folder = Path(
                snapshot_download(repo, repo_type="dataset", revision=revision, allow_patterns=[f"{RUNS}/**"])
            )
        except LocalEntryNotFoundError as error:
            if constants.HF_HUB_OFFLINE:
                raise UsageError(f"{repo} was not fetched before, and {OFFLINE}") from error
            raise
    if not (folder / RUNS).is_dir():
        raise UsageError(f"{repo} holds no runs; 'ohd-bench results push' makes such a data set")
    return folder
