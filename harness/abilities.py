"""What some models can do besides answering: asked for where it is of use, and required of none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from harness.types import Asked

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


@runtime_checkable
class SeesPixels(Protocol):
    """An encoder that can tell how its tower's pixels are made."""

    def image_processor(self) -> Any:
        """transformers' image processor for its tower."""


@runtime_checkable
class LooksAtFiles(Protocol):
    """An encoder that decodes a picture file once, over all runs."""

    def look(self, path: Path) -> Image:
        """The picture as it is after resizing, or whole: ``encode_images`` gives the same row of both, to the bit.

        ImageError where the file holds none.
        """


@runtime_checkable
class Convertible(Protocol):
    """An encoder whose weights can be read by name and written in another layout."""

    def tensors(self) -> Mapping[str, Tensor]:
        """The weights of both towers under the hub's names."""

    def save(self, folder: Path, to: str) -> None:
        """Writes the encoder in the layout of ``hf`` or ``open-clip``."""


@runtime_checkable
class ShowsIds(Protocol):
    """An LVLM that can tell which token ids a question becomes."""

    def prompt_ids(self, one: Asked) -> Sequence[int] | None:
        """Ids of the first of these questions as the model reads them, image tokens included; None if not known."""


@runtime_checkable
class Served(ShowsIds, Protocol):
    """An LVLM elsewhere, whose folder may lie here as well."""

    def differs(self, one: Asked, ids: Sequence[int]) -> str | None:
        """How a question's ids there differ from those here; "" where they do not, None where nothing compares."""


@runtime_checkable
class Engined(Protocol):
    """An LVLM host whose questions another program answers, which it starts and ends."""

    @property
    def own(self) -> str:
        """The spec of the same LVLM answered by this process."""

    def end(self) -> None:
        """Ends that program, and lets go of whatever was loaded beside."""
