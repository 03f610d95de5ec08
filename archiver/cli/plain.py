"""Help and option errors without Python type names: placeholders in capitals (`TEXT`, `N`), none for flags."""

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


class _PlainHelp:
    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if param.param_type_name == "argument":
                param.display_type_rich = _no_type  # the argument's name is enough
            elif param.metavar is None:
                param.metavar = "" if param.is_flag else "N" if _is_number(param) else "TEXT"
        return params

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            parsed: list[str] = super().parse_args(ctx, args)  # type: ignore[misc]
        except typer.BadParameter as error:
            param: Any = error.param
            if param is not None and _is_number(param):
                error.message = f"should be {_number_hint(param)}"
            raise
        return parsed


def _no_type(ctx: Any) -> None:
    del ctx


def _is_number(param: Any) -> bool:
    return param.type_descriptor.annotation in (int, float)


def _number_hint(param: Any) -> str:
    kind = "a whole number" if param.type_descriptor.annotation is int else "a number"
    return kind if param.min is None else f"{kind}, at least {param.min:g}"


class Command(_PlainHelp, TyperCommand):
    pass


class Group(_PlainHelp, TyperGroup):
    pass
