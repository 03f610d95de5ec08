"""Requests for commands: which of the operator's commands one means, and all that is decided before it runs."""

from collections.abc import Mapping, Sequence

from archiver.core.command_fields import CommandCall, Stream, TemplateCall
from archiver.core.command_order import CommandOrder, Confined, Input, check_tree
from archiver.core.command_templates import fill_template, unify
from archiver.core.command_values import ValueProblem, check_path, shown
from archiver.core.command_words import Files, build_words, located
from archiver.core.commands import Command, CommandRules
from archiver.core.locations import Location
from archiver.core.messages import Request
from archiver.core.problems import MAX_PROBLEMS_LISTED, join_problems
from archiver.core.request_hash import request_hash
from archiver.errors import Rejected

MAX_LINE_BYTES = 128 * 1024
"""Maximum bytes of a command line, before local paths: Linux takes this much for one word (MAX_ARG_STRLEN)."""

_SHOWN_WORDS = 10
_FIELDS = frozenset({"command", "metadata", "job_id", "callback_url", "progress", "test"})  # the others are of archives


def order_command(request: Request, rules: CommandRules) -> CommandOrder:
    """
    Decide the run that *request*, whose `command` is not None, asks for.

    Raises Rejected: `invalid_request`, `command_not_allowed`, `source_not_allowed`, `name_unsafe`, `name_conflict`,
    `too_large`.
    """
    call = request.command
    if call is None:
        raise Rejected("invalid_request", "$.command is required")
    if surplus := sorted(request.model_fields_set - _FIELDS):
        raise Rejected("invalid_request", f"$.{surplus[0]} is of archives: a request for a command can't have it")
    digest = request_hash(request)
    if isinstance(call, TemplateCall):
        return _match(call, rules, digest)
    command = rules.commands.get(call.name)
    if command is None:
        raise Rejected("command_not_allowed", f"{shown(call.name)} is no command of the worker's POLICY_FILE")
    return _order(command, call, call.parameters, rules, digest)


def _match(call: TemplateCall, rules: CommandRules, digest: str) -> CommandOrder:
    """Order the first command, in the file's order, of which an accepted line fits with all its values."""
    values = {name: value for name, value in call.parameters.items() if isinstance(value, str | int | float)}
    words = fill_template(call.template, values)
    refusals: list[Rejected] = []
    for command in rules.commands.values():
        for accepted in command.accepts:
            bound = unify(words, accepted)
            if bound is None:
                continue
            try:
                return _order(command, call, bound, rules, digest)
            except Rejected as rejected:
                refusals.append(rejected)
    if not refusals:
        told = " ".join(shown(word) for word in words[:_SHOWN_WORDS]) + (" …" if len(words) > _SHOWN_WORDS else "")
        raise Rejected("command_not_allowed", f"no command of the worker's POLICY_FILE accepts these words: {told}")
    if len(refusals) == 1:
        raise refusals[0]
    problems = [rejected.message for rejected in refusals[:MAX_PROBLEMS_LISTED]]
    raise Rejected(refusals[0].code, join_problems(problems, len(refusals)), refusals[0].sources)


def _order(
    command: Command, call: CommandCall, values: Mapping[str, object], rules: CommandRules, digest: str
) -> CommandOrder:
    if call.queue not in (None, command.runner):
        raise Rejected(
            "command_not_allowed",
            f"queue is {shown(str(call.queue))}, and the command {command.name} is of {command.runner}: the request is "
            "in the wrong queue",
        )
    files = Files(command, rules)
    argv = build_words(command, values, call.arguments, files)
    for index, uri in enumerate(call.input):
        located(f"input[{index}]", lambda uri=uri: files.input(uri, prefix=True))  # type: ignore[misc]
    for index, uri in enumerate(call.output):
        located(f"output[{index}]", lambda uri=uri: files.output(uri, prefix=True))  # type: ignore[misc]
    order = CommandOrder(
        command,
        argv,
        digest,
        stdin=_stdin(call.stdin, files),
        stdout=_stream("stdout", call.stdout, files),
        stderr=_stream("stderr", call.stderr, files),
        inputs=tuple(files.inputs.values()),
        outputs=tuple(files.outputs.values()),
        confined=tuple(files.confined),
        awaited=_awaited(command, call),
    )
    _check_whole(order)
    return order


def _stdin(stream: Stream | None, files: Files) -> str | Input:
    if stream is None or stream.value is None:
        return ""
    if stream.type == "uri":
        return located("stdin", lambda: files.input(stream.value))
    try:
        stream.value.encode()
    except UnicodeEncodeError:
        raise Rejected("invalid_request", "stdin contains half of a surrogate pair, which is not text") from None
    return stream.value


def _stream(name: str, stream: Stream | None, files: Files) -> Location | None:
    """Return the object that an output stream goes to; None: the answer. The value of a pipe means nothing here."""
    if stream is None or stream.type == "pipe":
        return None
    return located(name, lambda: files.place(stream.value))


def _awaited(command: Command, call: CommandCall) -> tuple[Confined, ...]:
    """Return the local paths that must exist first. A request may ask only where its command has paths."""
    folders = [parameter.under for parameter in command.parameters.values() if parameter.under is not None]
    return tuple(_await(path, folders) for path in (call.paths if isinstance(call, TemplateCall) else ()))


def _await(path: str, folders: Sequence[str]) -> Confined:
    for under in folders:
        try:
            return Confined(check_path(path, under), under)
        except ValueProblem:
            continue
    raise Rejected("command_not_allowed", f"requirements: {shown(path)} is below no path of the command in POLICY_FILE")


def _check_whole(order: CommandOrder) -> None:
    size = sum(len(word.render("").encode()) + 1 for word in order.argv)
    if size > MAX_LINE_BYTES:
        raise Rejected("too_large", f"the command line has {size:,} bytes; at most {MAX_LINE_BYTES:,} are allowed")
    if len(order.inputs) > (most := order.command.limits.max_inputs):
        raise Rejected("too_large", f"the request has {len(order.inputs):,} inputs; max_inputs is {most:,}")
    check_tree(one.path for one in order.inputs if not one.is_prefix)
    places = [one.location for one in order.outputs if not one.is_prefix]
    streams = [place for place in (order.stdout, order.stderr) if place is not None]
    if len({*places, *streams}) < len(places) + len(streams):
        raise Rejected("name_conflict", "two outputs of the request (with stdout and stderr) are one object")
