"""Plays many histories and prints how often each rare state was reached: python -m tests.faults.simulation"""

import argparse
import sys
import time
from collections import Counter

from tests.faults.simulation.histories import play
from tests.faults.simulation.shrinking import from_text, report
from tests.faults.simulation.sometimes import table


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    options = _options()
    if options.replay is not None:
        history = play(options.start, from_text(options.replay), tell=say)
        say(f"failure: {history.failure}")
        return int(history.failure is not None)
    counts, began = Counter[str](), time.monotonic()
    for seed in range(options.start, options.start + options.seeds):
        history = play(seed)
        counts += history.counts
        if history.failure is not None:
            say(f"seed {seed} fails: {history.failure}" if options.brief else report(history))
            return 1
    say(table(counts))
    say(f"{options.seeds:,} seeds in {time.monotonic() - began:.0f} s")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.simulation")
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--brief", action="store_true", help="do not shorten a history that fails")
    parser.add_argument("--replay", help="the steps of a shortened history, as they were printed")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
