import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recollect.errors import ConfigError
from recollect.project.repair import diff, fix_file, flattened_error, is_flattened, repair
from recollect.project.yaml_document import parse
from recollect.project.yaml_file import read

BLOCKS = Path(__file__).parent / "seed_blocks"
FLAT = sorted(BLOCKS.glob("*.flat.yaml"))
SOUND = sorted(path for path in BLOCKS.glob("*.yaml") if path not in FLAT)


def flat_text() -> str:
    return FLAT[0].read_text()


def intended(flat: Path) -> Path:
    return flat.with_name(flat.name.replace(".flat", ""))


def repaired(text: str) -> str:
    result = repair(text)
    assert result is not None
    return result


# --- the seeds ------------------------------------------------------------------------------------


@pytest.mark.parametrize("flat", FLAT, ids=lambda path: path.name)
def test_the_flattened_snippets_of_the_seeds_get_their_intended_form(flat: Path) -> None:
    text = repaired(flat.read_text())
    assert parse(text, file=flat).value == read(intended(flat)).value
    assert text == intended(flat).read_text()


def test_the_first_snippet_keeps_its_five_lines_of_text() -> None:
    value = parse(repaired(flat_text()), file="a.yaml").value
    assert isinstance(value, dict)
    assert value["payload"] == {
        "role": "system",
        "content": "User Profile:\n"
        "Name: {{ .workflow.input.name }}\n"
        "Email: {{ .workflow.input.email }}\n"
        "Preferences: {{ .workflow.input.preferences | toJson }}\n"
        'Created: {{ now | date "2006-01-02 15:04:05" }}\n',
    }
    assert value["on_success"] == {"next": "process-user-data"}


@pytest.mark.parametrize("sound", SOUND, ids=lambda path: path.name)
def test_every_sound_block_of_the_seeds_is_left_alone(sound: Path) -> None:
    assert repair(sound.read_text()) is None


# --- what is repaired -----------------------------------------------------------------------------


def test_configs_take_the_keys_that_follow_until_the_next_key_of_the_task() -> None:
    text = "operation: flush\nflush_config:\nmax_keys: 3\nforce: true\nother: 1\nid: a\n"
    assert repaired(text) == (
        "operation: flush\nflush_config:\n  max_keys: 3\n  force: true\n  other: 1\nid: a\n"
    )


def test_metadata_takes_unknown_keys_and_gives_known_ones_back_to_the_payload() -> None:
    text = "id: a\npayload:\nmetadata:\ncolour: red\nrole: user\ncontent: x\n"
    assert repaired(text) == (
        "id: a\npayload:\n  metadata:\n    colour: red\n  role: user\n  content: x\n"
    )


def test_a_key_given_once_belongs_deeper_the_second_time() -> None:
    text = "id: a\ntype: memory\npayload:\nrole: user\nmetadata:\nuser_id: x\ntype: chat\n"
    assert repaired(text).endswith("  metadata:\n    user_id: x\n    type: chat\n")


def test_a_transition_takes_its_values_and_nothing_else() -> None:
    text = "id: a\non_success:\nnext: b\nwith:\nuser: ada\non_error:\nnext: c\nnote: x\n"
    assert repaired(text) == (
        "id: a\non_success:\n  next: b\n  with:\n    user: ada\non_error:\n  next: c\nnote: x\n"
    )


def test_a_text_with_lines_like_keys_stays_one_text() -> None:
    text = (
        "id: a\npayload:\ncontent: |\nrole: admin\n- id: 5\n\n# a title\nid: {{ .x }}\nfinal: true"
    )
    assert parse(repaired(text), file="a.yaml").value == {
        "id": "a",
        "payload": {"content": "role: admin\n- id: 5\n\n# a title\nid: {{ .x }}\n"},
        "final": True,
    }


def test_metadata_after_a_flattened_text_is_not_part_of_it() -> None:
    text = "id: a\npayload:\ncontent: |\nHello\nmetadata:\nuser_id: x\n"
    assert repaired(text) == (
        "id: a\npayload:\n  content: |\n    Hello\n  metadata:\n    user_id: x\n"
    )


def test_what_kept_its_indentation_moves_along() -> None:
    text = "id: a\npayload:\nrole: user\ncontent: |\n  one\n    two\nmetadata:\n  user_id: x\n"
    assert parse(repaired(text), file="a.yaml").value == {
        "id": "a",
        "payload": {"role": "user", "content": "one\n  two\n", "metadata": {"user_id": "x"}},
    }


