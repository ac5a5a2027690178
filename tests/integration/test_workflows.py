"""Workflows through the real engine: order, scopes, transitions, failures, outputs."""

from typing import TYPE_CHECKING

import pytest

from recollect.errors import ConfigError
from recollect.project.app import open_app

if TYPE_CHECKING:
    from tests.conftest import ProjectFolder
    from tests.fake_openai import FakeOpenAI


async def test_list_mode_runs_tasks_in_order(project: "ProjectFolder") -> None:
    result = await project.run(
        """
        tasks:
          - {id: a, type: memory, operation: append, memory_ref: talk, payload: "one"}
          - {id: b, type: memory, operation: append, memory_ref: talk, payload: "two"}
          - {id: c, type: memory, operation: read, memory_ref: talk}
        """,
        {"user_id": "u1"},
    )
    assert result.status == "completed"
    assert list(result.tasks) == ["a", "b", "c"]
    assert [m["content"] for m in result.output["messages"]] == ["one", "two"]
    assert await project.contents("conv:u1") == ["one", "two"]


async def test_graph_mode_follows_transitions_and_skips_what_none_leads_to(
    project: "ProjectFolder",
) -> None:
    """Row 32 of specs/memory.md section 13."""
    result = await project.run(
        """
        id: wf
        tasks:
          - {id: a, with: {x: 1}, on_success: {next: c, with: {from: "{{ .tasks.a.output.x }}"}}}
          - {id: b, with: {x: 2}}
          - {id: c, with: {from: 0, also: "{{ .with.from }}!"}, outputs: {came: "{{ .with }}"}}
        """
    )
    assert list(result.tasks) == ["a", "c"]
    assert result.output == {"came": {"from": 1, "also": "1!"}}


async def test_flow_list_overrides_what_transitions_suggest(project: "ProjectFolder") -> None:
    result = await project.run(
        """
        config: {flow: list}
        tasks:
          - {id: a, with: {x: 1}, on_success: {next: c}}
          - {id: b, with: {x: 2}}
        """
    )
    assert list(result.tasks) == ["a", "b"]


async def test_a_transition_out_of_the_workflow_ends_the_run_well_and_is_noted(
    project: "ProjectFolder",
) -> None:
    file = project.write("wf.yaml", "tasks: [{id: a, with: {x: 1}, on_success: {next: nowhere}}]")
    result = await project.run(file.read_text())
    assert result.status == "completed"
    from recollect.project.users import add_workflow_file

    loaded = project.load()
    add_workflow_file(loaded, file)
    assert any("nowhere" in note and "wf.yaml:1" in note for note in loaded.notes)


async def test_both_dialects_see_the_same_values(project: "ProjectFolder") -> None:
    result = await project.run(
        """
        id: both
        version: 1.2
        tasks:
          - id: save-state
            with: {n: 5}
            output: first
          - id: show
            outputs:
              flat: "{{ .user_id }}"
              rooted: "{{ .workflow.input.user_id }}"
              alias: "{{ .first.n }}"
              task: "{{ .tasks.save-state.output.n }}"
              status: "{{ .tasks.save-state.status }}"
              id: "{{ .workflow.id }} {{ .workflow.version }}"
              env: "{{ .env.COLOUR }}"
              project: "{{ .project.name }}"
              stamp: "{{ len .timestamp }}"
        """,
        {"user_id": "u1"},
        env={"COLOUR": "red"},
    )
    assert result.output == {
        "flat": "u1",
        "rooted": "u1",
        "alias": 5,
        "task": 5,
        "status": "completed",
        "id": "both 1.2",
        "env": "red",
        "project": "project",
        "stamp": result.output["stamp"],
    }
    assert int(result.output["stamp"]) >= len("2026-01-01T00:00:00Z")


async def test_an_input_named_timestamp_beats_the_builtin_and_reserved_roots_beat_inputs(
    project: "ProjectFolder",
) -> None:
    result = await project.run(
        """
        tasks:
          - id: show
            outputs:
              stamp: "{{ .timestamp }}"
              tasks: "{{ .workflow.input.tasks }}"
              size: "{{ len .tasks }}"
        """,
        {"timestamp": "then", "tasks": "mine"},
    )
    assert result.output == {"stamp": "then", "tasks": "mine", "size": "0"}


async def test_a_failure_follows_on_error_and_does_not_fail_the_run(
    project: "ProjectFolder",
) -> None:
    """Row 29 of specs/memory.md section 13; a Redis that is down: acceptance/test_resource_rows.py."""
    result = await project.run(
        """
        tasks:
          - id: clear
            type: memory
            operation: clear
            memory_ref: talk
            on_error: {next: mend, with: {why: "no"}}
          - id: mend
            outputs: {code: "{{ .error.code }}", why: "{{ .with.why }}"}
        """,
        {"user_id": "u1"},
    )
    assert result.status == "completed"
    assert result.output == {"code": "INVALID_CONFIGURATION", "why": "no"}
    assert result.tasks["clear"]["status"] == "failed"


