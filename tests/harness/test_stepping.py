"""What a training shows where nobody looks at a terminal."""

from __future__ import annotations

import pytest

from harness.stepping import Lines, stepping


def test_without_a_terminal_there_is_a_line_a_minute_with_step_loss_rate_and_time_left() -> None:
    now, said = [100.0], list[str]()
    tell = Lines("training x", 100, 10, said.append, lambda: now[0])
    for step in range(90):
        now[0] += 20
        tell(5 - step / 20)
    assert said[0] == "training x: step 11 of 100, loss 5, 0.05 steps/s, 0:29:40 left"
    assert said[1] == "training x: step 14 of 100, loss 4.85, 0.05 steps/s, 0:28:40 left"
    assert said[-1].startswith("training x: step 100 of 100, loss 0.55")
    assert len(said) == 1 + 89 // 3 + 1


def test_a_quick_training_says_its_first_and_last_step(capsys: pytest.CaptureFixture[str]) -> None:
    with stepping("training y", 5, 0) as tell:
        for _ in range(5):
            tell(1.0)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(",")[0] for line in lines] == ["training y: step 1 of 5", "training y: step 5 of 5"]
