"""Commands: done once more or answered from their result, nothing left behind, no value read as code."""

from mutations import Mutant

PRINTED = ("tests/jobs/test_printed_objects.py",)
CRASHES = ("tests/faults/test_command_crashes.py",)
COMMANDS = (
    Mutant(
        "a command runs again although its result is remembered",
        "archiver/jobs/command.py",
        "if remembered is not None:",
        "if False:",
        CRASHES,
    ),
    Mutant(
        "the result of a command is not remembered",
        "archiver/jobs/command.py",
        "return await patiently(lambda: self._memory.remember(order.remembered, result, hold))",
        "return result",
        CRASHES,
    ),
    Mutant(
        "the directory of a killed worker's command stays",
        "archiver/command/space.py",
        "    remove_leftovers(root)\n    worker",
        "    worker",
        CRASHES,
    ),
    Mutant(
        "an archive is made under the job_id of a command",
        "archiver/jobs/command_conflict.py",
        "if await find(self._store, result_key(digest)) is not None:",
        "if False:",
        ("tests/jobs/test_command_conflicts.py",),
    ),
    Mutant(
        "a value of a request may stand in a shell's script",
        "archiver/core/operator_argv.py",
        "    check_code(fields, command)\n",
        "",
        ("tests/core/test_operator_code.py",),
    ),
    Mutant(
        "a command with a role gets the worker's own credentials",
        "archiver/aws/command_credentials.py",
        "if credentials.role_arn is not None:",
        "if False:",
        ("tests/aws/test_command_credentials.py",),
    ),
    Mutant(
        "what a command prints into objects has no limit",
        "archiver/jobs/command_run.py",
        "else Metered(sink, meter)",
        "else sink",
        PRINTED,
    ),
    Mutant(
        "what a command has printed into objects does not count with its files",
        "archiver/jobs/command_outputs.py",
        "size, limit = streamed, ",
        "size, limit = 0, ",
        PRINTED,
    ),
    Mutant(
        "a command that prints more into objects than it may goes on",
        "archiver/command/run.py",
        "if meter.exceeded or await",
        "if await",
        PRINTED,
    ),
)
