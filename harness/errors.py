"""What can go wrong in a way the user can put right, each kind with the exit code it ends with."""

import signal


class OhdBenchError(Exception):
    """One clear line for the user; the command ends with ``code`` and no traceback."""

    code = 1
    label = "error"
    """The word before the line."""


class UsageError(OhdBenchError):
    """The words of the command, or a file handed to it, are wrong (exit 2)."""

    code = 2


class DataError(OhdBenchError):
    """Data is missing or is not what its checksum says (exit 3)."""

    code = 3


class BrokenDataError(DataError):
    """A data file that is there says what cannot be right (exit 3): never passed over, even where nobody named it."""


class ModelError(OhdBenchError):
    """A model cannot be loaded, or does not fit where it is to go (exit 4)."""

    code = 4


class GateError(OhdBenchError):
    """A gate the user set has failed (exit 5)."""

    code = 5


class DegenerateError(OhdBenchError):
    """A model's outputs are not finite, or all the same (exit 6)."""

    code = 6


class Stopped(OhdBenchError):
    """SIGINT or SIGTERM came, and was heeded where nothing is lost (exit 130 or 143)."""

    def __init__(self, said: str, number: int) -> None:
        super().__init__(said)
        self.code, self.label = 128 + number, signal.Signals(number).name
