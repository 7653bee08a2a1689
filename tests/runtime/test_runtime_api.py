"""The Runtime API server does to plain handlers what Lambda does."""

import os
import time
from pathlib import Path

import pytest

from tests.runtime.deployment import CODE
from tests.support.runtime_api import LambdaFunction


def function(handler: str, timeout: float = 30.0) -> LambdaFunction:
    return LambdaFunction(CODE, f"plain_handlers.{handler}", {"GREETING": "hello"}, timeout=timeout)


def wait_for(function: LambdaFunction, words: str) -> None:
    end = time.monotonic() + 20
    while words not in function.log:
        assert time.monotonic() < end, function.log
        time.sleep(0.01)


def test_a_handler_gets_its_event_and_a_context() -> None:
    with function("echo", timeout=30) as echo:
        answer = echo.invoke({"name": "Ida"})
    assert answer.ok
    assert answer.payload["event"] == {"name": "Ida"}
    assert 20_000 < answer.payload["remaining"] <= 30_000
    assert answer.payload["memory"] == "1024"


def test_a_process_is_kept_for_the_next_invocation() -> None:
    with function("echo") as echo:
        cold, warm = echo.invoke(1), echo.invoke(2)
        assert echo.starts == 1
    assert (cold.payload["invocations"], warm.payload["invocations"]) == (1, 2)
    assert cold.payload["request_id"] != warm.payload["request_id"]
    assert cold.init_seconds
    assert warm.init_seconds is None


def test_a_process_sees_nothing_of_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_TESTS", "x")
    with function("echo") as echo:
        seen = echo.invoke(None).payload
    assert "GREETING" in seen["environment"]
    assert not {"SECRET_OF_THE_TESTS", "HOME", "VIRTUAL_ENV"} & set(seen["environment"])
    root = Path(__file__).parents[2]
    assert [each for each in seen["path"] if Path(each).is_relative_to(root)] == [str(CODE)]
    assert [each for each in seen["path"] if "site-packages" in each] == []


def test_what_a_handler_raises_is_an_answer_and_the_process_lives_on() -> None:
    with function("fail") as fail:
        answer = fail.invoke("such thing")
        fail.invoke("other thing")
        assert fail.starts == 1
    assert (answer.ok, answer.error_type, answer.error_message) == (False, "LookupError", "no such thing")
    assert "[ERROR] LookupError: no such thing" in answer.log


@pytest.mark.parametrize("code", [0, 3])
def test_a_process_that_leaves_is_an_error_and_the_next_invocation_starts_another(code: int) -> None:
    with function("leave") as leave:
        answer = leave.invoke(code)
        leave.invoke(code)
        assert leave.starts == 2
    assert (answer.error_type, answer.error_message) == (
        "Runtime.ExitError",
        f"Runtime exited with error: exit status {code}",
    )


def test_a_process_that_misses_the_deadline_is_killed() -> None:
    with function("sleep", timeout=0.5) as sleep:
        answer = sleep.invoke(30)
        again = sleep.invoke(0)
        assert sleep.starts == 2
    assert answer.error_type == "Sandbox.Timedout"
    assert answer.error_message
    assert answer.error_message.endswith("Task timed out after 0.50 seconds")
    assert answer.log == "asleep\n"
    assert again.ok


def test_a_process_can_be_killed_in_the_middle() -> None:
    with function("sleep") as sleep:
        future = sleep.invoke_in_background(30)
        wait_for(sleep, "asleep")
        sleep.kill()
        answer = future.result(10)
        assert sleep.invoke(0).ok
    assert answer.error_message == "Runtime exited with error: signal: SIGKILL"


def test_a_process_told_to_go_may_say_something() -> None:
    with function("sleep") as sleep:
        future = sleep.invoke_in_background(30)
        wait_for(sleep, "asleep")
        sleep.shut_down(grace=5)
        answer = future.result(10)
    assert answer.error_type == "Runtime.ExitError"
    assert answer.log == "asleep\ngood night\n"


@pytest.mark.parametrize(
    ("handler", "error_type", "told"),
    [
        ("no_such_module.handler", "Runtime.ImportModuleError", "No module named 'no_such_module'"),
        ("plain_handlers.no_such_handler", "Runtime.HandlerNotFound", "'no_such_handler' missing"),
        ("broken_module.handler", "ArithmeticError", "cannot be loaded"),
    ],
)
def test_a_handler_that_cannot_be_loaded_is_an_error_of_the_first_invocation(
    handler: str, error_type: str, told: str
) -> None:
    with LambdaFunction(CODE, handler, {}) as broken:
        answer = broken.invoke({})
        assert broken.invoke({}).error_type == error_type
        assert broken.starts == 2
    assert answer.error_type == error_type
    assert told in str(answer.error_message)


def test_nothing_is_left_behind() -> None:
    with function("echo") as echo:
        pid = echo.invoke(None).payload["pid"]
        folder = echo._folder
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
