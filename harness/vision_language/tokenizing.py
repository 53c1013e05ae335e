"""How a tokenizer makes ids of a text and a text of ids, as plain data, and whether its vocabulary tells it already."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness import digest

# The ways of Llama's tokenizer, and so of LLaVA-1.5's; and of micro-llava's. Tests hold them against the tokenizers.
WAYS = frozenset({
    "c4b12c95a14d06353c7db7b788fa774c62c8a4d0f7ec8abcd6970939afe7eabb",
    "2b5260add5d5a851a21f6ebcde8bf17bef8a6a28d8f104a2025f104fa51ea1bb",
})  # fmt: skip
# Whole tokenizers, vocabulary included, that CLIPs have without saying so: OpenAI's; the micro world's.
OF_CLIPS = frozenset({
    "a3d2a7372b0bdf70370b1f4a7590e7b30f02c745b3897146acbeb444f39f5806",
    "6f6da57c30f1a46ef7a2656042e37b1d464c121c45ed5887096af35481b6a9ec",
})  # fmt: skip
_USUAL_ADDED = ("<image>", "<pad>")
_SPACE = "▁"


def content(tokenizer: Any) -> dict[str, Any]:
    """All by which this tokenizer reads and writes, as plain data, without what its last call left in it."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    python = {
        name: getattr(tokenizer, name)
        for name, usual in (("clean_up_tokenization_spaces", False), ("split_special_tokens", False),
                            ("truncation_side", "right"))
        if getattr(tokenizer, name, None) not in (None, usual)
    }  # fmt: skip
    if backend is None:
        made = {key: str(value) for key, value in tokenizer.init_kwargs.items() if not key.endswith(("_file", "path"))}
        return {"kind": type(tokenizer).__name__, "vocabulary": sorted(tokenizer.get_vocab().items()), **made, **python}
    told = json.loads(backend.to_str())
    parts = {name: told[name] for name in ("normalizer", "pre_tokenizer", "post_processor", "decoder", "model")}
    added = [_added(token) for token in sorted(told["added_tokens"], key=lambda token: token["id"])]
    return _bare({**parts, "added": added, **python})  # type: ignore[no-any-return]


def _added(token: Mapping[str, Any]) -> list[Any]:
    """Id and words of a token that was added, and how it is looked for where that is not as for every special one."""
    flags = [name for name in ("single_word", "lstrip", "rstrip") if token[name]]
    # A special token is found before a text is normalised, whatever "normalized" says of the words around it.
    flags += ["plain", *(["normalized"] if token["normalized"] else [])] if not token["special"] else []
    return [token["id"], token["content"], *flags]


def _bare(value: Any) -> Any:
    """The value without what decides no ids: fields without a value, pairs of texts, offsets."""
    if isinstance(value, dict):
        return {k: _bare(v) for k, v in value.items() if v is not None and k not in ("pair", "trim_offsets")}
    return [_bare(one) for one in value] if isinstance(value, list) else value


def of_clip(tokenizer: Any) -> str:
    """The digest of all by which a CLIP's tokenizer reads; empty where it is one that goes without saying."""
    found = digest.of_json(content(tokenizer))
    return "" if found in OF_CLIPS else found


def beyond_vocabulary(tokenizer: Any) -> str:
    """The digest of all but vocabulary and special tokens; empty where it is as in LLaVA-1.5 or in micro-llava."""
    told = content(tokenizer)
    vocabulary = tokenizer.get_vocab()
    special = {*map(str, tokenizer.special_tokens_map.values()), *_USUAL_ADDED}
    more = [one for one in told.get("added", []) if len(one) > 2 or one[1] not in special]
    model = dict(told.get("model", {}))
    model.pop("vocab", None)
    merges = model.pop("merges", None)
    way = digest.of_json({**told, "model": model, "added": more})
    if way in WAYS and (merges is None or _from_vocabulary(merges, vocabulary)):
        return ""
    return digest.of_json([way, merges])


def _from_vocabulary(merges: Sequence[Sequence[str]], ids: Mapping[str, int]) -> bool:
    """Whether these are all merges that the vocabulary has, in the order of its ids: then it tells them.

    So sentencepiece's are, whoever wrote them out. Runs of spaces stand first or last; ways to make one token stand in
    the order of their pieces' ids (Llama's published file), or of the length of the first piece, rising or falling.
    """
    if not all(left in ids and right in ids and left + right in ids for left, right in merges):
        return False
    rest = [one for one in merges if (one[0] + one[1]).strip(_SPACE)]
    orders: tuple[Callable[[str, str], tuple[int, ...]], ...] = (
        lambda left, right: (ids[left], ids[right]),
        lambda left, right: (len(left),),
        lambda left, right: (-len(left),),
    )
    keyed = ([(ids[left + right], *order(left, right)) for left, right in rest] for order in orders)
    return any(keys == sorted(keys) for keys in keyed) and {(a, b) for a, b in merges} == _every(ids)


def _every(ids: Mapping[str, int]) -> set[tuple[str, str]]:
    """All two tokens that make a third one."""
    found = ((word[:n], word[n:]) for word in ids for n in range(1, len(word)))
    return {(left, right) for left, right in found if left in ids and right in ids}
