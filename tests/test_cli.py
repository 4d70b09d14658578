"""The command line: what it prints, where, and how it exits."""

from __future__ import annotations

import json
import os
import pty
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

PROBED = str(Path(sys.executable).with_name("probed"))
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def ports() -> Iterator[tuple[int, int]]:
    """One that listens and one that does not."""
    with socket.socket() as good, socket.socket() as bad:
        good.bind(("127.0.0.1", 0))
        good.listen(64)
        bad.bind(("127.0.0.1", 0))
        yield good.getsockname()[1], bad.getsockname()[1]


@pytest.fixture
def probed(tmp_path: Path) -> Command:
    def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "PROBED_"))}
        return subprocess.run(
            [PROBED, *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            cwd=tmp_path,
            env=kept | {"PYTHONDEVMODE": "1", "PYTHONWARNINGS": "error"} | env,
            check=False,
        )

    return run


@pytest.fixture
def write(tmp_path: Path, ports: tuple[int, int]) -> Callable[[str], str]:
    """Write a configuration; GOOD and BAD stand for the ports."""

    def save(text: str) -> str:
        path = tmp_path / "given.yaml"
        path.write_text(text.replace("GOOD", str(ports[0])).replace("BAD", str(ports[1])))
        return str(path)

    return save


OK = "{name: ok, probe: tcp, address: '127.0.0.1:GOOD', timeout: 5s}"
DOWN = "{name: down, probe: tcp, address: '127.0.0.1:BAD', timeout: 5s}"
DENIED = "{name: denied, probe: tcp, address: '169.254.169.254:80'}"
DISABLED = "{name: disabled, probe: tcp, address: '127.0.0.1:BAD', enabled: false}"


def checks(*listed: str) -> str:
    return "checks:\n" + "".join(f"  - {check}\n" for check in listed)


@pytest.mark.parametrize(
    ("listed", "code"),
    [((OK,), 0), ((OK, DOWN), 2), ((OK, DENIED), 3), ((DENIED, DOWN), 2)],
)
@pytest.mark.parametrize("output", ["text", "json", "jsonl"])
def test_the_exit_code_is_that_of_the_worst_for_every_format(
    probed: Command, write: Any, listed: tuple[str, ...], code: int, output: str
) -> None:
    done = probed("check", "--all", "-c", write(checks(*listed)), "-o", output)
    assert done.returncode == code, done.stderr
    assert done.stderr == ""


def test_degraded_at_worst_exits_with_1(probed: Command, write: Any, tmp_path: Path) -> None:
    from probed.testing.certificates import Authority

    # A TLS server in a process of its own, whose certificate ends in ten days.
    authority = Authority()
    certificate, key = authority.issue("localhost", days=10).files(tmp_path)
    server = subprocess.Popen(
        [sys.executable, "-c", _TLS_SERVER, str(certificate), str(key)],
        stdout=subprocess.PIPE,
        text=True,
    )
    with server:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        ca = authority.pem_file(tmp_path)
        path = write(
            checks(f"{{name: soon, probe: tls, address: 'localhost:{port}', tls: {{ca: {ca}}}}}")
        )
        done = probed("check", "soon", "-c", path)
        server.terminate()
    assert (done.returncode, done.stderr) == (1, "")
    assert "tls.expires_soon" in done.stdout


_TLS_SERVER = """
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
for _ in range(10):
    peer, _ = listener.accept()
    try:
        context.wrap_socket(peer, server_side=True).recv(1)
    except OSError:
        pass
"""

RESULT = {
    "type": "object",
    "required": [
        "check", "probe", "target", "outcome", "started_at", "duration_s", "attempts", "trace_id",
        "labels", "severity", "phases", "findings", "measures",
    ],
    "properties": {
        "outcome": {"enum": ["ok", "degraded", "failed", "unknown"]},
        "started_at": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"},
        "duration_s": {"type": "number", "minimum": 0},
        "attempts": {"type": "integer", "minimum": 1},
        "trace_id": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        "labels": {"type": "object"},
        "severity": {"enum": ["P0", "P1", "P2", "P3"]},
        "phases": {
            "type": "array",
            "items": {
                "required": ["name", "start_s", "duration_s"],
                "properties": {"start_s": {"type": "number"}, "duration_s": {"type": "number"}},
            },
        },
        "findings": {
            "type": "array",
            "items": {
                "required": ["level", "reason", "message", "evidence"],
                "properties": {"reason": {"pattern": r"^[a-z0-9_]+\.[a-z0-9_]+$"}},
            },
        },
        "measures": {
            "type": "array",
            "items": {"required": ["name", "unit", "value", "attributes"]},
        },
    },
}  # fmt: skip
DOCUMENT = {
    "type": "object",
    "required": ["schema", "outcome", "started_at", "duration_s", "counts", "results"],
    "properties": {
        "schema": {"const": "probed.check/1"},
        "counts": {"required": ["ok", "degraded", "failed", "unknown"]},
        "results": {"type": "array", "items": RESULT},
    },
}


def test_json_is_one_object_of_the_promised_shape(probed: Command, write: Any) -> None:
    done = probed("check", "--all", "-c", write(checks(OK, DOWN)), "-o", "json")
    document = json.loads(done.stdout)
    jsonschema.validate(document, DOCUMENT)
    assert document["outcome"] == "failed"
    assert document["counts"] == {"ok": 1, "degraded": 0, "failed": 1, "unknown": 0}
    ok, down = document["results"]
    assert [phase["name"] for phase in ok["phases"]] == ["resolve", "connect"]
    assert down["attempts"] == 2
    assert down["findings"][0]["reason"] == "connect.refused"
    assert down["earlier_attempts"][0]["findings"][0]["reason"] == "connect.refused"


def test_jsonl_is_a_result_a_line(probed: Command, write: Any) -> None:
    done = probed("check", "--all", "-c", write(checks(OK, DOWN)), "-o", "jsonl")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["check"] for line in lines} == {"ok", "down"}
    for line in lines:
        jsonschema.validate(line, RESULT)


