"""All settings: read once from the environment, validated together, immutable."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar, cast

from pydantic import AliasChoices, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource

from archiver.core.setting_errors import describe_invalid
from archiver.core.setting_rules import SOURCES, find_contradictions
from archiver.settings.environment import MIB, Environment, Settings

__all__ = [
    "MIB",
    "Environment",
    "Settings",
    "SettingsError",
    "load_environment",
    "load_function_settings",
    "load_settings",
    "require_settings",
    "variables",
]


class SettingsError(Exception):
    """The environment is invalid. *problems*: one line for each problem, starting with the variable's name."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


E = TypeVar("E", bound=Environment)


def load_settings(environ: Mapping[str, str], orders: Sequence[str] = ()) -> Settings:
    """
    Read the settings of a worker from *environ*. An empty variable counts as unset. *orders*: names of order files, in
    place of any source that *environ* names.

    Raises SettingsError with all problems.
    """
    if orders:
        environ = {**environ, **dict.fromkeys(SOURCES, ""), "SOURCE_ORDERS": "given"}
    problems = []
    if not any(environ.get(name, "").strip() for name in SOURCES):
        problems = [f"SQS_SOURCE_QUEUE: is required ({Environment.model_fields['source_queue'].description})"]
    settings = _load(Settings, environ, problems)
    return settings.model_copy(update={"source_orders": tuple(orders)}) if orders else settings


def load_function_settings(environ: Mapping[str, str]) -> Settings:
    """
    Read the settings of a Lambda function, whose events are its source of messages: it reads no queue, whatever
    *environ* names. Raises SettingsError with all problems.
    """
    return _load(Settings, {**environ, **dict.fromkeys(SOURCES, "")}, [])


def load_environment(environ: Mapping[str, str]) -> Environment:
    """
    Read *environ* for a command, which checks the settings it needs with `require_settings`. Raises SettingsError.
    """
    return _load(Environment, environ, [])


def require_settings(environment: Environment, *names: str) -> None:
    """Check that the variables *names* are set. Raises SettingsError that lists all that are not."""
    fields = {
        _variable_names(field.validation_alias)[0]: (name, field) for name, field in Environment.model_fields.items()
    }
    absent = [name for name in names if getattr(environment, fields[name][0]) is None]
    if absent:
        raise SettingsError([f"{name}: is required ({fields[name][1].description})" for name in absent])


def _load(model: type[E], environ: Mapping[str, str], problems: list[str]) -> E:
    """*problems*: what is known to be wrong."""

    class Given(model):  # type: ignore[valid-type, misc]
        @classmethod
        def settings_customise_sources(  # the signature is defined by pydantic-settings
            cls,
            settings_cls: type[BaseSettings],  # noqa: ARG003
            init_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            cast("EnvSettingsSource", env_settings).env_vars = {k: v for k, v in environ.items() if v.strip()}
            return (env_settings,)

    contradictions = find_contradictions(environ)
    try:
        settings = cast("Callable[[], E]", Given)()
    except ValidationError as error:
        invalid = [_problem(environ, entry["loc"], entry["type"]) for entry in error.errors()]
        raise SettingsError([*problems, *invalid, *contradictions]) from None
    if problems or contradictions:
        raise SettingsError([*problems, *contradictions])
    return settings


def _problem(environ: Mapping[str, str], loc: tuple[int | str, ...], kind: str) -> str:
    name = str(loc[0])
    field = next(f for f in Environment.model_fields.values() if name in _variable_names(f.validation_alias))
    given = next((n for n in _variable_names(field.validation_alias) if environ.get(n, "").strip()), name)
    if kind == "missing":
        return f"{given}: is required ({field.description})"
    return f"{given}: {describe_invalid(field, environ[given])}"


def variables() -> list[str]:
    """Return the names of all variables that are settings."""
    return [name for field in Environment.model_fields.values() for name in _variable_names(field.validation_alias)]


def _variable_names(alias: object) -> list[str]:
    if isinstance(alias, AliasChoices):
        return [str(choice) for choice in alias.choices]
    return [str(alias)]
