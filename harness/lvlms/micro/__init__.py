"""``micro-llava``: a small shipped LLaVA of the micro world (docs/micro_world.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from harness import registry
from harness.compute import devices
from harness.errors import ModelError, UsageError
from harness.lvlms.llava import files, llava, served
from harness.types import LVLM, Encoder, LvlmHost, Place, Spec

WEIGHTS = Path(__file__).parent / "weights"
PROJECTORS = WEIGHTS / "projectors"
# As devices.one_thread, for vLLM on a CPU; where that binds threads it also sets their number (0.32).
ONE_THREAD = {"OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}


@registry.lvlm("micro-llava", files=lambda spec: [WEIGHTS, *files(spec, "")], elsewhere=served)
def micro_llava(spec: Spec, place: Place) -> LvlmHost:
    """The shipped LLaVA of the micro world, with one projector for all towers or each with its own.

    ``micro-llava[?projector=base|aligned|FILE]``; ``engine=vllm`` and its options as for ``llava``.
    """
    if spec.location:
        raise UsageError(f"'{spec.text}': micro-llava is a shipped model; for another folder write llava:FOLDER")
    if served(spec):
        from harness.vision_language.vllm.engine import Engine

        make = lambda plain, there: micro_llava(replace(plain, location=""), there)  # noqa: E731
        return Engine(replace(spec, location=str(WEIGHTS)), place, make, ONE_THREAD)
    devices.one_thread()
    options = dict(spec.options)
    projector = options.pop("projector", "base")
    plain = Spec("llava", str(WEIGHTS), options, spec.text)
    if projector == "base":
        return llava(plain, place)
    if projector == "aligned":
        return Aligned(plain, place)
    return llava(_behind(plain, Path(projector)), place)


@dataclass(frozen=True)
class Aligned:
    """Gives each tower the projector that was trained for it, known by the tower's digest."""

    spec: Spec
    place: Place

    def __call__(self, encoder: Encoder | None) -> LVLM:
        """The LVLM with this encoder's tower and its own projector; ModelError where none was trained for it."""
        from harness.vision_language.host import Host
        from harness.vision_language.identity import weights_digest

        name = "micro" if encoder is None else projectors().get(weights_digest(encoder.tower()))
        if name is None:
            whose = encoder.spec if encoder else ""
            raise ModelError(
                f"no projector was trained for the tower of {whose}; there is one for each of "
                f"{', '.join(sorted(projectors().values()))}; ?projector=base takes any tower that fits"
            )
        host = llava(_behind(self.spec, PROJECTORS / f"{name}.safetensors"), self.place)
        assert isinstance(host, Host)
        host.laid.remove("projector")  # the tower's own, so no rung of the alignment ladder
        return host(encoder)


def _behind(spec: Spec, projector: Path) -> Spec:
    return Spec(spec.name, spec.location, {**spec.options, "projector": str(projector)}, spec.text)


def projectors() -> Mapping[str, str]:
    """The names of the shipped projectors by the digest of the tower's weights that each was trained for."""
    from safetensors import safe_open

    found = {}
    for path in sorted(PROJECTORS.glob("*.safetensors")):
        with safe_open(path, framework="np") as file:
            found[file.metadata()["tower"]] = path.stem
    return found