def test_text_is_a_line_a_check_in_the_order_of_the_file_and_a_summary(
    probed: Command, write: Any
) -> None:
    done = probed("check", "--all", "-c", write(checks(DOWN, OK)))
    lines = done.stdout.splitlines()
    assert lines[0].startswith("✖ failed   down")
    assert "connect.refused: Connection refused: nothing is listening on 127.0.0.1:" in lines[1]
    assert lines[2].startswith("✔ ok       ok")
    assert lines[3].startswith("2 checks in ")
    assert lines[3].endswith(": 1 ok, 1 failed")


def test_verbose_shows_phases_as_a_waterfall_evidence_and_the_trace(
    probed: Command, write: Any
) -> None:
    text = probed("check", "down", "-v", "-c", write(checks(DOWN))).stdout
    assert "attempt 1: failed" in text
    assert "connect.refused" in text
    assert "network.peer.address  127.0.0.1" in text
    assert "|" in text
    assert "trace " in text


def test_only_the_named_checks_run(probed: Command, write: Any) -> None:
    done = probed("check", "ok", "-c", write(checks(OK, DOWN)))
    assert done.returncode == 0
    assert "down" not in done.stdout


def test_a_disabled_check_is_said_to_be_left_out_and_runs_when_named(
    probed: Command, write: Any
) -> None:
    path = write(checks(OK, DISABLED))
    done = probed("check", "--all", "-c", path)
    assert done.returncode == 0
    assert "not run, disabled in the configuration: disabled" in done.stderr
    assert probed("check", "disabled", "-c", path).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check"], "name the checks to run, or use --tag or --all"),
        (["check", "okk"], "there is no check 'okk' (did you mean 'ok'?)"),
        (["check", "--al"], "--al"),
        (["check", "--all", "-o", "xml"], "xml"),
        (["nothing"], "nothing"),
    ],
)
def test_a_usage_error_is_3_and_never_2(
    probed: Command, write: Any, arguments: list[str], said: str
) -> None:
    path = write(checks(OK))
    config = ["-c", path] if arguments[0] == "check" else []
    done = probed(*arguments, *config)
    assert done.returncode == 3
    assert said in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "command", [["check", "--all"], ["config", "check"], ["config", "show"], ["list"]]
)
def test_a_bad_configuration_is_3_with_its_place_and_all_its_errors(
    probed: Command, write: Any, command: list[str]
) -> None:
    path = write("checks:\n  - {name: a, probe: tpc, address: x}\n  - {name: b, probe: tcp}\n")
    done = probed(*command, "-c", path)
    assert done.returncode == 3
    assert f"{path}:2:" in done.stderr
    assert re.search(r"did you mean .tcp.", done.stderr)
    assert f"{path}:3:" in done.stderr
    assert done.stdout == ""


