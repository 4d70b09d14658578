"""The loader: builds the whole configuration from files, or reports all problems at once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from probed.config.checks import Checks
from probed.config.defaults import read_defaults
from probed.config.files import Files
from probed.config.include import Includes
from probed.config.kinds import Kinds
from probed.config.model import Config, Position
from probed.config.origins import origins_of
from probed.config.problems import ConfigError, Problem
from probed.config.reading import read_text
from probed.config.section import Section, Sections
from probed.config.source import Node, Source
from probed.config.templates import Templates
from probed.config.values import Values
from probed.registry import Registry
from probed.text.redact import Redactor
from probed.text.suggest import closest

INCLUDED = ("include", "templates", "checks")
"""Top-level keys of an included file."""
KNOWN = Sections()
PLACES = ("./probed.yaml", "/etc/probed/probed.yaml")
_CHECKS = "write `checks:` and below it a list of checks, each with `name` and `probe`"


def find_config(
    explicit: Path | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Path:
    """Return the file to load: the one named, $PROBED_CONFIG, ./probed.yaml, /etc/probed/probed.yaml."""
    if explicit is not None:
        return explicit
    named = (os.environ if environ is None else environ).get("PROBED_CONFIG")
    if named:
        return Path(named)
    here = (cwd or Path()) / PLACES[0]
    for path in (here, Path(PLACES[1])):
        if os.path.exists(path):  # noqa: PTH110  # False also where its folder may not be read
            return path
    raise ConfigError([
        Problem(
            Position(str(here), 0, 0), "", f"no such file, and no {PLACES[1]}",
            "name one by -c FILE or PROBED_CONFIG",
        )
    ])  # fmt: skip


def load(
    path: Path,
    registry: Registry,
    environ: Mapping[str, str] | None = None,
    *,
    origins: bool = False,
    sections: Sections = KNOWN,
) -> Config:
    """Return the configuration of a file and of those that it includes. Raises ConfigError with all
    that is wrong. With `origins` it knows where each value was written. `sections` are the
    top-level ones that the file may hold.
    """
    full = _absolute(path)
    try:
        text = read_text(path)
    except ValueError as error:
        raise ConfigError([Problem(Position(str(path), 0, 0), "", str(error))], [full]) from None
    files = Files()
    files.read[full] = None
    files.add(text, str(path), full.parent)
    return _load(files, registry, environ, full, sections, origins=origins)


def loads(
    text: str,
    registry: Registry,
    *,
    name: str = "probed.yaml",
    environ: Mapping[str, str] | None = None,
    base: Path | None = None,
    origins: bool = False,
    sections: Sections = KNOWN,
) -> Config:
    """Return the configuration of a text; relative paths in it count from `base`."""
    files = Files()
    files.add(text, name, base)
    return _load(files, registry, environ, None, sections, origins=origins)


def _load(
    files: Files,
    registry: Registry,
    environ: Mapping[str, str] | None,
    path: Path | None,
    known: Sections,
    *,
    origins: bool,
) -> Config:
    values = Values(files, os.environ if environ is None else environ)
    config = (
        _read(values, registry, path, known, origins=origins) if files.sources[0].valid else None
    )
    read = tuple(dict.fromkeys(map(_absolute, (*files.read, *values.secrets.files))))
    error = files.error(Redactor(values.secrets.known | values.hidden), read)
    if error is not None or config is None:
        raise error or ConfigError([])
    redactor = Redactor(values.secrets.known)
    return config._replace(
        checks=tuple(check.without(redactor) for check in config.checks),
        redactor=redactor,
        warnings=tuple(values.warnings),
        path=path,
        files=read,
        globs=tuple(dict.fromkeys(files.globs)),
    )


def _absolute(path: Path) -> Path:
    try:
        return path.absolute()
    except FileNotFoundError:  # the working directory is gone, and with it whatever was in it
        return path


def _read(
    values: Values, registry: Registry, path: Path | None, known: Sections, *, origins: bool
) -> Config | None:
    main = values.files.sources[0]
    root = main.root
    if root is None or (root.value is None and root.plain):
        main.problem(main.whole, "", "is empty", _CHECKS)
        return None
    if not isinstance(root.value, dict):
        main.problem(root.start, "", "must be a mapping", _CHECKS)
        return None
    Includes(values, path).read()
    roots = [
        written for source in values.files.sources if (written := _written(values, source, known))
    ]
    settings = _sections(values, root.value, known)
    kinds = Kinds(values, registry)
    defaults = read_defaults(values, root.value.get("defaults"), kinds)
    templates = Templates(values, kinds, defaults.kinds)
    templates.read([each["templates"] for each in roots if "templates" in each])
    lists = [each["checks"] for each in roots if "checks" in each]
    if not lists:
        if values.files.complete:
            main.problem(main.whole, "checks", "is missing", _CHECKS)
        return None
    reader = Checks(values, kinds, defaults, templates)
    checks = reader.read(lists)
    templates.warn()
    config = Config(checks=checks, redactor=Redactor(), sections=settings, known=known)
    if origins:
        found = origins_of(values.files, root, defaults, config, reader.nodes)
        config = config._replace(origins=found)
    return config


def _written(values: Values, source: Source, known: Sections) -> Mapping[str, Node]:
    """Return the allowed top-level keys of a file, and note the others."""
    root = source.root
    if not source.valid or root is None or (root.value is None and root.plain):
        return {}
    if not isinstance(root.value, dict):
        values.wrong(root, "", "must be a mapping", f"write {_listed(INCLUDED)}")
        return {}
    main = (*known.names(), "defaults", *INCLUDED)
    allowed = INCLUDED if source.number else main
    for key, node in root.value.items():
        if key in allowed:
            continue
        values.files.hide(node.start, node.end)
        if key in main:
            values.files.problem(
                root.keys[key], key, "belongs in the main file",
                f"move it to {values.files.sources[0].name}; included files may hold {_listed(INCLUDED)}",
            )  # fmt: skip
        else:
            close = closest(key, [name for name in allowed if name not in root.value])
            values.files.problem(
                root.keys[key], key, "unknown key",
                f"did you mean `{close}`?" if close else f"known are {_listed(allowed)}",
            )  # fmt: skip
    return {key: node for key, node in root.value.items() if key in allowed}


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def _sections(values: Values, root: Mapping[str, Node], known: Sections) -> tuple[Section, ...]:
    """Return the sections that the file holds, and note their problems."""
    found: list[Section] = []
    for key in known.names():
        node = root.get(key)
        if node is None or (node.value is None and node.plain):
            continue
        section = values.model(node, known.load(key), key)
        if section is not None:
            found.append(section)
    return tuple(found)
