"""Conversion of nodes into values for pydantic, and of pydantic's errors into problems."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, SecretStr, ValidationError

from probed.config.excerpt import names_secret
from probed.config.files import Files
from probed.config.interpolate import Filled, InterpolationError, interpolate
from probed.config.messages import explain, mistyped
from probed.config.place import Place, locate
from probed.config.references import WRITE, SecretError, Secrets
from probed.config.scalars import resolve
from probed.config.shape import ANY, Shape, shape_of
from probed.config.source import REFERENCES, Mark, Node
from probed.text.suggest import closest

Model = TypeVar("Model", bound=BaseModel)
HINTED = 1000
"""Problems after which nobody reads hints any more."""
_RETYPED = {"", "flag", "whole", "number"}
_MAPPING = "must be a mapping: keys and values, one a line"
_JUDGED = {"value_error", "assertion_error"}
"""Errors that a validator of a whole model raises, beside those with names of their own."""


class Values:
    """Reads the files' nodes. `hidden` is what no error may repeat; `warnings` are for people."""

    def __init__(self, files: Files, environ: Mapping[str, str]) -> None:
        self.files = files
        self.warnings: dict[str, None] = {}
        self.secrets = Secrets(environ, self.warnings)
        self.hidden: set[str] = set()
        self._environ = environ
        self._bad: set[Mark] = set()
        self._wrong = 0

    @property
    def hints(self) -> bool:
        """Whether suggestions are still looked for: they cost time, and nobody reads thousands."""
        return self.files.count < HINTED

    def model(
        self,
        node: Node,
        model: type[Model],
        path: str,
        *,
        leave_out: frozenset[str] = frozenset(),
        also_known: Iterable[str] = (),
        values: dict[str, Any] | None = None,
        partial: bool = False,
    ) -> Model | None:
        """The settings that a mapping holds; None, and problems, where they are wrong.

        Keys in `leave_out` are read elsewhere; those in `also_known` may be meant by a typo.
        `values` receives the values as pydantic saw them. Of what is `partial`, as templates are,
        the parts that are there are judged; what is made of them is of no use.
        """
        if not isinstance(node.value, dict):
            self.wrong(node, path, _MAPPING)
            return None
        shape = shape_of(model)
        fields = shape.fields
        data = {
            key: self.data(child, fields.get(key, ANY), _join(path, key), key)
            for key, child in node.value.items()
            if key not in leave_out
        }
        if values is not None:
            values.update(data)
        before = self._wrong
        try:
            made = model.model_validate(data)
        except ValidationError as error:
            self._explain(error, Place(node, shape, path), also_known, partial=partial)
            return None
        return made if self._wrong == before else None

    def wrong(self, node: Node, path: str, message: str, remedy: str = "") -> None:
        """Note a problem of a value, which silences any other of the same value."""
        self._wrong += 1
        self._bad.add(node.start)
        path = path if node.shared is None else node.shared.path
        self.files.problem(node.start, path, message, remedy)

    def is_wrong(self, node: Node) -> bool:
        return node.start in self._bad

    def data(
        self, node: Node, shape: Shape, path: str, key: str = "", *, entry: bool = False
    ) -> Any:
        """The plain value, with variables filled in and secrets found.

        `entry` is true of the values of a mapping with free keys, such as headers.
        """
        value = node.value
        if node.shared is not None:
            path = node.shared.path
        if isinstance(value, dict):
            if shape.secret and is_reference(value, shape):
                return self._reference(node, value, path)
            return self._mapping(value, shape, path)
        if isinstance(value, list):
            items = shape.items or ANY
            return [self.data(child, items, f"{path}[{at}]") for at, child in enumerate(value)]
        if isinstance(value, str):
            return self._text(node, value, shape, path, key, entry=entry)
        if shape.secret and value is not None and not entry:
            self.files.hide(node.start, node.end)
            self.wrong(node, path, "a secret may not stand in the file", WRITE)
            return SecretStr("")
        self._check_type(node, value, shape, path)
        return value

    def _mapping(self, value: Mapping[str, Node], shape: Shape, path: str) -> dict[str, Any]:
        fields, values = shape.fields, shape.values
        return {
            name: self.data(
                child,
                fields.get(name) or values or ANY,
                _join(path, name),
                name,
                entry=values is not None and name not in fields,
            )
            for name, child in value.items()
        }

    def _text(
        self, node: Node, text: str, shape: Shape, path: str, key: str, *, entry: bool
    ) -> Any:
        # A file that a secret may stand in: a key that was pasted is no path.
        secret = shape.secret and (shape.scalar != "path" or "\n" in text or "-----" in text)
        filled = self._fill(node, text, path, secret=secret) if "$" in text else Filled(text)
        if filled is None:
            return SecretStr("") if secret else text
        if secret:
            return self._secret_text(node, filled, path, key, entry=entry)
        if names_secret(key) or shape.private:
            self.hidden.add(filled.text)
        value: Any = filled.text
        if filled.values and node.plain and shape.scalar in _RETYPED:
            value = resolve(value)
        self._check_type(node, value, shape, path)
        if shape.scalar == "path" and value:
            folder = self.files.folder(node.start)
            return value if folder is None else str(folder / value)
        return value

    def _check_type(self, node: Node, value: object, shape: Shape, path: str) -> None:
        complaint = mistyped(value, shape)
        if complaint is not None:
            self.wrong(node, path, *complaint)

    def _fill(self, node: Node, text: str, path: str, *, secret: bool) -> Filled | None:
        try:
            filled = interpolate(text, self._environ)
        except InterpolationError as error:
            self.wrong(node, path, str(error), error.remedy)
            return None
        for name, value in filled.values:
            self.hidden.add(value)
            if secret or names_secret(name):
                self.secrets.add(value)
        return filled

    def _secret_text(
        self, node: Node, filled: Filled, path: str, key: str, *, entry: bool
    ) -> SecretStr:
        if not filled.values:
            self.files.hide(node.start, node.end)
            self.hidden.add(filled.text)
            if not entry:
                self.wrong(node, path, "a secret may not stand in the file", WRITE)
        if filled.values or names_secret(key):
            self.secrets.add(filled.text)
        return SecretStr(filled.text)

    def _reference(self, node: Node, value: Mapping[str, Node], path: str) -> SecretStr:
        source, name = next(iter(value.items()), ("", node))
        if len(value) != 1 or source not in REFERENCES:
            self.wrong(node, path, "does not say where the secret is", WRITE)
            return SecretStr("")
        where = _join(path, source)
        text = self.data(name, Shape(scalar="text"), where)
        if not isinstance(text, str):
            if text is None:
                self.wrong(name, where, "has no value", WRITE)
            return SecretStr("")
        if name.start not in self._bad:
            try:
                folder = self.files.folder(name.start)
                return SecretStr(self.secrets.find(source, text, folder))
            except SecretError as error:
                if error.exposed:
                    self.files.hide(name.start, name.end)
                self.wrong(name, where, str(error), error.remedy)
        return SecretStr("")

    def _explain(
        self, error: ValidationError, root: Place, also_known: Iterable[str], *, partial: bool
    ) -> None:
        found: dict[tuple[Mark, str], list[tuple[str, str, bool]]] = {}
        for detail in error.errors(include_url=False):
            place = locate(root, detail["loc"])
            if partial and _may_be_completed(detail["type"], place):
                continue
            if detail["type"] == "extra_forbidden":
                top = place.owner is root.node
                kind = getattr(root.shape.models[0], "kind", "") if top else ""
                self._unknown_key(place, also_known if top else (), kind)
            elif detail["type"] == "missing":
                self.files.problem(place.mark, place.path, "is missing", place.write)
            elif place.node.start not in self._bad or place.is_key:
                message, remedy, foreign = explain(detail, place.shape)
                if foreign:
                    message = _without(message, detail["input"], secret=place.shape.secret)
                said = found.setdefault((place.mark, place.path), [])
                if (message, remedy, foreign) not in said:
                    said.append((message, remedy, foreign))
        for (mark, path), said in found.items():
            message = ", or ".join(message for message, _, _ in said)
            remedy = next((remedy for _, remedy, _ in said if remedy), "")
            self.files.problem(mark, path, message, remedy, foreign=any(f for *_, f in said))

    def _unknown_key(self, place: Place, also_known: Iterable[str], kind: str) -> None:
        known = {**place.siblings, **dict.fromkeys(also_known, ANY)}
        free = [name for name in known if name not in place.written]
        hint = place.hint
        close = closest(place.key, free, 0.7) if self.hints and hint is None else None
        if (close is None or known[close].secret or names_secret(close)) and _may_be_secret(place):
            # It may be the misspelt name of a secret.
            self.files.hide(place.node.start, place.node.end)
        if hint is not None:
            remedy = hint
        elif close is not None:
            remedy = f"did you mean `{close}`?"
        elif not free:
            remedy = "remove it"
        else:
            # What is shared may be right for a check of another kind.
            known_to = f"to a check of {kind} " if kind and place.node.shared is not None else ""
            remedy = f"known {known_to}are {', '.join(sorted(free))}"
        self.files.problem(place.key_mark, place.path, "unknown key", remedy)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def is_reference(value: Mapping[str, Node], shape: Shape) -> bool:
    """Return whether a mapping that stands for a secret is a reference to it."""
    return value.keys() <= set(REFERENCES) or not (shape.models or shape.values)


def _may_be_completed(kind: str, place: Place) -> bool:
    """Return whether the keys of a check beside its template can fix an error."""
    if kind in {"missing", "union_tag_not_found"}:
        return True
    return isinstance(place.node.value, dict) and not place.is_key and kind in _JUDGED


def _may_be_secret(place: Place) -> bool:
    """Return whether the value of an unknown key may be a secret. Ports, counts and flags are none."""
    value = place.node.value
    small = isinstance(value, bool | None) or (isinstance(value, int) and abs(value) < 1_000_000)
    return names_secret(place.key) or not small


def _without(message: str, value: object, *, secret: bool) -> str:
    """A probe's own message that does not repeat the value."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if isinstance(text, str) and text and (secret or len(text) > 5):
        return message.replace(text, "…")
    return message