def test_a_list_inside_what_moves_moves_along() -> None:
    text = "id: a\non_success:\nwith:\n  list:\n    - id: x\n      n: 1\nnext: b\n"
    assert repaired(text) == (
        "id: a\non_success:\n  with:\n    list:\n      - id: x\n        n: 1\n  next: b\n"
    )


def test_a_snippet_with_a_margin_keeps_it() -> None:
    assert (
        repaired("  id: a\n  payload:\n  role: user\n") == "  id: a\n  payload:\n    role: user\n"
    )


def test_a_flattened_list_of_tasks_is_repaired() -> None:
    text = """\
tasks:
- id: a
type: memory
payload:
role: user
content: |
Hello
on_success:
next: b
- id: b
type: memory
operation: flush
flush_config:
force: true
agents:
- id: helper
"""
    assert parse(repaired(text), file="a.yaml").value == {
        "tasks": [
            {
                "id": "a",
                "type": "memory",
                "payload": {"role": "user", "content": "Hello\n"},
                "on_success": {"next": "b"},
            },
            {
                "id": "b",
                "type": "memory",
                "operation": "flush",
                "flush_config": {"force": True},
            },
        ],
        "agents": [{"id": "helper"}],
    }


def test_a_flattened_list_without_payloads_is_repaired() -> None:
    text = "- id: a\ntype: memory\noperation: read\n- id: b\ntype: memory\n"
    assert repaired(text) == "- id: a\n  type: memory\n  operation: read\n- id: b\n  type: memory\n"


def test_flattened_payloads_inside_sound_tasks_are_repaired() -> None:
    text = """\
tasks:
    - id: a
      payload:
      role: user
      tasks:
          - id: inner
            on_error:
            next: b
outputs:
    x: 1
"""
    assert repaired(text) == text.replace("role", "  role").replace("next", "  next")


@pytest.mark.parametrize("between", ["", "memories: [x]\n", "outputs:\n  x: 1\n"])
@pytest.mark.parametrize("prompt", ["", "  prompt: p\n"])
def test_a_list_of_agents_does_not_swallow_the_tasks_after_it(prompt: str, between: str) -> None:
    text = f"agents:\n- id: helper\n{prompt}{between}tasks:\n- id: a\n  payload:\n  role: user\n"
    assert repaired(text) == text.replace("role", "  role")


def test_a_flattened_list_of_agents_ends_where_the_tasks_begin() -> None:
    text = "agents:\n- id: x\nprompt: p\ntasks:\n- id: a\npayload:\nrole: user\n"
    assert repaired(text) == (
        "agents:\n- id: x\n  prompt: p\ntasks:\n- id: a\n  payload:\n    role: user\n"
    )


def test_comments_survive() -> None:
    text = (
        "# head\nid: a # who\npayload: # what\n# the role\nrole: user\n\ncontent: x\n"
        "# then\non_success:\n# there\nnext: b\n# tail\n"
    )
    assert repaired(text) == (
        "# head\nid: a # who\npayload: # what\n  # the role\n  role: user\n\n  content: x\n"
        "# then\non_success:\n  # there\n  next: b\n# tail\n"
    )


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_ends_and_a_byte_order_mark_survive(end: str) -> None:
    text = "\ufeff" + end.join(["id: a", "payload:", "role: user"])
    assert repaired(text) == "\ufeff" + end.join(["id: a", "payload:", "  role: user"])


# --- what is left alone ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "id: a\ntype: memory\n",
        "id: a\npayload:\n",
        "id: a\npayload:\non_success:\n  next: b\n",
        "id: a\npayload:\n- role: user\n  content: x\n",
        "id: a\npayload: null\nrole: user\n",
        "id: a\npayload:\n  role: user\ncontent: x\n",
        "id: a\nmetadata:\nauthor: me\n",
        "id: a\nprompt: |\ntitle: x\n",
        "id: a\nprompt: |\n  payload:\n  role: x\n",
        "list:\n- |\n  - id: a\n    payload:\n    role: x\n",
        "role: x\npayload:\nrole: y\n",
        "id: a\nid: b\npayload:\nrole: user\n",
        "id: a\npayload:\nrole: {{ .x }}\n",
        "id: a\npayload:\n\trole: user\n",
        "id: 'a\npayload:\nrole: user\n",
        '  payload:\n  - id: z\ntype: memory\nprompt: |\n"\nnext: b\noperation: write',
    ],
)
def test_anything_else_is_left_alone(text: str) -> None:
    assert repair(text) is None
    assert not is_flattened(text)


