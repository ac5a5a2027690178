"""What `make demo` runs: the example project, offline, each command in a process of its own."""

import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

EXAMPLE = Path(__file__).parent
ADDRESS = "ada@example.com"
RUN = "recollect run . --mock-model -i user_id=u1 -i session_id=s1"
KEY = "conv:u1:s1"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "memory-workflow"
        shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns(".recollect", "*.py"))
        say("A chatbot in YAML: read the conversation, ask a model (here the offline one), append.")
        say("1. Tell it something.")
        show(project, f"{RUN} -i user_message='My name is Ada, write to {ADDRESS}'")
        say("2. Another process, later. It remembers, and the address was never stored.")
        show(project, f"{RUN} -i user_message='What is my name?'")
        say("3. Look inside.")
        show(project, f"recollect memory read conversation_memory --key {KEY}")
        show(project, f"recollect memory stats conversation_memory --key {KEY}")
        files = [path for path in (project / ".recollect").rglob("*") if path.is_file()]
        leaks = [path for path in files if ADDRESS.encode() in path.read_bytes()]
        say(f"{ADDRESS} is in {len(leaks)} of the {len(files)} files under .recollect/.")
    say("Your turn: .venv/bin/recollect init my-bot, and docs/tutorial.md.")
    sys.exit(1 if leaks else 0)


def say(text: str) -> None:
    print(f"\n# {text}", flush=True)


def show(project: Path, command: str) -> None:
    print(f"$ {command}", flush=True)
    words = [sys.executable, "-m", *shlex.split(command)]
    done = subprocess.run(words, cwd=project, check=False, stderr=subprocess.STDOUT)
    if done.returncode:
        sys.exit(f"the command failed with exit code {done.returncode}")


if __name__ == "__main__":
    main()
