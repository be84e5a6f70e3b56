"""The invariants, read off the platform's books, and what the ledger owes to them.

The numbers of the invariants (I1 and so on) are those of docs/design.md.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from capillary.ledger.check import faults
from capillary.ledger.reports import funnel
from capillary.ledger.spec import KEY_PREFIX, hash_in
from capillary.ledger.status import HAS_BADGE, Outcome, RequestStatus
from tests.simulation.shape import Mode
from tests.simulation.wire import PostAnswer

if TYPE_CHECKING:
    from sandbox.books import Books
    from tests.simulation.shape import Shape
    from tests.simulation.world import World

#: Outcomes that say that the customer does not have the badge.
_WITHOUT: Final = frozenset({Outcome.REJECTED, Outcome.FAILED, Outcome.NOT_ACCEPTED})


@dataclass(frozen=True, slots=True)
class OnPlatform:
    """One request on the platform's books."""

    platform_request_id: str
    key: str
    state: str
    decided: bool


@dataclass(frozen=True, slots=True)
class InLedger:
    """One request of the ledger with its enrolments: customer → attempt, outcome and issued id."""

    request_id: int
    badge_run_id: int
    key: str
    status: str
    resends: int
    enrolments: dict[int, tuple[int, str | None, str | None]]


class BooksCheck:
    """Reads both sides' books and compares. `platform` is the truth."""

    def __init__(self, world: World, shape: Shape, books: Books) -> None:
        self._world = world
        self._shape = shape
        self._database = books._database  # the truth itself, past every service
        self._runs: dict[int, tuple[int, str]] = {}

    # The platform's books -----------------------------------------------------------------------------------

    def on_platform(self) -> list[OnPlatform]:
        """Return our requests, in the order in which they arrived."""
        rows = self._database.execute(
            "SELECT platform_request_id, request_key, state, decided FROM request ORDER BY seq"
        )
        return [
            OnPlatform(row[0], row[1], row[2], bool(row[3])) for row in rows if (row[1] or "").startswith(KEY_PREFIX)
        ]

    def is_decided(self, platform_request_id: str) -> bool:
        """Tell whether a request has left the checker."""
        found = self._database.execute(
            "SELECT decided FROM request WHERE platform_request_id = ?", (platform_request_id,)
        ).fetchone()
        return bool(found[0])

    def state_of(self, platform_request_id: str) -> str:
        """Return the platform's word for a request."""
        found = self._database.execute(
            "SELECT state FROM request WHERE platform_request_id = ?", (platform_request_id,)
        ).fetchone()
        return str(found[0])

    def enrolled(self) -> dict[tuple[str, int, str], list[str]]:
        """Return the enrolments by badge, customer and request key, as issued ids' stems."""
        rows = self._database.execute(
            "SELECT b.badge_id, i.customer, c.request_key, c.stem, i.place FROM issual i "
            "JOIN bulk_call c ON c.call = i.call JOIN badge b ON b.number = i.badge"
        )
        found: defaultdict[tuple[str, int, str], list[str]] = defaultdict(list)
        for badge_id, customer, key, stem, place in rows:
            found[badge_id, customer, key].append(f"{stem}{place:06x}")
        return found

    def is_enrolled(self, badge_id: str, customer: int, key: str) -> bool:
        """Tell whether a request has enrolled a customer."""
        return bool(self.enrolled().get((badge_id, customer, key)))

    def check_arrival(self, badge_id: str, customers: Iterable[int]) -> None:
        """I1 at the moment of an arrival: no customer in two live requests, save twins of one key."""
        wanted = set(customers)
        live = [each.key for each in self.on_platform() if not each.decided]
        posts = self._world.wire.posts
        holding = {post.key for post in posts if post.badge_id == badge_id and post.customers & wanted}
        keys = [key for key in live if key in holding]
        if len(set(keys)) > 1 and not self._shares_nobody(set(keys), wanted, badge_id):
            self._world.breach("I1", f"a customer is in {len(keys)} live requests: {', '.join(sorted(set(keys)))}")
        if len(keys) > len(set(keys)) and self._shape.mode is not Mode.BROKEN:
            self._world.breach("I1", f"twins of one key are live: {', '.join(sorted(keys))}")

    def _shares_nobody(self, keys: set[str], wanted: set[int], badge_id: str) -> bool:
        held = Counter(
            (customer)
            for key in keys
            for customer in next(p.customers for p in self._world.wire.posts if p.key == key and p.badge_id == badge_id)
        )
        return all(held[customer] <= 1 for customer in wanted)

    # The ledger ---------------------------------------------------------------------------------------------

    def in_ledger(self) -> list[InLedger]:
        """Return the ledger's requests with their enrolments."""
        found = {
            row[0]: InLedger(row[0], row[1], row[2], row[3], row[4], {})
            for row in self._world.ledger.rows(
                "SELECT id, badge_run_id, request_key, status, resends FROM badge_request"
            )
        }
        for request_id, customer, attempt, outcome, issued_id in self._world.ledger.rows(
            "SELECT request_id, customer_id, attempt, outcome, issued_id FROM badge_enrolment"
        ):
            found[request_id].enrolments[customer] = (attempt, outcome, issued_id)
        return list(found.values())

    # The invariants -----------------------------------------------------------------------------------------

    def check(self) -> None:
        """Judge everything that must hold at every moment."""
        platform = self.on_platform()
        enrolled = self.enrolled()
        self._check_once(enrolled)
        self._check_kept_counts()
        self._check_sent_at()
        if self._shape.mode is Mode.STRICT:
            for key, count in Counter(each.key for each in platform).items():
                if count > 1:
                    self._world.breach("I4", f"{key} stands {count} times on the platform")
        if self._shape.mode is Mode.RESTORED:
            self._check_sightings(platform)
            self._check_answers()
            return
        ledger = self.in_ledger()
        self._check_words(ledger, platform, enrolled)
        self._check_counts()
        self._check_sightings(platform)

    def _check_once(self, enrolled: dict[tuple[str, int, str], list[str]]) -> None:
        ours = Counter[tuple[str, int]]()
        for (badge_id, customer, key), ids in enrolled.items():
            if key.startswith(KEY_PREFIX):
                ours[badge_id, customer] += len(ids)
        for (badge_id, _), count in ours.items():
            if count > 1:
                self._world.breach("I1", f"a customer is enrolled {count} times for badge {badge_id}")

    def _check_words(
        self,
        ledger: list[InLedger],
        platform: list[OnPlatform],
        enrolled: dict[tuple[str, int, str], list[str]],
    ) -> None:
        by_key: defaultdict[str, list[OnPlatform]] = defaultdict(list)
        for each in platform:
            by_key[each.key].append(each)
        issued = {(key, customer): ids for (_, customer, key), ids in enrolled.items()}
        if unheld := by_key.keys() - {request.key for request in ledger}:
            self._world.breach("I2", f"the platform holds {min(unheld)}, which the ledger has forgotten")
        for request in ledger:
            live = [each for each in by_key[request.key] if not each.decided]
            known = self._known(request.request_id)
            if request.status == RequestStatus.SETTLED and any(
                self._shape.mode is Mode.STRICT or each.platform_request_id in known for each in live
            ):
                self._world.breach("I3", f"{request.key} is settled while the checker still has it")
            if request.status == RequestStatus.PLANNED and request.resends:
                self._world.breach("I4", f"{request.key} is doubtful, and counts as unsent")
            if request.status == RequestStatus.PLANNED and live and self._shape.mode is Mode.STRICT:
                self._world.breach("I4", f"{request.key} counts as unsent while it stands on the platform")
            # A late twin that nobody has found yet may have been executed (broken worlds).
            found = all(each.platform_request_id in known for each in by_key[request.key])
            self._check_outcomes(request, issued, known, final=found or self._shape.mode is Mode.STRICT)

    def _check_outcomes(
        self, request: InLedger, issued: dict[tuple[str, int], list[str]], known: set[str], *, final: bool
    ) -> None:
        settled = request.status == RequestStatus.SETTLED
        for customer, (_, outcome, issued_id) in request.enrolments.items():
            has = issued.get((request.key, customer), [])
            if outcome == Outcome.ENROLLED:
                told = self._world.platform_side.told.get((request.key, customer), set())
                if issued_id not in has or issued_id not in told:
                    self._world.breach("I3", f"{request.key}: enrolled without the platform's word on the customer")
            elif outcome == Outcome.UNCONFIRMED and has and settled and known - self._world.platform_side.read_singly:
                self._world.breach("I3", f"{request.key}: unconfirmed, and no single read was asked for it")
            elif outcome in _WITHOUT and has and settled and final:
                self._world.breach("I3", f"{request.key}: {outcome}, and the platform has enrolled the customer")
            if outcome == Outcome.NOT_ACCEPTED and request.resends:
                self._world.breach("I3", f"{request.key}: a refusal has ended a doubtful request")
            if settled and outcome is None:
                self._world.breach("I2", f"{request.key} is settled and a customer of it has no outcome")

    def _known(self, request_id: int) -> set[str]:
        rows = self._world.ledger.rows(
            f"SELECT platform_request_id FROM badge_sighting WHERE request_id = {request_id}"  # noqa: S608 - a number
        )
        return {row[0] for row in rows}

    def _check_counts(self) -> None:
        """I2 for every run, counted here and not by the ledger's own view."""
        rows = self._world.ledger.rows
        now = self._world.ledger_now().replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
        customers = defaultdict[int, set[object]](set)
        held = Counter[int]()
        for run, customer in rows(
            "SELECT r.badge_run_id, e.customer_id FROM badge_enrolment e JOIN badge_request r ON r.id = e.request_id"
        ):
            customers[run].add(customer)
            held[run] += 1
        for run, eligible, read, planned, discarded, alive_until in rows(
            "SELECT id, eligible, invalid + duplicates + known_before + over_cap + planned, planned, discarded, "
            "alive_until FROM badge_run"
        ):
            if eligible != read or planned != held[run] + discarded:
                self._world.breach("I2", f"the funnel of run {run} does not add up")
            came = self._world.eligible_rows.get(run)
            if came is not None and eligible != len(came):
                self._world.breach("I2", f"run {run} counts {eligible} rows, {len(came)} came")
            if came is not None and not customers[run] <= set(came):
                self._world.breach("I2", f"run {run} holds customers that its query did not return")
            before, alive = self._runs.get(run, (0, now))
            if discarded > before and alive > now and run not in self._world.reported:
                self._world.breach("I2", f"run {run} is alive, and what it had planned was given back")
            self._runs[run] = (discarded, alive_until)

    def _check_kept_counts(self) -> None:
        """What the ledger keeps of a request's outcomes is what its rows say, at every moment."""
        rows = self._world.ledger.rows
        held = Counter(
            (row[0], row[1], row[2])
            for row in rows("SELECT request_id, outcome, error_code FROM badge_enrolment WHERE outcome IS NOT NULL")
        )
        kept = Counter[tuple[int, str, int | None]]()
        for request_id, outcome, code, customers in rows(
            "SELECT request_id, outcome, error_code, customers FROM badge_result"
        ):
            kept[request_id, outcome, code] += customers
        if kept != held:
            wrong = min({each[0] for each in kept.keys() | held.keys() if kept[each] != held[each]})
            self._world.breach("I2", f"what is kept of request {wrong} is not what its rows say")

    def _check_sent_at(self) -> None:
        """Whatever was seen on the platform was sent at some time, by this ledger or before it was restored."""
        for (key,) in self._world.ledger.rows(
            "SELECT request_key FROM badge_request q WHERE first_sent_at IS NULL "
            "AND EXISTS (SELECT 1 FROM badge_sighting s WHERE s.request_id = q.id)"
        ):
            self._world.breach("I2", f"{key} was found, and nobody can say since when it waits")

    def _check_answers(self) -> None:
        """After a failover: who is given back, or not accepted, was told so by an answer to a POST of that request."""
        if self._world.failed_over_at is None:
            return
        sent = defaultdict[str, list[PostAnswer]](list)
        for post in self._world.wire.posts:
            if post.started >= self._world.failed_over_at:
                sent[post.key].append(post.answer)
        for key, status, tries, not_accepted in self._world.ledger.rows(
            "SELECT q.request_key, q.status, q.tries, count(CASE WHEN e.outcome = 'not_accepted' THEN 1 END) "
            "FROM badge_request q JOIN badge_enrolment e ON e.request_id = q.id GROUP BY q.id"
        ):
            words = sent.get(key)
            if (
                words
                and status == RequestStatus.PLANNED
                and len(words) == tries
                and words[-1] is not PostAnswer.NOT_TAKEN
            ):
                self._world.breach("I4", f"{key} counts as unsent, and no answer to it said so")
            if words and not_accepted and PostAnswer.NOT_TAKEN not in words:
                self._world.breach("I3", f"{key} was not accepted, and no answer to it said so")

    def _check_sightings(self, platform: list[OnPlatform]) -> None:
        # By the hash: the readable part is the name of the campaign, and a copy of it may have sent the same content.
        truth = {each.platform_request_id: hash_in(each.key) for each in platform}
        for platform_request_id, key in self._world.ledger.rows(
            "SELECT s.platform_request_id, r.request_key FROM badge_sighting s "
            "JOIN badge_request r ON r.id = s.request_id"
        ):
            if truth.get(platform_request_id) != hash_in(key):
                self._world.breach("I3", f"the ledger has seen {key} on the platform, where it is not")

    # The end ------------------------------------------------------------------------------------------------

    def is_quiet(self) -> bool:
        """Tell whether nothing is open: neither in the ledger nor on the platform."""
        open_requests = self._world.ledger.rows("SELECT count(*) FROM badge_request WHERE status <> 'settled'")[0][0]
        return not open_requests and all(each.decided for each in self.on_platform())

    def check_end(self, wanted: dict[int, set[int]]) -> None:
        """Judge the end: everything decided, everything found, nobody missing. `wanted`: customers by occasion."""
        self.check()
        runs = self._world.ledger.rows("SELECT id FROM badge_run")
        with self._world.ledger.read() as tx:
            balances = funnel(tx, self._world.rng.choice(runs)[0]).balances()
            broken = faults(tx)
        if not balances:
            self._world.breach("I2", "the ledger's own funnel does not add up")
        if broken:
            self._world.breach("I2", f"the ledger's own check says: {broken[0]}")
        if not self.is_quiet():
            states = Counter(each.status for each in self.in_ledger())
            self._world.breach("I8", f"still open after the last fault-free tick: {dict(states)}")
        seen = {row[0] for row in self._world.ledger.rows("SELECT platform_request_id FROM badge_sighting")}
        for each in self.on_platform():
            if each.platform_request_id not in seen:
                self._world.breach("I8", f"a request of {each.key} was never found")
        rows = self._world.ledger.rows(
            "SELECT o.badge_id, e.customer_id, e.outcome FROM badge_enrolment e "
            "JOIN badge_occasion o ON o.id = e.occasion_id"
        )
        ended = defaultdict[str, set[int]](set)
        proven = defaultdict[str, set[int]](set)
        for badge_id, customer, outcome in rows:
            ended[badge_id].add(customer)
            if outcome in HAS_BADGE:
                proven[badge_id].add(customer)
        for occasion, customers in wanted.items():
            badge_id = self._world.platform_side.badges[occasion]
            if missing := customers - ended[badge_id]:
                self._world.breach("I2", f"{len(missing)} customers of occasion {occasion} were lost")
        self._check_said(proven)

    def _check_said(self, proven: dict[str, set[int]]) -> None:
        """Whoever the platform named as enrolled in a reply about a decided request is so in the ledger."""
        for badge_id, customer, key in self.enrolled():
            told = self._world.platform_side.told.get((key, customer))
            if key.startswith(KEY_PREFIX) and told and customer not in proven[badge_id]:
                unclear = self._world.ledger.rows(
                    f"SELECT 1 FROM badge_enrolment WHERE customer_id = {customer} AND outcome = 'unconfirmed'"  # noqa: S608 - a number
                )
                if not unclear:
                    self._world.breach("I3", f"{key}: the platform named a customer as enrolled, the ledger does not")
