"""``ohd-bench doctor`` says what there is, what to do, and no secret."""

from __future__ import annotations

import importlib.metadata


def test_it_says_versions_devices_and_what_is_registered(cli):
    said = cli("doctor", "--json").json()
    found = {row["what"]: row["found"] for row in said["looked"]}
    assert found["numpy"] == importlib.metadata.version("numpy")
    assert "tasks" in found["registered"] and "GB free" in found["disk of the cache"]
    assert said["well"] == (not any(row["advice"] for row in said["looked"]))


def test_a_cache_that_cannot_be_written_is_advice_and_exit_1(cli, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("OHD_BENCH_CACHE", str(tmp_path / "file" / "cache"))
    said = cli("doctor")
    assert said.code == 1 and "do: set OHD_BENCH_CACHE" in said.out


def test_no_secret_is_shown(cli, monkeypatch):
    monkeypatch.setenv("OHD_BENCH_API_KEY", "sk-very-secret")
    said = cli("doctor", "--json")
    assert "sk-very-secret" not in said.out and "OHD_BENCH_API_KEY" in said.out
