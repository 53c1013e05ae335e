"""Word-level tokenizers of the micro models, in transformers' fast format."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from harness.micro.classes import CLASSES, COLOURS, NUMBERS, POSES, THEMES, plural

# The end token is 3, never 2: at 2, transformers' CLIP takes the embedding at argmax(input_ids), which for a word-level
# vocabulary is some word of the caption, and captions that share it look the same.
PAD, START, UNKNOWN, END, IMAGE = "<pad>", "<s>", "<unk>", "</s>", "<image>"
SPECIAL = (PAD, START, UNKNOWN, END)

_WORDS = ",.?: a an and there is picture of here we see in the on at empty"
_TALK = (
    "USER ASSISTANT Yes No Is Are Does Describe What Please describe answer Answer with yes or no using single word "
    "phrase question this image direct contact between color cell each are"
)


def caption_words() -> list[str]:
    """Every word a caption can have."""
    marks, rest = _WORDS.split(" ", 1)
    return _unique([*marks, *rest.split(), *THEMES, *COLOURS, *CLASSES])


def talk_words() -> list[str]:
    """Every word a conversation can have."""
    poses = [pose for pair in POSES.values() for pose in pair]
    return _unique([*caption_words(), *NUMBERS, *map(plural, CLASSES), *poses, *_TALK.split()])


def _unique(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))


def caption_tokenizer(length: int) -> PreTrainedTokenizerFast:
    """Captions as start, words, end; case is dropped."""
    tokenizer = _tokenizer(caption_words(), ())
    tokenizer.normalizer = normalizers.Lowercase()
    ends = [(START, SPECIAL.index(START)), (END, SPECIAL.index(END))]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{START} $A {END}", special_tokens=ends)
    return _fast(tokenizer, length)


def talk_tokenizer(length: int) -> PreTrainedTokenizerFast:
    """Conversations as start and words, case kept, with a token in whose place an image goes."""
    tokenizer = _tokenizer(talk_words(), (IMAGE,))
    start = [(START, SPECIAL.index(START))]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{START} $A", special_tokens=start)
    return _fast(tokenizer, length, extra_special_tokens={"image_token": IMAGE})


def _tokenizer(words: list[str], more: tuple[str, ...]) -> Tokenizer:
    order = [*SPECIAL, *more, *words]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(order)}, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    return tokenizer


def _fast(tokenizer: Tokenizer, length: int, **more: object) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=START,
        eos_token=END,
        unk_token=UNKNOWN,
        pad_token=PAD,
        model_max_length=length,
        padding_side="right",
        **more,
    )
