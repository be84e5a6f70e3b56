"""`python -m tests.fire [--kills 50] [--requests 200] [--seed N] [--people | --lost]`; 0 only where all holds."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from random import SystemRandom

from rich.console import Console

from tests.fire.campaigns import storm_campaigns
from tests.fire.judge import judge
from tests.fire.kills import Killer
from tests.fire.people import campaigns_of, deeds, play
from tests.fire.stack import running_stack
from tests.fire.storm import CAMPAIGNS, CHECKER_DELAY_S, Order, storm
from tests.fire.table import print_lost, print_people, print_storm
from tests.fire.third_lost import LOSSY, LOSSY_TIMES, third_lost


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.fire", description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="how many processes are killed (50)")
    parser.add_argument("--requests", type=int, default=200, help="requests before the last runs (200)")
    parser.add_argument("--seed", type=int, default=None, help="of every draw; a new one by default")
    parser.add_argument("--people", action="store_true", help="no fire: do what people do to runs")
    parser.add_argument("--lost", action="store_true", help="no fire: one campaign, a third of all POSTs lost")
    parser.add_argument("--only", default="", metavar="WORDS", help="of what people do, what has these words in it")
    parser.add_argument("--keep", action="store_true", help="keep the directory with logs and books")
    asked = parser.parse_args(arguments)
    # Whoever ends this shall not leave the processes behind.
    signal.signal(signal.SIGTERM, _end)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    began = time.monotonic()

    def tell(line: str) -> None:
        console.print(f"{time.monotonic() - began:7.1f} s  {line}")

    if asked.people:
        return people(asked.only, tell, console, keep=asked.keep)
    seed = SystemRandom().randrange(1_000_000) if asked.seed is None else asked.seed
    if asked.lost:
        return lost(seed, tell, console, keep=asked.keep)
    return fire(Order(kills=asked.kills, requests=asked.requests, seed=seed), tell, console, keep=asked.keep)


def _end(*_: object) -> None:
    # A second one would cut the ending off.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


def fire(order: Order, tell: Callable[[str], None], console: Console, *, keep: bool = False) -> int:
    """Run the storm; 0 if everything came to its end and no promise is broken."""
    campaigns = storm_campaigns(CAMPAIGNS)
    with running_stack(campaigns, checker_delay_s=CHECKER_DELAY_S, keep=keep) as stack:
        tell(f"everything runs in {stack.home.directory}; seed {order.seed}")
        outcome = storm(stack, campaigns, order, partial(Killer, stack, kills=order.kills, tell=tell), tell)
    print_storm(outcome, order, console)
    return 0 if outcome.reached_quiet and not outcome.judgement.broken else 1


def lost(seed: int, tell: Callable[[str], None], console: Console, *, keep: bool = False) -> int:
    """Submit one campaign whose POSTs are lost by the third; 0 if one run does it in time and no promise is broken."""
    with running_stack([LOSSY], checker_delay_s=1, keep=keep, times=LOSSY_TIMES) as stack:
        tell(f"everything runs in {stack.home.directory}; seed {seed}")
        done = third_lost(stack, seed, tell)
    print_lost(done, console)
    return 0 if done.holds else 1


def people(only: str, tell: Callable[[str], None], console: Console, *, keep: bool = False) -> int:
    """Do what people do; 0 if no promise is broken."""
    wanted = [deed for deed in deeds() if only in deed.name]
    campaigns = campaigns_of(wanted, first_number=1)
    with running_stack(campaigns, checker_delay_s=None, keep=keep) as stack:
        tell(f"everything runs in {stack.home.directory}")
        done = play(stack, wanted, campaigns, tell)
        broken = judge(stack).broken
    print_people(done, broken, console)
    return 1 if broken or any(each.broken for each in done) else 0


if __name__ == "__main__":
    sys.exit(main())
