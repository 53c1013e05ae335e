"""The chat template of a written LVLM: whoever reads the folder asks, token for token, what was asked here.

A server tokenises a rendered chat in one pass and adds no start token (vLLM 0.32: ``add_special_tokens`` of a chat is
false), so the template writes the start token, and spaces where LLaVA's way of tokenising around the picture has them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from harness.errors import ModelError
from harness.vision_language import template
from harness.vision_language.tokens import IMAGE

# Behind a start token that is written out, some tokenizers put no space before the first word, as they do at a start.
STARTS = ("{{ bos_token }}", "{{ bos_token }} ", "")
QUESTIONS = ("Is there a dog in this image?", "Describe this image.\nAnswer in one sentence.")

# LLaVA's vicuna_v1, several turns included: turns end in " " and "</s>", and no space follows the latter.
VICUNA_V1 = (
    "SYSTEM {% for message in messages %}{% if message['role'] == 'user' %}USER: {% if message['content'] is string %}"
    "{{ message['content'] }}{% else %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}{{ 'IMAGE' }}{% endfor %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ part['text'] }}"
    "{% if not loop.last %}{{ ' ' }}{% endif %}{% endfor %}{% endif %}{{ ' ' }}"
    "{% elif message['role'] == 'assistant' %}ASSISTANT: {% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}{{ part['text'] }}{% endfor %}{% endif %}{{ eos_token }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
).replace("SYSTEM", template.SYSTEM)


def of_host(host: Any) -> str:
    """The template under which this host's questions have, in one pass and with nothing added, the ids they have here.

    ModelError where there is none: then a folder of this LVLM would answer other questions than were asked here.
    """
    for written in _candidates(host):
        if _asks_the_same(host, written):
            return written
    raise ModelError(
        f"{host.spec.text}: no chat template gives the token ids that it is asked with here; its tokenizer treats the "
        "words around a picture otherwise than LLaVA's; try ?template=chat"
    )


def _candidates(host: Any) -> Iterator[str]:
    """Ways to write the template that this host is asked in, the usual ones first."""
    own = template.own_chat(host.processor)
    if host.asked["template"] == "chat":
        yield from (own, *(start + own for start in STARTS if start))
        return
    for start, newline in product(STARTS, ("\\n", " \\n")):
        yield start + VICUNA_V1.replace("IMAGE", host.image_token + newline)


def _asks_the_same(host: Any, written: str) -> bool:
    """Whether a server with this template reads what the model reads here, with a picture and without."""
    processor, image = host.processor, [host.model.config.image_token_id] * 3
    for question, picture in product(QUESTIONS, (True, False)):
        text = template.chat(processor, written)(question, picture)
        marked = text.replace(IMAGE, host.image_token)
        ids = processor.tokenizer(marked, add_special_tokens=False)["input_ids"]
        served = [id for token in ids for id in (image if token == image[0] else [token])]
        if served != host.template.ids(host.render(question, picture), image):
            return False
    return True