def test_a_bad_configuration_is_78_for_the_daemon(probed: Command, write: Any) -> None:
    done = probed("run", "-c", write("checks: []\n"))
    assert done.returncode == 78
    assert "given.yaml:1:" in done.stderr


def test_the_configuration_is_found_where_it_is_promised(
    probed: Command, write: Any, tmp_path: Path
) -> None:
    done = probed("list")
    assert done.returncode == 3
    assert "probed.yaml" in done.stderr
    path = write(checks(OK))
    assert "ok  tcp" in probed("list", PROBED_CONFIG=path).stdout
    (tmp_path / "probed.yaml").write_text(Path(path).read_text())
    assert "ok  tcp" in probed("list").stdout


def test_list_and_config_commands_print_what_they_say(probed: Command, write: Any) -> None:
    path = write(checks(OK, DISABLED))
    listed = probed("list", "-c", path).stdout.splitlines()
    assert listed[0].split()[:5] == ["ok", "tcp", "every", "30s", "P2"]
    assert "disabled" in listed[1]
    assert json.loads(probed("list", "-c", path, "-o", "json").stdout)["checks"][0]["check"] == "ok"
    assert probed("config", "check", "-c", path).stdout.startswith("valid: 2 checks, 1 disabled, ")
    assert "name: ok" in probed("config", "show", "-c", path).stdout
    schema = json.loads(probed("config", "schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)


def test_the_annotated_configuration_is_valid(probed: Command, project: Path) -> None:
    for path in sorted((project / "config").glob("*.yaml")):
        done = probed("config", "check", "-c", str(path))
        assert done.returncode == 0, done.stderr


def test_the_configuration_of_the_readme_is_valid(
    probed: Command, project: Path, tmp_path: Path
) -> None:
    text = (project / "README.md").read_text().split("```yaml\n")[1].split("```")[0]
    assert len(text.splitlines()) <= 15
    (tmp_path / "readme.yaml").write_text(text)
    done = probed("config", "check", "-c", "readme.yaml", HEALTH_TOKEN="token-of-the-readme")
    assert done.returncode == 0, done.stderr


def test_results_go_to_standard_output_and_progress_to_a_terminal_only(
    write: Any, read_to_end: Callable[[int], bytes]
) -> None:
    path = write(checks(OK, DOWN))
    parent, child = pty.openpty()
    with subprocess.Popen(
        [PROBED, "check", "--all", "-c", path],
        stdout=subprocess.PIPE,
        stderr=child,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "CI"} | {"TERM": "xterm"},
    ) as process:
        os.close(child)
        assert process.stdout is not None
        out = process.stdout.read()
    shown = read_to_end(parent)
    assert b"of 2 done" in shown
    assert "of 2 done" not in out
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("env", "coloured"),
    [({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
)
def test_colour_is_as_asked_for(
    probed: Command, write: Any, env: dict[str, str], coloured: bool
) -> None:
    done = probed("check", "--all", "-c", write(checks(OK)), **env)
    assert ("\x1b[32m" in done.stdout) is coloured


def test_an_ascii_terminal_gets_ascii(probed: Command, write: Any) -> None:
    done = probed(
        "check", "--all", "-v", "-c", write(checks(DOWN)), PYTHONIOENCODING="ascii", LC_ALL="C"
    )
    assert done.returncode == 2
    assert done.stdout.isascii()


def test_a_reader_that_goes_away_is_not_a_traceback(write: Any) -> None:
    path = write(checks(DOWN))
    for command in (["check", "--all"], ["list"], ["config", "show"]):
        parent, child = os.pipe()
        os.close(parent)
        done = subprocess.run(
            [PROBED, *command, "-c", path],
            stdout=child,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        os.close(child)
        assert (done.returncode, done.stderr) == (3, "")


# What a command imports. By name, not by clock: this is what makes it slow or quick.

SLOW = ("anyio", "asyncio", "httpx2", "opentelemetry", "pydantic", "rich", "starlette", "yaml")
SERVERS = ("cryptography", "dns", "httpx2", "opentelemetry", "rich", "sqlite3", "starlette", "uvicorn",
           "uvloop", "xml")  # fmt: skip
KINDS = ("probes.dns", "probes.gateway", "probes.mongo", "probes.tls", "pymongo")
SELDOM = ("h2", "probed.config.telemetry", "probed.http.http2", "probed.http.redirects", "probed.output.github",
          "probed.output.junit", "probed.output.nagios", "statistics")  # fmt: skip
"""What a check needs that asks for it in its settings, or by `-o`."""


def imported(arguments: list[str], modules: tuple[str, ...], **env: str) -> tuple[str, list[str]]:
    """What the command says, and which of the modules it has imported."""
    code = (
        f"import sys; from probed.cli import main\ntry: main({arguments!r})\n"
        f"except SystemExit: pass\nprint(*(m for m in {modules!r} if m in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | env,
    )
    return done.stdout + done.stderr, done.stdout.splitlines()[-1].split()


def test_help_names_the_exit_codes_and_needs_no_heavy_import() -> None:
    said, found = imported(["--help"], SLOW)
    assert "Exit codes" in said
    assert found == []


@pytest.mark.parametrize("command", ["reload", "status", "drain", "check --daemon --all"])
def test_what_asks_the_daemon_imports_next_to_nothing(command: str, tmp_path: Path) -> None:
    said, found = imported(command.split(), SLOW, PROBED_CONTROL=str(tmp_path / "none"))
    assert "no running daemon found" in said
    assert found == []


def test_a_one_shot_check_imports_neither_servers_nor_telemetry(write: Any) -> None:
    path = write(checks(OK))
    said, found = imported(["check", "--all", "-c", path], SERVERS + KINDS + SELDOM)
    assert "1 ok" in said
    assert found == []


def test_a_one_shot_check_of_a_gateway_imports_one_kind(write: Any) -> None:
    path = write(checks("{name: web, probe: gateway, url: 'http://127.0.0.1:BAD/'}"))
    said, found = imported(["check", "--all", "-c", path], SERVERS + KINDS + SELDOM)
    assert "connect.refused" in said
    assert found == ["probes.gateway"]


def test_a_one_shot_check_builds_validators_of_what_is_written_only(write: Any) -> None:
    path = write(checks("{name: web, probe: gateway, url: 'http://127.0.0.1:BAD/'}"))
    code = (
        f"from probed.cli import main\ntry: main(['check', 'web', '-c', {path!r}])\n"
        "except SystemExit: pass\n"
        "from pydantic import BaseModel\n"
        "def below(model):\n"
        "    yield model\n"
        "    for inner in model.__subclasses__(): yield from below(inner)\n"
        "built = {m.__name__ for m in below(BaseModel) if m.__pydantic_complete__ and m.model_fields}\n"
        "print(*sorted(built))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "CheckSettings GatewayProbe"


def test_until_ok_waits_for_what_is_not_there_yet(write: Any) -> None:
    with socket.socket() as late:
        late.bind(("127.0.0.1", 0))
        port = late.getsockname()[1]
        path = write(checks(OK, f"{{name: late, probe: tcp, address: '127.0.0.1:{port}'}}"))
        with subprocess.Popen(
            [PROBED, "check", "--all", "--until", "ok", "--deadline", "20s", "-c", path],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert "ok" in process.stdout.readline()  # the first is there, the other is waited for
            late.listen()
            assert "late" in process.stdout.readline()
            assert "2 checks in" in process.stdout.read()
    assert process.returncode == 0


def test_until_ok_ends_at_its_deadline_with_what_is_then(probed: Command, write: Any) -> None:
    path = write(checks(OK, DOWN))
    done = probed("check", "--all", "--until", "ok", "--deadline", "1.5s", "-c", path)
    assert (done.returncode, done.stderr) == (2, "")
    assert "1 ok, 1 failed" in done.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--deadline", "1s"], "--deadline needs --until ok"),
        (["--until", "ok", "--deadline", "5"], "write a duration with its unit"),
        (["--until", "up"], "up"),
    ],
)
def test_a_deadline_that_cannot_be_is_a_usage_error(
    probed: Command, write: Any, options: list[str], said: str
) -> None:
    done = probed("check", "--all", *options, "-c", write(checks(OK)))
    assert (done.returncode, done.stdout) == (3, "")
    assert said in done.stderr


def test_a_pattern_selects_and_leaves_disabled_checks_out_loudly(
    probed: Command, write: Any
) -> None:
    path = write(checks(OK, DOWN, DISABLED))
    done = probed("check", "d*", "-c", path, "-o", "jsonl")
    assert [json.loads(line)["check"] for line in done.stdout.splitlines()] == ["down"]
    assert "not run, disabled in the configuration: disabled" in done.stderr
    assert probed("check", "x*", "-c", path).returncode == 3


def test_results_go_to_files_too_each_in_its_format(
    probed: Command, write: Any, tmp_path: Path
) -> None:
    path = write(checks(OK, DOWN))
    done = probed(
        "check", "--all", "-c", path,
        "-o", "junit=r.xml", "-o", "json=r.json", "-o", "jsonl=r.jsonl", "-o", "text=r.txt",
        "-o", "nagios=/dev/null",
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "2 checks in" in done.stdout
    jsonschema.validate(json.loads((tmp_path / "r.json").read_text()), DOCUMENT)
    assert 'failures="1"' in (tmp_path / "r.xml").read_text()
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 2
    assert "2 checks in" in (tmp_path / "r.txt").read_text()
    assert not list(tmp_path.glob(".r.*"))


def test_github_gets_annotations_and_a_summary(probed: Command, write: Any, tmp_path: Path) -> None:
    path = write(checks(OK, DOWN))
    summary = tmp_path / "summary.md"
    done = probed("check", "--all", "-c", path, "-o", "github", GITHUB_STEP_SUMMARY=str(summary))
    assert done.stdout.startswith(f"::error file={path},line=3,title=down failed::")
    assert "| down | failed |" in summary.read_text()


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        (["-o", "jsn"], "did you mean 'json'?"),
        (["-o", "json", "-o", "nagios"], "only one format can go to standard output"),
        (["-o", "json="], "write a file"),
        (["-o", "json=none/r.json"], "the file none/r.json cannot be written"),
        (["-o", "json=."], "the file . cannot be written"),
    ],
)
def test_an_output_that_cannot_be_is_said_before_anything_runs(
    probed: Command, write: Any, outputs: list[str], said: str
) -> None:
    done = probed("check", "--all", "-c", write(checks(OK)), *outputs)
    assert (done.returncode, done.stdout) == (3, "")
    assert said in done.stderr
