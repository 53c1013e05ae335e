"""p(yes): the probability of every spelling of yes against that of no, at the first token of an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_MARKS = "▁Ġ \n\t"


@dataclass(frozen=True)
class YesNoTokens:
    """The ids of the tokens with which a yes or a no may begin."""

    yes: tuple[int, ...]
    no: tuple[int, ...]

    def p_yes(self, logits: Tensor) -> float | None:
        """Mass of yes by mass of yes and no [V]; None where the tokenizer cannot tell the two apart."""
        found = self.of_all(logits[None])
        return None if found is None else float(found[0])

    def of_all(self, logits: Tensor) -> Tensor | None:
        """The same of each row [N] of [N, V], where the logits are; None where the tokenizer cannot tell."""
        if not self.yes or not self.no:
            return None
        log_mass = torch.log_softmax(logits.float(), dim=-1)
        yes, no = (log_mass[:, list(ids)].logsumexp(1) for ids in (self.yes, self.no))
        return torch.sigmoid(yes - no)


def of_tokenizer(tokenizer: Any) -> YesNoTokens:
    """Every token that is a whole yes or no, in any case and with or without a space before it.

    Where the words are no tokens of their own, the first pieces that only one of the two begins with.
    """
    spelled: dict[str, set[int]] = {"yes": set(), "no": set()}
    for token, number in tokenizer.get_vocab().items():
        word = token.removesuffix("</w>").strip(_MARKS).lower()
        if word in spelled:
            spelled[word].add(number)
    if not all(spelled.values()):
        spelled = _first_pieces(tokenizer)
    return YesNoTokens(tuple(sorted(spelled["yes"])), tuple(sorted(spelled["no"])))


def _first_pieces(tokenizer: Any) -> dict[str, set[int]]:
    spellings = ("{}", " {}")
    pieces: dict[str, set[int]] = {}
    for word in ("yes", "no"):
        texts = [form.format(case) for form in spellings for case in (word, word.title(), word.upper())]
        first = [tokenizer(text, add_special_tokens=False)["input_ids"][:1] for text in texts]
        pieces[word] = {ids[0] for ids in first if ids and ids[0] != tokenizer.unk_token_id}
    both = pieces["yes"] & pieces["no"]
    return {word: ids - both for word, ids in pieces.items()}
