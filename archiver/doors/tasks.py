"""One-off ECS tasks, from the settings: which task, and in which account and region."""

from archiver.core.setting_types import split_names
from archiver.core.tasks import TaskTarget
from archiver.settings import Environment, SettingsError

_REQUIRED = {
    "ecs_cluster": ("ARCHIVER_ECS_CLUSTER", "--cluster"),
    "ecs_task": ("ARCHIVER_ECS_TASK", "--task"),
    "ecs_container": ("ARCHIVER_ECS_CONTAINER", "--container"),
    "ecs_subnets": ("ARCHIVER_ECS_SUBNETS", "--subnet"),
}


def task_target(settings: Environment) -> TaskTarget:
    """Return the task that *settings* name. Raises SettingsError that lists what is not set."""
    absent = [names for field, names in _REQUIRED.items() if getattr(settings, field) is None]
    if absent:
        raise SettingsError(
            [f"{name}: is required for one-off tasks (ecs-run: or {option})" for name, option in absent]
        )
    return TaskTarget(
        cluster=settings.ecs_cluster or "",
        task=settings.ecs_task or "",
        container=settings.ecs_container or "",
        subnets=split_names(settings.ecs_subnets or ""),
        security_groups=split_names(settings.ecs_security_groups or ""),
        public_ip=settings.ecs_public_ip,
    )