async def test_on_error_continue_takes_its_default_output(project: "ProjectFolder") -> None:
    result = await project.run(
        """
        tasks:
          - id: clear
            type: memory
            operation: clear
            memory_ref: talk
            output: cleared
            on_error: {continue: true, default_output: {n: 0}}
          - {id: show, outputs: {n: "{{ .cleared.n }}"}}
        """,
        {"user_id": "u1"},
    )
    assert result.output == {"n": 0}


async def test_an_unhandled_failure_fails_the_run_and_stops_it(project: "ProjectFolder") -> None:
    result = await project.run(
        """
        tasks:
          - {id: bad, type: memory, operation: append, memory_ref: talk, payload: "{{ .nope }}"}
          - {id: never, with: {x: 1}}
        """,
        {"user_id": "u1"},
    )
    assert result.status == "failed"
    assert list(result.tasks) == ["bad"]
    assert result.error is not None
    assert result.error["code"] == "TEMPLATE_MISSING_KEY"
    assert result.error["details"]["task"] == "bad"
    assert await project.contents("conv:u1") == []


@pytest.mark.parametrize(
    "condition", ['{{ eq .user_id "u2" }}', "user_id == 'u2'", "has(workflow.input.nope)"]
)
async def test_a_false_condition_skips_the_task(project: "ProjectFolder", condition: str) -> None:
    import json

    result = await project.run(
        f"""
        tasks:
          - {{id: a, with: {{x: 1}}}}
          - {{id: b, condition: {json.dumps(condition)}, with: {{x: 2}}}}
          - {{id: c, condition: "user_id == 'u1'", with: {{x: 3}}}}
        """,
        {"user_id": "u1"},
    )
    assert {id_: task["status"] for id_, task in result.tasks.items()} == {
        "a": "completed",
        "b": "skipped",
        "c": "completed",
    }


async def test_final_ends_the_run(project: "ProjectFolder") -> None:
    result = await project.run("tasks: [{id: a, with: {x: 1}, final: true}, {id: b, with: {x: 2}}]")
    assert list(result.tasks) == ["a"]


async def test_a_loop_ends_and_says_why(project: "ProjectFolder") -> None:
    result = await project.run(
        """
        config: {max_task_executions: 5}
        tasks:
          - {id: a, with: {x: 1}, on_success: {next: b}}
          - {id: b, with: {x: 1}, on_success: {next: a}}
        """
    )
    assert result.status == "failed"
    assert result.error is not None
    assert "max_task_executions" in result.error["message"]


async def test_each_visit_of_a_task_stores_anew(project: "ProjectFolder") -> None:
    result = await project.run(
        """
        config: {max_task_executions: 3}
        tasks:
          - id: a
            type: memory
            operation: append
            memory_ref: talk
            payload: "again"
            on_success: {next: a}
        """,
        {"user_id": "u1"},
    )
    assert result.status == "failed"
    assert await project.contents("conv:u1") == ["again"] * 3


async def test_workflow_outputs_are_rendered_at_the_end(project: "ProjectFolder") -> None:
    result = await project.run(
        """
        tasks: [{id: a, with: {x: 1}}]
        outputs:
          x: "{{ .tasks.a.output.x }}"
          absent: "{{ if index .tasks \\"b\\" }}ran{{ else }}did not run{{ end }}"
          status: "{{ .status }}"
        """
    )
    assert result.output == {"x": 1, "absent": "did not run", "status": "completed"}


async def test_outputs_that_cannot_be_rendered_fail_the_run_but_keep_its_result(
    project: "ProjectFolder",
) -> None:
    result = await project.run("tasks: [{id: a, with: {x: 1}}]\noutputs: {y: '{{ .nope }}'}")
    assert result.status == "failed"
    assert result.error is not None
    assert result.error["code"] == "OUTPUT_TRANSFORMATION_FAILED"
    assert result.output == {"x": 1}


async def test_stored_text_is_never_evaluated(project: "ProjectFolder") -> None:
    """Row 34 of specs/workflows.md section 11."""
    hostile = "{{ .env.SECRET }} {{ end }} {{"
    workflow = """
        tasks:
          - id: save
            type: memory
            operation: append
            memory_ref: talk
            payload: {role: user, content: "{{ .user_message }}"}
          - {id: read, type: memory, operation: read, memory_ref: talk, output: history}
          - {id: again, type: memory, operation: append, memory_ref: talk, payload: "{{ .history }}"}
          - {id: echo, outputs: {text: "{{ .history }}"}}
        """
    result = await project.run(
        workflow, {"user_id": "u1", "user_message": hostile}, env={"SECRET": "hunter2"}
    )
    assert result.status == "completed"
    assert await project.contents("conv:u1") == [hostile, hostile]
    assert "hunter2" not in str(result.as_json())


async def test_json_looking_user_text_stays_text(project: "ProjectFolder") -> None:
    workflow = """
        tasks:
          - id: save
            type: memory
            operation: append
            memory_ref: talk
            payload: {content: "{{ .user_message }}"}
        """
    await project.run(workflow, {"user_id": "u1", "user_message": "[1, 2]"})
    assert await project.contents("conv:u1") == ["[1, 2]"]


