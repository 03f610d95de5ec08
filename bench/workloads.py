"""What is archived: how many objects, how large, in how many jobs, over which network; by whom, and by whom in part."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from network import DIRECT, TAILED, Network, steady

MIB = 1 << 20
GIB = 1 << 30

PEERS = ("archiver", "boto3", "node", "go", "floor")
FAST = ("archiver", "go", "floor")
WITH_TWO_WORKERS = (*PEERS, "archiver-x2")
CONCURRENT = ("archiver", "go")  # who reads so far ahead that latency is no hindrance

# A request for some objects of a load. In the archive, each is named after its key, in this order.
Request = Callable[[str, range], dict[str, object]]


def by_prefix(load: str, numbers: range) -> dict[str, object]:
    """One entry selects all objects of the load; it has one job."""
    del numbers
    return {"files": [{"prefix": f"{load}/", "destination": load}]}


def listed(load: str, numbers: range) -> dict[str, object]:
    """Every object is named."""
    keys = [f"{load}/{index:06}.jpg" for index in numbers]
    return {"files": [{"source": key, "name": key} for key in keys]}


def listed_for_two_passes(load: str, numbers: range) -> dict[str, object]:
    """Every object is asked for by HEAD and then by GET: what is missing must be known before the archive begins."""
    return {**listed(load, numbers), "on_missing": "skip"}


@dataclass(frozen=True, slots=True)
class Workload:
    """
    *count* objects of *size* bytes, in *jobs* archives at once, over *network*, read by *contenders*; slow ones read
    *slow_count* of them. *request* is how the archiver is asked for the objects of a job. *beside*: the load with which
    the archiver's figures are compared.
    """

    name: str
    about: str
    count: int
    size: int
    slow_count: int
    jobs: int = 1
    slow_size: int = 0
    warm_count: int = 0
    network: Network = DIRECT
    contenders: tuple[str, ...] = PEERS
    request: Request = listed
    beside: str = ""

    @property
    def bytes(self) -> int:
        return self.count * self.size

    def slow(self, *, warms_up: bool = False) -> "Workload":
        """
        The share of the slow peers. Where single objects are too large for them, smaller ones. Who compiles as it runs
        *warms_up* over thousands of objects: it gets *warm_count* where there is one, or it would look too slow.
        """
        return replace(
            self,
            name=self.name if not self.slow_size else f"{self.name}s",
            count=(warms_up and self.warm_count) or self.slow_count,
            size=self.slow_size or self.size,
        )

    def split(self) -> list[range]:
        """The objects' numbers, job by job: the first jobs get one more where they don't divide."""
        edges = [self.count * job // self.jobs for job in range(self.jobs + 1)]
        return [range(low, high) for low, high in pairwise(edges)]

    def declaration(self) -> str:
        """As the load server wants it."""
        return f"{self.name.lower()}:{self.count}:{self.size}"


def behind(load: Workload, name: str, network: Network) -> Workload:
    """The same objects over *network*, for those who read concurrently."""
    return replace(load, name=f"{load.name}-{name}", network=network, contenders=CONCURRENT)


def selected(load: Workload) -> Workload:
    """As many objects of the same size, asked for by their prefix."""
    about = f"{load.about}, by one prefix"
    return replace(
        load, name=f"{load.name}p", about=about, contenders=("archiver",), request=by_prefix, beside=load.name
    )


def in_two_passes(load: Workload) -> Workload:
    """The same objects over the same network, each asked for twice."""
    about = f"{load.about}, in two passes"
    return replace(
        load,
        name=f"{load.name}-2",
        about=about,
        contenders=("archiver",),
        request=listed_for_two_passes,
        beside=load.name,
    )


def _with_variants(load: Workload) -> tuple[Workload, ...]:
    tail = behind(load, "tail", TAILED)
    return load, selected(load), behind(load, "20ms", steady(20)), tail, in_two_passes(tail)


FULL = (
    *_with_variants(Workload("W1", "10,000 × 20 KB", 10_000, 20_000, 1_000, warm_count=4_000)),
    Workload("W2", "500 × 5 MB", 500, 5_000_000, 200),
    Workload("W3", "4 × 1 GiB", 4, GIB, 4, slow_size=256 * MIB),
    Workload("W4", "1 × 4 GiB", 1, 4 * GIB, 1, slow_size=GIB),
    Workload(
        "W5",
        "20 jobs of 500 × 20 KB at once",
        10_000,
        20_000,
        1_000,
        jobs=20,
        warm_count=4_000,
        contenders=WITH_TWO_WORKERS,
    ),
    Workload("W6", "500 jobs of 5 × 100 KB", 2_500, 100_000, 0, jobs=500, contenders=FAST),
)

QUICK = (
    *_with_variants(Workload("W1", "2,000 × 20 KB", 2_000, 20_000, 300, warm_count=1_000)),
    Workload("W2", "60 × 5 MB", 60, 5_000_000, 20),
    Workload("W3", "4 × 64 MiB", 4, 64 * MIB, 1),
    Workload("W4", "1 × 256 MiB", 1, 256 * MIB, 1, slow_size=64 * MIB),
    Workload(
        "W5",
        "20 jobs of 100 × 20 KB at once",
        2_000,
        20_000,
        300,
        jobs=20,
        warm_count=1_000,
        contenders=WITH_TWO_WORKERS,
    ),
    Workload("W6", "100 jobs of 5 × 100 KB", 500, 100_000, 0, jobs=100, contenders=FAST),
)

# Cost must not grow with the number of members: ten times as many, ten times the time.
GROWTH = (
    Workload("G1", "2,000 × 4 KB", 2_000, 4_000, 0, contenders=("archiver",)),
    Workload("G2", "20,000 × 4 KB", 20_000, 4_000, 0, contenders=("archiver",)),
)


def request_of(name: str, loads: Sequence[Workload] = FULL) -> Request:
    """How the archiver is asked for the load *name*."""
    return next((load.request for load in loads if load.name.lower() == name.lower()), listed)
