"""The installed probe kinds, by entry point. A class is imported when it is first needed."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from importlib import metadata

from probed.probe import Probe
from probed.reasons import Reason
from probed.text.suggest import closest

GROUP = "probed.probes"
_MEANT: Mapping[str, str] = {
    "cert": "tls", "certificate": "tls", "ssl": "tls",
    "dkim": "email_auth", "dmarc": "email_auth", "spf": "email_auth",
    "health": "gateway", "http": "gateway", "https": "gateway", "url": "gateway", "web": "gateway",
    "icmp": "tcp", "ping": "tcp", "port": "tcp",
    "imap": "email_roundtrip", "mailbox": "email_roundtrip",
    "mail": "smtp", "email": "smtp", "relay": "smtp",
    "mongodb": "mongo",
    "postfix": "email_queue", "postqueue": "email_queue",
    "resolve": "dns",
    "webhook": "stripe",
}  # fmt: skip
"""By names that people write for a kind: the kind that does it."""


class RegistryError(Exception):
    """A probe kind that cannot be used, or that two packages offer."""


class UnknownKindError(RegistryError):
    """No installed package offers a kind of that name."""

    def __init__(self, kind: str, kinds: Iterable[str]) -> None:
        self.kinds = tuple(kinds)
        meant = _MEANT.get(kind.lower())
        self.close = meant if meant in self.kinds else closest(kind, self.kinds)
        offered = "there are " + ", ".join(self.kinds) if self.kinds else "none is installed"
        hint = f"did you mean `{self.close}`? " if self.close else ""
        super().__init__(f"unknown probe kind; {hint}{offered}")


class Registry:
    """The probe kinds that the installed packages offer, or those given."""

    def __init__(self, kinds: Mapping[str, type[Probe]] | None = None) -> None:
        self._offers: dict[str, metadata.EntryPoint] | None = None if kinds is None else {}
        self._loaded = {kind: accept(kind, probe) for kind, probe in (kinds or {}).items()}

    def kinds(self) -> tuple[str, ...]:
        """Return the names, sorted, without importing anything."""
        return tuple(sorted({*self._entry_points(), *self._loaded}))

    def load(self, kind: str) -> type[Probe]:
        """Return the class of a kind. Raises RegistryError."""
        probe = self._loaded.get(kind)
        if probe is None:
            offer = self._entry_points().get(kind)
            if offer is None:
                raise UnknownKindError(kind, self.kinds())
            probe = self._loaded[kind] = accept(kind, _import(offer))
        return probe

    def _entry_points(self) -> dict[str, metadata.EntryPoint]:
        if self._offers is None:
            self._offers = unique(metadata.entry_points(group=GROUP))
        return self._offers


def unique(offers: Iterable[metadata.EntryPoint]) -> dict[str, metadata.EntryPoint]:
    """Return entry points by name. Raises RegistryError where two packages offer the same kind."""
    found: dict[str, metadata.EntryPoint] = {}
    for offer in offers:
        other = found.setdefault(offer.name, offer)
        if other is not offer and (_package(other), other.value) != (_package(offer), offer.value):
            pair = " and ".join(sorted((_package(other), _package(offer))))
            raise RegistryError(
                f"the probe kind `{offer.name}` is offered by {pair}; uninstall one of them"
            )
    return found


def accept(kind: str, probe: object) -> type[Probe]:
    """Return the class, if it can serve as that kind. Raises RegistryError."""
    if not (isinstance(probe, type) and issubclass(probe, Probe)):
        raise RegistryError(f"the probe kind `{kind}` is not a subclass of probed.Probe")
    where = f"the probe kind `{kind}` ({probe.__module__}.{probe.__qualname__})"
    if inspect.isabstract(probe):
        raise RegistryError(f"{where} does not implement `probe`")
    declared = getattr(probe, "kind", None)
    if declared != kind:
        raise RegistryError(f"{where} calls itself {declared!r}; both names must be the same")
    shared = {reason.value for reason in Reason}
    clash = sorted(shared & {reason.value for reason in probe.reasons or ()})
    if clash:
        raise RegistryError(f"{where} redefines the shared reason {', '.join(clash)}")
    return probe


def check_foreign_probes_package(
    distributions: Mapping[str, Iterable[str]] | None = None,
) -> None:
    """Refuse to run where another distribution installed a package `probes` over ours."""
    found = metadata.packages_distributions() if distributions is None else distributions
    owners = sorted(set(found.get("probes", ())))
    if len(owners) > 1:
        raise RegistryError(
            f"the package `probes` is installed by {' and '.join(owners)}, and one has overwritten "
            "files of the other; uninstall the foreign one and install probed-daemon again"
        )


def _import(offer: metadata.EntryPoint) -> object:
    try:
        return offer.load()
    except Exception as error:
        raise RegistryError(
            f"the probe kind `{offer.name}` of {_package(offer)} cannot be imported: "
            f"{type(error).__name__}: {error}"
        ) from error


def _package(offer: metadata.EntryPoint) -> str:
    return offer.dist.name if offer.dist is not None else offer.value