async def test_a_model_answer_and_a_history_speak_as_text(project: "ProjectFolder") -> None:
    """Row 10 of specs/workflows.md section 11."""
    result = await project.run(
        """
        tasks:
          - {id: s, type: memory, operation: append, memory_ref: talk, payload: "hello"}
          - {id: r, type: memory, operation: read, memory_ref: talk, output: history}
          - {id: m, provider: mock, model: m, prompt: "{{ .history }}", output: answer}
          - id: show
            outputs:
              history: "{{ .history }}!"
              answer: "{{ .answer }}"
              same: "{{ eq .answer.content (printf \\"%s\\" .answer) }}"
              json: "{{ .answer | toJson }}"
        """,
        {"user_id": "u1"},
    )
    assert result.output["history"] == "user: hello!"
    assert "[mock model]" in str(result.output["json"])


async def test_a_condition_reads_outputs_of_earlier_tasks(project: "ProjectFolder") -> None:
    result = await project.run(
        """
        tasks:
          - {id: s, type: memory, operation: append, memory_ref: talk, payload: "hello"}
          - {id: read, type: memory, operation: read, memory_ref: talk, output: history}
          - {id: many, condition: "tasks.read.output.count > 1", with: {x: 1}}
          - {id: one, condition: "history.count == 1 && size(history.messages) == 1", with: {x: 1}}
        """,
        {"user_id": "u1"},
    )
    assert result.tasks["many"]["status"] == "skipped"
    assert result.tasks["one"]["status"] == "completed"


async def test_a_run_whose_process_died_before_it_began_is_ended_as_failed(
    project: "ProjectFolder",
) -> None:
    loaded = project.load()
    async with open_app(loaded) as app:
        app.runs.begin("r1", "wf", executor="gone", started_at=app.clock.now())
        assert await app.resume(on_found=print) == []
        record = app.runs.get("r1")
    assert record.status == "failed"
    assert record.error is not None
    assert "start it again" in str(record.error["message"])


async def test_sleep_waits_before_a_task_that_is_not_the_first(project: "ProjectFolder") -> None:
    result = await project.run(
        "tasks: [{id: a, sleep: 1h, with: {x: 1}}, {id: b, sleep: '{{ .pause }}', with: {x: 2}}]",
        {"pause": "20ms"},
    )
    assert result.status == "completed"


async def test_a_timeout_fails_the_task(
    project: "ProjectFolder", fake_openai: "FakeOpenAI"
) -> None:
    fake_openai.fail(silent=True)
    result = await project.run(
        f"""
        tasks:
          - id: slow
            provider: openai
            model: m
            api_url: "{fake_openai.base_url}"
            prompt: "take your time"
            timeout: 50ms
        """,
        mock_model=False,
    )
    assert result.error is not None
    assert result.error["code"] == "TASK_TIMEOUT"


@pytest.mark.parametrize(
    ("workflow", "says"),
    [
        ("tasks: [{id: a}]", "needs messages or prompt"),
        ("tasks: [{id: a, type: router}]", "comes in a later version"),
        ("tasks: [{id: a, type: bsic}]", "unsupported task type: 'bsic'.*Did you mean 'basic'"),
        ("tasks: [{id: a, with: {x: 1}}, {id: a, with: {x: 1}}]", "used twice"),
        ("tasks: [{id: a, with: {x: '{{ .x | nope }}'}}]", "nope"),
        ("tasks: [{id: a, with: {x: '{{ .x'}}]", "not closed"),
        ("tasks: [{id: a, prompt: hi, agent: b}]", "not in this version"),
        ("tasks: [{id: a, operation: raed, memory_ref: talk}]", "Did you mean 'read'"),
        ("tasks: [{id: a, operation: read, memory_ref: tlak}]", "Memory resource not found"),
        ("tasks: [{id: a, operation: read, memory_ref: talk, limit: 5}]", "unknown field 'limit'"),
        (
            "tasks: [{id: a, operation: read, memory_ref: talk, read_config: {limit: 1001}}]",
            "limit",
        ),
        ("tasks: [{id: a, condition: 'x ==', with: {x: 1}}]", "no CEL expression"),
        ("tasks: [{id: a, with: {x: 1}, output: tasks}]", "reserved"),
        ("tasks: [{id: a, with: {x: 1}, timeout: soon}]", "no duration"),
        ("tasks: [{id: a, with: {x: 1}, on_error: {next: b, continue: true}}]", "keep one"),
        ("tasks: {id: a}", "tasks"),
        ("hello", "mapping"),
        ("x: 1", "no tasks"),
    ],
)
async def test_a_wrong_workflow_is_refused_with_file_and_line(
    project: "ProjectFolder", workflow: str, says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as error:
        await project.run(workflow)
    assert "wf.yaml" in str(error.value)
    assert not (project.root / ".recollect").exists()
