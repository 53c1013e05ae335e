"""Give what was written the permissions of any other new file."""

from __future__ import annotations

import os
from pathlib import Path


def as_new(folder: Path) -> None:
    """Lets whom the umask lets read every file directly in this folder; safetensors writes for the owner alone."""
    umask = os.umask(0o022)
    os.umask(umask)
    for path in folder.iterdir():
        if path.is_file() and not path.is_symlink():
            path.chmod(0o666 & ~umask)
