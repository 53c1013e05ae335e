"""``python -m ohd_bench``, and where the ``ohd-bench`` command begins: first it makes sure that it is all there."""

from __future__ import annotations

import sys

from ohd_bench import own


def main() -> None:
    """Run the command; exit 2 in one line where another package stands in place of a part of ours."""
    if found := own.stranger():
        sys.exit(_refused(found))
    from harness.cli import main as command

    command()


def _refused(found: str) -> int:
    print(f"error: {found}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
