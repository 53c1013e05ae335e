"""The Hub: what is pushed can be pulled, cards hold what was measured, and offline or refused is said in one line."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from harness.store import Run, write_json

MakeRun = Callable[..., Run]
SHA = "a" * 40


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub as huggingface_hub asks of it for a commit and a snapshot."""

    protocol_version = "HTTP/1.1"
    files: dict[str, bytes] = {}  # noqa: RUF012
    tokens: set[str | None] = set()  # noqa: RUF012

    def log_message(self, *_: object) -> None: ...

    def _reply(self, thing: object, code: int = 200, headers: dict[str, str] | None = None) -> None:
        body = thing if isinstance(thing, bytes) else json.dumps(thing).encode()
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.tokens.add(self.headers.get("Authorization"))
        path = urlsplit(self.path).path
        if self.headers.get("Authorization") != "Bearer hf_right":
            self._reply({"error": "Invalid credentials"}, 401, {"X-Error-Message": "Invalid credentials"})
        elif path.endswith("/repos/create"):
            self._reply({"url": f"http://{self.headers['Host']}/datasets/me/runs", "id": "me/runs", "name": "me/runs"})
        elif path.endswith("/validate-yaml"):
            self._reply({"errors": [], "warnings": []})
        elif "/preupload/" in path:
            asked = json.loads(body)["files"]
            self._reply(
                {"files": [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in asked]}
            )
        elif "/commit/" in path:
            for line in body.decode().splitlines():
                one = json.loads(line)
                if one["key"] == "file":
                    self.files[one["value"]["path"]] = base64.b64decode(one["value"]["content"])
            self._reply(
                {
                    "commitUrl": f"http://{self.headers['Host']}/datasets/me/runs/commit/{SHA}",
                    "commitOid": SHA,
                    "hookOutput": "",
                    "pullRequestUrl": "",
                }
            )
        else:
            self._reply({"error": path}, 404)

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if "/resolve/" in path:
            found = self.files[path.split(f"/resolve/{SHA}/")[1]]
            etag = {"ETag": f'"{hashlib.sha1(found).hexdigest()}"', "X-Repo-Commit": SHA}
            self._reply(found, headers=etag)
        elif "/tree/" in path:
            self._reply([{"type": "file", "path": name, "size": len(what), "oid": hashlib.sha1(what).hexdigest()}
                         for name, what in self.files.items()])  # fmt: skip
        else:
            self._reply({"id": "me/runs", "sha": SHA, "siblings": [{"rfilename": name} for name in self.files]})

    do_HEAD = do_GET


@pytest.fixture
def hub() -> Iterator[str]:
    Hub.files.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def online(endpoint: str, home: Path, *words: object, token: str = "hf_right") -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0", "HF_HOME": str(home), "HF_TOKEN": token,
           "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1"}  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "ohd_bench", *map(str, words)], env=env, capture_output=True, text=True
    )


def test_runs_that_are_pushed_can_be_pulled(hub: str, make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("a@1", tasks=("pope",))
    done = online(hub, tmp_path / "home", "results", "push", "me/runs", "--results", run.folder.parent)
    assert (done.returncode, done.stdout) == (0, f"{hub}/datasets/me/runs/commit/{SHA}\n"), done.stderr
    card = Hub.files["README.md"].decode()
    assert card.startswith("---\n") and "ohd-bench results pull me/runs" in card and "| 1 |" in card
    linked = re.findall(r"\]\(([^)]*%40[^)]*)\)", card)
    assert linked and all(f"{unquote(link)}/run.json" in Hub.files for link in linked)
    assert set(Hub.files) == {"README.md", "results/a@1/run.json", "results/a@1/pope/records.jsonl"}
    done = online(hub, tmp_path / "home", "results", "pull", "me/runs", "--results", tmp_path / "mine")
    assert done.returncode == 0, done.stderr
    assert Run(tmp_path / "mine" / "a@1").records("pope") == run.records("pope")
    refused = online(
        hub, tmp_path / "home", "results", "push", "me/runs", "--results", run.folder.parent, token="hf_no"
    )
    assert refused.returncode == 1 and refused.stderr.count("\n") <= 2
    assert "the Hub says" in refused.stderr and "hf auth login" in refused.stderr


def test_offline_is_said_and_what_would_be_pushed_can_be_written(cli, make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("a@1", tasks=("pope",))
    results = ("--results", run.folder.parent)
    said = cli("results", "push", "me/runs", *results)
    assert said.code == 2 and "HF_HUB_OFFLINE is set" in said.err and "--dry-run DIR" in said.err
    said = cli("results", "pull", "me/runs-that-nobody-has", *results)
    assert said.code == 2 and "was not fetched before, and HF_HUB_OFFLINE is set" in said.err
    assert cli("results", "push", "me/runs", *results, "--dry-run", tmp_path / "out").code == 0
    kept = tmp_path / "out" / "results" / "a@1" / "pope" / "records.jsonl"
    assert kept.read_bytes() == run.records_path("pope").read_bytes()


def test_an_encoders_card_holds_its_recipe_and_what_runs_of_its_weights_measured(
    cli, make_run: MakeRun, tmp_path: Path
) -> None:
    from huggingface_hub import ModelCard

    run = make_run("a@1", tasks=("pope",))
    run.update(encoder={"spec": "clip:x", "digest": "d1"}, control="none", limit=0, status="complete")
    folder = tmp_path / "tuned"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "log.jsonl").write_text("{}")
    write_json(folder / "recipe.json", {
        "recipe": {"name": "ohd-b32", "base": "openai/clip-vit-base-patch32"}, "digest": "d1", "base_digest": "d0",
        "data": {"digest": "d2"},
    })  # fmt: skip
    out = tmp_path / "out"
    words = ("me/tuned", "--results", run.folder.parent, "--licence", "mit", "--dry-run", out)
    assert cli("encoder", "push", folder, *words).code == 0
    assert {path.name for path in out.iterdir()} == {"README.md", "config.json", "model.safetensors", "recipe.json"}
    data = ModelCard.load(out / "README.md").data
    assert (data.base_model, data.license) == ("openai/clip-vit-base-patch32", "mit")
    assert data.ohd_bench["recipe"] == "ohd-b32" and data.ohd_bench["digest"] == "d1"
    (result,) = data.eval_results
    assert (result.dataset_type, result.metric_type) == ("pope", "f1") and "micro world" in result.dataset_name
    said = cli("encoder", "push", tmp_path, "me/x", "--dry-run", out)
    assert said.code == 2 and "config.json" in said.err
