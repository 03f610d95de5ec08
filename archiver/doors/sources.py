"""What objects are read with, and restored with, where settings or policy ask for more than the worker alone."""

from contextlib import nullcontext
from typing import TYPE_CHECKING

from archiver.aws.s3_read import S3Reader
from archiver.aws.session import Session
from archiver.core.archive_rules import ArchiveRules
from archiver.ports import ObjectRestorer
from archiver.settings import Environment

if TYPE_CHECKING:
    from archiver.aws.roles import RoleReaders


def with_roles(reader: S3Reader, session: Session, rules: ArchiveRules) -> "RoleReaders | None":
    """*reader* with the roles of *rules*, which *session* assumes; None if there are none."""
    if not rules.roles:
        return None
    from archiver.aws.roles import open_roles  # noqa: PLC0415 - nothing of it where it is off

    return open_roles(session, reader, rules.roles)


def with_restores(settings: Environment, reader: S3Reader, roles: "RoleReaders | None") -> ObjectRestorer | None:
    """What restores objects, with what *reader* and *roles* read them with; None if RESTORE_TIERS is not set."""
    if settings.restore_tiers is None:
        return None
    from archiver.aws.s3_restore import S3Restorer  # noqa: PLC0415 - nothing of it where it is off

    return S3Restorer(roles.reader_of if roles else lambda _: nullcontext(reader))
