"""Names and specs: how things are found."""

from __future__ import annotations

import pytest

from harness import registry
from harness.errors import UsageError


@pytest.mark.parametrize(
    ("text", "name", "location", "options"),
    [
        ("micro", "micro", "", {}),
        ("clip:openai/clip-vit-large-patch14-336", "clip", "openai/clip-vit-large-patch14-336", {}),
        ("open-clip:ViT-L-14?weights=epoch_3.pt", "open-clip", "ViT-L-14", {"weights": "epoch_3.pt"}),
        (
            "openai:http://host:8000/v1?model=a/b&key_env=K",
            "openai",
            "http://host:8000/v1",
            {"model": "a/b", "key_env": "K"},
        ),
        ("clip:/a folder/with:colon", "clip", "/a folder/with:colon", {}),
    ],
)
def test_a_spec_is_name_location_and_options(text, name, location, options):
    spec = registry.parse_spec(text)
    assert (spec.name, spec.location, dict(spec.options)) == (name, location, options)


@pytest.mark.parametrize("text", ["", ":x", "clip?a", "?a=b"])
def test_a_spec_that_is_none_is_refused(text):
    with pytest.raises(UsageError):
        registry.parse_spec(text)


def test_everything_installed_is_found():
    registry.load()
    assert {"amber", "ohd-caps", "pope", "zero-shot"} <= set(registry.tasks)
    assert {"clip", "open-clip", "hashing"} <= set(registry.encoders)
    assert {"llava", "parrot"} <= set(registry.lvlms)


def test_a_broken_plugin_fails_with_its_name(cli, tmp_path):
    (tmp_path / "mine.py").write_text("import no_such_package\n")
    said = cli("list", "--include", tmp_path)
    assert said.code == 2
    assert "mine.py cannot be imported" in said.err


def test_a_name_taken_twice_is_refused(cli, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from harness.registry import task\nfrom harness.types import Task\n\n\n@task('pope')\nclass Pope(Task): ...\n"
    )
    said = cli("list", "--include", tmp_path)
    assert said.code == 2
    assert "'pope' is registered twice" in said.err


def test_a_plugin_with_an_error_of_its_own_is_named(cli, tmp_path):
    (tmp_path / "mine.py").write_text("1 / 0\n")
    said = cli("list", "--include", tmp_path)
    assert said.code == 2
    assert "mine.py" in said.err
