"""Frozen, validated configuration: an unknown key is an error that names the nearest known one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self, TypeVar, get_args

import pydantic
import yaml

from atomflow.errors import InputError, nearest, path_of, said


class StrictModel(pydantic.BaseModel):
    """Base of every configuration object: frozen, no unknown keys, NaN and infinity refused."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    def __init__(self, *unnamed: Any, **data: Any) -> None:
        """Keys by their names; raises :class:`InputError` with one line for the first problem found."""
        name = type(self).__name__
        if unnamed:
            known = ", ".join(type(self).model_fields)
            raise InputError(f"{name} takes its keys by name, like {name}(key=value); known keys: {known}")
        try:
            super().__init__(**data)
        except pydantic.ValidationError as error:
            raise InputError(f"{name}: {_one_line(error, type(self))}") from None

    def with_(self, **changes: Any) -> Self:
        """A copy with some keys changed, checked as a new one is."""
        return type(self)(**{name: getattr(self, name) for name in self.model_fields_set} | changes)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """What differs from the defaults: dozens of keys hide it."""
        for name, known in type(self).model_fields.items():
            value = getattr(self, name)
            if known.is_required() or value != known.get_default(call_default_factory=True, validated_data={}):
                yield name, value

    def __setattr__(self, name: str, value: Any) -> None:
        """Refused with the way to what is wanted: a configuration never changes."""
        if name.startswith("_"):
            return super().__setattr__(name, value)
        kind, known = type(self).__name__, set(type(self).model_fields)
        if name not in known:
            raise InputError(f"{kind} has no '{name}'{nearest(name, known)}")
        shown = repr(value) if len(repr(value)) < 40 else "..."
        raise InputError(f"{kind} cannot be changed; make another: config = config.with_({name}={shown})")

    #: pydantic: validating data (a file, say) does not go through ``__init__``; :func:`parse` has its own words for it
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]


Model = TypeVar("Model", bound=pydantic.BaseModel)


def parse(model: type[Model], data: Any, where: str = "configuration") -> Model:
    """Validate ``data`` as ``model``; raise :class:`InputError` with one line for the first problem found."""
    if not isinstance(data, dict):
        raise InputError(f"{where}: expected keys and values, found {type(data).__name__}")
    try:
        return model.model_validate(data)
    except pydantic.ValidationError as error:
        raise InputError(f"{where}: {_one_line(error, model)}") from None


def check_config_given(value: object, model: type[pydantic.BaseModel]) -> None:
    """Raise :class:`InputError` that says how to make a ``model`` where something else was given in its place."""
    if isinstance(value, model):
        return
    how = f"; {model.__name__}(**...) makes one of it" if isinstance(value, dict) else ""
    raise InputError(f"{'an' if model.__name__[0] in 'AEIMO' else 'a'} {model.__name__} is wanted, not "
                     f"{said(value)}{how}")


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML file as a dict; every way in which that can fail is one clear line."""
    path = path_of(path, "a YAML file")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file; a YAML configuration was expected") from None
    try:
        data = yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark is not None else ""
        raise InputError(f"{path}{place}: not valid YAML ({getattr(error, 'problem', None) or error})") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected keys and values at the top level, found {type(data).__name__}")
    return data


class _UniqueKeyLoader(yaml.SafeLoader):
    """Safe loader that refuses a key given twice (YAML itself keeps the last, silently)."""


def _unique_mapping(loader: yaml.SafeLoader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen = set()
    for key_node, _ in node.value:
        key = key_node.value
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key '{key}' is given twice", key_node.start_mark)
        seen.add(key)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def _known_keys(model: type[pydantic.BaseModel], path: tuple[Any, ...]) -> set[str]:
    """Field names of the (nested) model in which the key at ``path`` stands; of several, of the kind named there."""
    inside = [model]
    for part in path[:-1]:
        kinds = [one for one in inside if part in _kinds_of(one)] if len(inside) > 1 else []
        fields = inside[0].model_fields
        if kinds:
            inside = kinds
        elif part in fields:
            inside = _models_inside(fields[part].annotation) or inside
    return set(inside[0].model_fields)


def _kinds_of(model: type[pydantic.BaseModel]) -> tuple[Any, ...]:
    """The values of its ``kind``, by which models that may stand in one place are told apart."""
    return get_args(model.model_fields["kind"].annotation) if "kind" in model.model_fields else ()


def _models_inside(annotation: Any) -> list[type[pydantic.BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return [annotation]
    return [one for argument in getattr(annotation, "__args__", ()) for one in _models_inside(argument)]


def _one_line(error: pydantic.ValidationError, model: type[pydantic.BaseModel]) -> str:
    problems = error.errors()
    problem = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    path = problem["loc"]
    name = ".".join(str(part) for part in path)
    if problem["type"] == "extra_forbidden":
        known = _known_keys(model, path)
        hint = nearest(str(path[-1]), known) or f"; known keys: {', '.join(sorted(known))}"
        text = f"unknown key '{name}'{hint}"
    elif problem["type"] == "missing":
        text = f"the key '{name}' is missing"
    else:
        given = problem.get("input")
        shown = f", found {given!r}" if isinstance(given, (int, float, str, bool)) or given is None else ""
        message = problem["msg"].removeprefix("Value error, ")
        where = f"'{name}': " if path else ""
        text = f"{where}{message[0].lower() + message[1:] if path else message}{shown}"
    more = len(problems) - 1
    return text + (f" (and {more} more problem{'s' if more > 1 else ''})" if more else "")
