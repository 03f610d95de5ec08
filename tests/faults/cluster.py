"""
A simulated ECS service as documented by AWS, and the responses of the agents of its tasks.

"Protect your Amazon ECS tasks from being terminated by scale-in events" (ECS developer guide) is the source:

* a protected task is not stopped by scale-in or by a deployment until its protection is released or expires;
* "DEPLOYMENT_BLOCKED [...] means the service has more protected tasks than the desired count of tasks": here,
  protection is refused if, with this task, more tasks would be protected than desired;
* in a rolling update "new tasks will be created but tasks running older version will not be terminated" while
  protected.

Not documented, and assumed here: of the unprotected tasks of the current revision, the newest is stopped first.
Minimum healthy percent is 100, maximum percent 200.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

PREFIX = "arn:aws:ecs:eu-west-1:123456789012"


@dataclass
class Task:
    """One task. *protected*: when its protection expires. *stop* is called when ECS stops it."""

    arn: str
    revision: str
    stop: Callable[[], None] = lambda: None
    protected: float = 0.0


@dataclass
class Cluster:
    """A service of *desired* tasks of *revision*; *clock* in seconds, *start* is called for each new task."""

    desired: int
    clock: Callable[[], float]
    start: Callable[[Task], None] = lambda _: None
    revision: str = f"{PREFIX}:task-definition/archiver:1"
    tasks: dict[str, Task] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def settle(self) -> None:
        """Run the service scheduler once: start missing tasks, stop surplus tasks that are not protected."""
        new = [task for task in self.tasks.values() if task.revision == self.revision]
        for _ in range(min(self.desired - len(new), 2 * self.desired - len(self.tasks))):
            task = Task(f"{PREFIX}:task/zips/{next(self.numbers)}", self.revision)
            self.tasks[task.arn] = task
            self.start(task)
        new = [task for task in self.tasks.values() if task.revision == self.revision]
        old = [task for task in self.tasks.values() if task.revision != self.revision]
        for too_many, tasks in ((len(self.tasks) - self.desired, old), (len(new) - self.desired, new[::-1])):
            free = [task for task in tasks if task.protected <= self.clock()]
            for task in free[: max(0, too_many)]:
                self.ended(task)
                task.stop()

    def ended(self, task: Task) -> None:
        """Remove a task that exited or was stopped."""
        self.tasks.pop(task.arn, None)

    def answer(self, arn: str, wanted: dict[str, Any]) -> dict[str, Any]:
        """Return the response of the task's agent to a PUT of *wanted*."""
        task, now = self.tasks[arn], self.clock()
        if not wanted["ProtectionEnabled"]:
            task.protected = 0.0
            return {"protection": {"ExpirationDate": None, "ProtectionEnabled": False, "TaskArn": arn}}
        others = sum(other.protected > now for other in self.tasks.values() if other is not task)
        if others + 1 > self.desired:
            return {"failure": {"Arn": arn, "Detail": None, "Reason": "DEPLOYMENT_BLOCKED"}}
        minutes = wanted.get("ExpiresInMinutes", 120)
        assert 1 <= minutes <= 2880
        task.protected = now + 60 * minutes
        return {"protection": {"ExpirationDate": "2026-11-21T10:00:00Z", "ProtectionEnabled": True, "TaskArn": arn}}

    def described(self) -> dict[str, Any]:
        """Return the service as DescribeServices does."""
        counts = {task.revision: 0 for task in self.tasks.values()} | {self.revision: 0}
        for task in self.tasks.values():
            counts[task.revision] += 1
        return {
            "serviceName": "archiver",
            "desiredCount": self.desired,
            "deployments": [
                {
                    "status": "PRIMARY" if revision == self.revision else "ACTIVE",
                    "taskDefinition": revision,
                    "desiredCount": self.desired if revision == self.revision else 0,
                    "runningCount": count,
                    "failedTasks": 0,
                }
                for revision, count in counts.items()
            ],
        }