lines = st.sampled_from(
    [
        *("payload:", "role: user", "content: |", "content: x", "metadata:", "user_id: x"),
        *("on_success:", "next: b", "flush_config:", "max_keys: 3", "with:", "other: 1", "tasks:"),
        *("id: a", "- id: a", "  - id: b", "type: memory", "operation: write", "agents:", "- |"),
        *("Hello: {{ .x }}", "  deep: 1", "    deeper", "  payload:", "  role: u", "# note", ""),
        *("---", "\tx", "a: 'b", "- ", "|", "{", "}"),
    ]
)
snippets = st.builds(lambda end, parts: end.join(parts), st.sampled_from(["\n", "\r\n"]),
                     st.lists(lines, max_size=12))  # fmt: skip


@given(snippets | st.text() | st.text(st.characters(codec=None)))
def test_repair_never_raises_moves_nothing_but_indentation_and_is_done_at_once(text: str) -> None:
    result = repair(text)
    assert is_flattened(text) == (result is not None)
    if result is not None:
        parse(result, file="a.yaml")
        assert repair(result) is None
        unindented = [line.strip(" ") for line in result.splitlines(keepends=True)]
        assert unindented == [line.strip(" ") for line in text.splitlines(keepends=True)]


@given(
    st.lists(st.sampled_from(["role", "content", "timestamp"]), unique=True, min_size=1),
    st.dictionaries(st.sampled_from(["colour", "user_id", "session_id"]), st.integers(0, 9)),
    st.booleans(),
)
def test_a_task_flattened_on_purpose_comes_back(
    payload: list[str], metadata: dict[str, int], has_next: bool
) -> None:
    whole = ["id: a", "type: memory", "payload:", *(f"  {key}: x" for key in payload)]
    if metadata:
        whole += ["  metadata:", *(f"    {key}: {value}" for key, value in metadata.items())]
    if has_next:
        whole += ["on_success:", "  next: b"]
    assert repair("\n".join(line.lstrip() for line in whole)) == "\n".join(whole)


# --- showing and writing --------------------------------------------------------------------------


def test_loading_a_flattened_task_is_an_error_that_shows_the_repaired_text() -> None:
    error = flattened_error(flat_text(), file="workflows/a.yaml")
    assert isinstance(error, ConfigError)
    assert str(error).startswith("workflows/a.yaml:7: this task lost its indentation")
    assert repaired(flat_text()) in str(error)
    assert "`recollect fmt --fix workflows/a.yaml`" in str(error)
    assert error.details["line"] == 7


def test_a_sound_text_has_no_such_error() -> None:
    with pytest.raises(ValueError, match="only a flattened text"):
        flattened_error("id: a\n", file="a.yaml")


def test_the_diff_shows_the_lines_that_move() -> None:
    text = "id: a\npayload:\nrole: user\n"
    assert diff(text, repaired(text), file="a.yaml") == (
        "--- a.yaml\n+++ a.yaml (repaired)\n@@ -1,3 +1,3 @@\n"
        " id: a\n payload:\n-role: user\n+  role: user\n"
    )


def test_the_diff_of_equal_texts_is_empty() -> None:
    assert diff("a: 1\n", "a: 1\n", file="a.yaml") == ""


def test_a_flattened_file_is_rewritten_with_its_mode_and_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfid: a\r\npayload:\r\nrole: Zo\xc3\xab")
    path.chmod(0o640)
    assert fix_file(path)
    assert path.read_bytes() == b"\xef\xbb\xbfid: a\r\npayload:\r\n  role: Zo\xc3\xab"
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]
    assert not fix_file(path)


def test_a_sound_file_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("id: a\n")
    before = path.stat()
    assert not fix_file(path)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_of_a_link_the_target_is_rewritten(tmp_path: Path) -> None:
    target, link = tmp_path / "a.yaml", tmp_path / "link.yaml"
    target.write_text(flat_text())
    link.symlink_to(target)
    assert fix_file(link)
    assert link.is_symlink()
    assert target.read_text() == repaired(flat_text())


def test_a_missing_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        fix_file(tmp_path / "gone.yaml")


@contextmanager
def an_ordinary_user() -> Iterator[None]:
    """Root may read and write everything, so the test steps down while it looks."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def test_a_read_only_folder_is_named_and_the_file_stays() -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "a.yaml"
        path.write_text(flat_text())
        path.chmod(0o644)
        path.parent.chmod(0o555)
        with an_ordinary_user(), pytest.raises(ConfigError, match="make the folder writable"):
            fix_file(path)
        path.parent.chmod(0o755)
        assert list(path.parent.iterdir()) == [path]
        assert path.read_text() == flat_text()


def test_a_write_that_fails_leaves_the_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(flat_text())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(ConfigError, match="the file is unchanged"):
            fix_file(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == flat_text()
