"""Mutants of the entries that name many objects: what they select, what they may, and what is asked of S3."""

from mutations import Mutant

_MODEL = ("tests/core/test_select.py",)
_JOBS = ("tests/jobs/test_selections.py",)

SELECTIONS = (
    Mutant(
        "a prefix may lie anywhere",
        "archiver/core/outline.py",
        "and not isinstance(entries[index], Inline)",
        "and isinstance(entries[index], File)",
        _JOBS,
    ),
    Mutant(
        "a regex need match a part of the path only",
        "archiver/core/patterns.py",
        "self._regexp.fullmatch(text)",
        "self._regexp.match(text)",
        _MODEL,
    ),
    Mutant(
        "a bound of 0 is none",
        "archiver/core/select.py",
        "(above is None or value > above)",
        "(not above or value > above)",
        _MODEL,
    ),
    Mutant(
        "bounds are inclusive",
        "archiver/core/select.py",
        "value < below)",
        "value <= below)",
        _MODEL,
    ),
    Mutant(
        "ages count from now",
        "archiver/core/select.py",
        "(self.sent_at - listed.modified)",
        "(datetime.now(self.sent_at.tzinfo) - listed.modified)",
        _JOBS,
    ),
    Mutant(
        "markers of folders are selected",
        "archiver/core/select.py",
        'if not listed.key.endswith("/") and self._chooses(listed)',
        "if self._chooses(listed)",
        _MODEL,
    ),
    Mutant(
        "requests with other selections are the same request",
        "archiver/core/request_hash.py",
        "    for entry in request.files:\n",
        "    for entry in (one for one in request.files if isinstance(one, File)):\n",
        _JOBS,
    ),
    Mutant(
        "listed objects get a HEAD too",
        "archiver/jobs/archive.py",
        "if (at := file.location) not in known and at not in verdicts",
        "if (at := file.location) not in verdicts",
        _JOBS,
    ),
    Mutant(
        "an empty prefix passes unnoticed",
        "archiver/core/draft.py",
        'elif pending.on_empty == "fail":',
        'elif pending.on_empty == "never":',
        _JOBS,
    ),
    Mutant(
        "prefixes may select any number of objects",
        "archiver/stages/select.py",
        "self.count > self._max_files",
        "self.count < 0",
        _JOBS,
    ),
    Mutant(
        "listings look at any number of objects",
        "archiver/stages/select.py",
        "if self._looked_at > MAX_LISTED:",
        "if self._looked_at < 0:",
        ("tests/stages/test_select_objects.py",),
    ),
    Mutant(
        "an object that was restored counts as archived",
        "archiver/aws/s3_list.py",
        'status.text("RestoreExpiryDate") for status',
        "False for status",
        ("tests/aws/test_s3_list.py",),
    ),
    Mutant(
        "a listing may hold what was not asked for",
        "archiver/aws/s3_list.py",
        "if len(objects) > PAGE_SIZE or not all(",
        "if False and not all(",
        ("tests/aws/test_s3_list.py",),
    ),
    Mutant(
        "keys of listings are not decoded",
        "archiver/aws/s3_list.py",
        'page.decode(element.required("Key"))',
        'element.required("Key")',
        ("tests/aws/test_s3_list.py",),
    ),
    Mutant(
        "patterns of strangers are logged",
        "archiver/core/patterns.py",
        "options.log_errors = False",
        "options.log_errors = True",
        ("tests/core/test_patterns.py",),
    ),
)
