"""A request's hash identifies it over releases: each of its files is one line of JSON."""

import hashlib
import json

from hypothesis import given
from hypothesis import strategies as st

from archiver.core.entries import File
from archiver.core.messages import Request
from archiver.core.request_hash import request_hash

TEXT = st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(['"', "\\", "é\n", "\U0001f469"])
FILES = st.builds(
    File,
    source=TEXT.filter(bool),
    destination=st.none() | TEXT,
    name=st.none(),
    role_arn=st.none() | TEXT.filter(bool),
) | st.builds(File, source=TEXT.filter(bool), name=st.none() | TEXT)


@given(st.lists(FILES, max_size=3))
def test_each_file_is_a_line_of_json(files: list[File]) -> None:
    lines: list[object] = [{}]
    for file in files:
        role = [] if file.role_arn is None else [file.role_arn]
        lines.append([file.source, file.destination or None, file.name or None, *role])
    text = "".join(f"{json.dumps(line, separators=(',', ':'))}\n" for line in lines)

    request = Request.model_construct(files=tuple(files))

    assert request_hash(request) == hashlib.sha256(text.encode()).hexdigest()
