"""What decides an address: the models that a spec names, and the rows that trainings read, by their bytes."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from harness import digest, registry
from harness.data import Data

READ_IN_TRAINING = ("ohd_caps/train", "ohd_caps/dev", "web")


def identity(spec: str) -> dict[str, Any]:
    """What a spec names, without loading it: its words, and the bytes of the weights that lie where it says.

    A trained encoder's folder is named by its address, so its name is enough. Of a shipped model, the weights are
    those beside the module that makes it.
    """
    parsed = registry.parse_spec(spec)
    folder = Path(parsed.location)
    if parsed.location and folder.parent.name in ("trainings", "alignments"):
        return {"made": folder.name, "options": parsed.options}
    options = {key: value if key != "images" else Path(value).name for key, value in parsed.options.items()}
    named = {"spec": [parsed.name, parsed.location], "options": options}
    maker = registry.encoders.get(parsed.name) or registry.lvlms.get(parsed.name)
    beside = Path(inspect.getfile(maker)).parent / "weights" if maker and not parsed.location else folder
    return named | {"files": _weights(beside)}


def _weights(folder: Path) -> str:
    kinds = (".safetensors", ".bin", ".json")
    files = sorted(path for path in folder.rglob("*") if path.suffix in kinds) if folder.is_dir() else []
    return digest.of_json([[str(path.relative_to(folder)), digest.of_unchanged(path)] for path in files])


def rows_digest(data: Data) -> str:
    """A digest of the files that trainings read their rows from."""
    files = [path for part in READ_IN_TRAINING for path in sorted((data.root / part).glob("*.json*"))]
    return digest.of_json([[str(path.relative_to(data.root)), digest.of_unchanged(path)] for path in files])
