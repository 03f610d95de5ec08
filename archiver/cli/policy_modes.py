"""The permissions of modes other than a worker: one-off tasks, the function, and who starts and invokes them."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from archiver.cli.console import EXIT_USAGE, CommandError, environment, print_note, suggest
from archiver.cli.policy_resources import find_account, find_dead_letter_queue, resolve_arns
from archiver.cli.policy_worker import Needs, further_statements, worker_resources

if TYPE_CHECKING:
    from archiver.core.mode_policy import TaskResources
    from archiver.core.policy import Statement
    from archiver.settings import Environment


@dataclass(frozen=True, slots=True)
class OtherMode:
    """A *mode*, and its options: ARNs of the task's roles, the log group, the function."""

    mode: str
    pass_roles: tuple[str, ...] = ()
    log_group: str | None = None
    function: str | None = None

    def check(self) -> None:
        """Raise CommandError if there is no such mode, or an option does not belong to it."""
        from archiver.core.mode_policy import MODES

        if self.mode not in MODES:
            message = f"--mode {self.mode}: should be one of {', '.join(MODES)}{suggest(self.mode, MODES)}"
            raise CommandError(message, code=EXIT_USAGE)
        options = (
            ("--pass-role", self.pass_roles, ("ecs-run", "lambda")),
            ("--log-group", self.log_group, ("ecs-run", "lambda")),
            ("--function", self.function, ("lambda", "invoke")),
        )
        for name, given, modes in options:
            if given and self.mode not in modes:
                message = f"{name} goes with --mode {' or '.join(modes)}, not with {self.mode}"
                raise CommandError(message, code=EXIT_USAGE)

    async def statements(self, needs: Needs) -> list["Statement"]:
        """Return the permissions. Raises CommandError, SettingsError."""
        if self.mode == "invoke":
            return self._invoker(needs)
        if self.mode == "ecs-run":
            return self._starter(needs)
        return await (self._task(needs) if self.mode == "task" else self._function(needs))

    def _invoker(self, needs: Needs) -> list["Statement"]:
        from archiver.core.mode_policy import invoker_statements

        function = self._function_name
        return invoker_statements(find_account(needs.account, function), function)

    @property
    def _function_name(self) -> str:
        name = self.function or environment("ARCHIVER_LAMBDA_FUNCTION").get("ARCHIVER_LAMBDA_FUNCTION", "").strip()
        if not name:
            raise CommandError("no function; name it with --function or ARCHIVER_LAMBDA_FUNCTION", code=EXIT_USAGE)
        return name

    def _starter(self, needs: Needs) -> list["Statement"]:
        from archiver.core.mode_policy import follower_statements, starter_statements
        from archiver.settings import load_environment

        settings = load_environment(environment())
        task = self._task_resources(settings)
        account = find_account(needs.account, task.task, task.cluster)
        if not self.log_group:
            print_note("without --log-group, ecs-run --wait can't show the container's log")
        return [*starter_statements(account, task), *follower_statements(account, task)]

    def _task_resources(self, settings: "Environment") -> "TaskResources":
        from archiver.core.mode_policy import TaskResources
        from archiver.settings import require_settings

        require_settings(settings, "ARCHIVER_ECS_CLUSTER", "ARCHIVER_ECS_TASK")
        if not self.pass_roles:
            message = "no roles of the task; name its task role and its execution role, each with --pass-role ARN"
            raise CommandError(message, code=EXIT_USAGE)
        return TaskResources(
            cluster=str(settings.ecs_cluster),
            task=str(settings.ecs_task),
            roles=self.pass_roles,
            orders=settings.destination_bucket,
            log_group=self.log_group if self.mode == "ecs-run" else None,
        )

    async def _task(self, needs: Needs) -> list["Statement"]:
        from archiver.core.mode_policy import one_off_statements
        from archiver.settings import load_environment, require_settings

        settings = load_environment(environment())
        require_settings(settings, "S3_DESTINATION_BUCKET")
        place = find_account(needs.account, settings.source_queue).arn("sqs", "none")
        return [
            *one_off_statements(await worker_resources(settings, needs, place)),
            *further_statements(settings, place),
        ]

    async def _function(self, needs: Needs) -> list["Statement"]:
        from archiver.core.mode_policy import function_statements, starter_statements
        from archiver.settings import load_environment, require_settings

        settings = load_environment(environment())
        require_settings(settings, "S3_DESTINATION_BUCKET")
        function = self._function_name
        queues = [settings.source_queue] if settings.source_queue else []
        sources = await resolve_arns(queues, needs.account)
        account = find_account(needs.account, *sources, function)
        if queues and not needs.dead_letter_queue:
            needs = replace(needs, dead_letter_queue=await find_dead_letter_queue(queues[0]))
        place = sources[0] if sources else account.arn("sqs", "none")
        worker = await worker_resources(settings, needs, place)
        if settings.orders_prefix and worker.sources:
            worker = replace(worker, sources=[*worker.sources, settings.orders_prefix])
        name = function.partition("function:")[2] or function
        group = self.log_group or f"/aws/lambda/{name.partition(':')[0]}"
        statements = [
            *function_statements(account, worker, group),
            *further_statements(settings, place),
            *(starter_statements(account, self._task_resources(settings)) if self.pass_roles else ()),
        ]
        return [one for one in statements if queues or one.sid != "ReceiveJobs"]
