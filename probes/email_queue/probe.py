"""The email_queue probe: depth by age, oldest, growth, and why mail waits."""

from __future__ import annotations

from importlib import import_module
from math import isfinite
from typing import Annotated, Any, Self

from anyio import to_thread
from pydantic import Field, model_validator

from probed import Measure, Outcome, Probe, Run, format_duration
from probes.email_queue.program import read_command, read_postqueue
from probes.email_queue.reasons import QueueReason
from probes.email_queue.redis import read_redis
from probes.email_queue.settings import Age, Command, Depth, Growth, Mongodb, Postqueue, Redis
from probes.email_queue.tally import BUCKETS, QUEUES, Tally

SAMPLES = 5
"""Runs over which the growth is taken."""
_SOURCES = ("postqueue", "redis", "mongodb", "command")


class EmailQueueProbe(Probe):
    """Look at a queue of mail, an application's or a mail server's: how much waits, how long
    already, whether it grows, and why.
    """

    kind = "email_queue"
    example = """\
checks:
  - name: mail-queue
    probe: email_queue
    redis:
      address: redis.example.com:6379
      keys: [{key: "queue:mailers", type: list, time: enqueued_at}]
      password: {env: REDIS_PASSWORD}
    age: {degraded: 15m, failed: 1h}
    growth: {degraded: 20}
    depth: {degraded: 500, failed: 5000}
  - {name: postfix, probe: email_queue, postqueue: {}, ignore: [hold]}
"""
    reasons = QueueReason

    postqueue: Postqueue | None = None
    """Postfix's queue on this machine; `postqueue: {}` for the usual command."""
    redis: Redis | None = None
    """Queues in Redis."""
    mongodb: Mongodb | None = None
    """A collection of MongoDB."""
    command: Command | None = None
    """A program that tells of the queue as JSON."""
    ignore: Annotated[tuple[str, ...], Field(max_length=20)] = ()
    """Queues that are not looked at, such as postfix's `hold`."""
    age: Age = Age()
    """How long mail may wait."""
    growth: Growth = Growth()
    """How fast the queue may grow, over the last 5 runs."""
    depth: Depth = Depth()
    """How much mail may wait."""

    measures = (
        Measure(
            "probed.email_queue.depth",
            unit="{message}",
            help="Messages that wait.",
            attributes=("probed.email_queue.name",),
        ),
        Measure(
            "probed.email_queue.messages",
            unit="{message}",
            help="Messages that wait, by the age that they have not reached yet.",
            attributes=("probed.email_queue.name", "probed.email_queue.age"),
            series=QUEUES * len(BUCKETS),
        ),
        Measure(
            "probed.email_queue.oldest.age",
            unit="s",
            help="How long the oldest message waits.",
            attributes=("probed.email_queue.name",),
        ),
        Measure(
            "probed.email_queue.growth",
            unit="{message}/min",
            help="Messages by which the queue grows a minute, over the last runs.",
        ),
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(getattr(self, name) is not None for name in _SOURCES) != 1:
            raise ValueError("write one of postqueue, redis, mongodb and command")
        return self

    @property
    def target(self) -> str:
        source = self.redis or self.mongodb
        if source is not None:
            return str(source.address)
        program = self.postqueue or self.command
        assert program is not None
        return program.run[0]

    @property
    def host(self) -> str:
        source = self.redis or self.mongodb
        return "localhost" if source is None else source.address.host

    async def probe(self, run: Run) -> None:
        bounds = {b: 0 for b in (self.age.degraded, self.age.failed) if b is not None}
        tally = Tally(
            run.clock.time(), lambda text: run.clean(text, 64), frozenset(self.ignore), bounds
        )
        await self._read(run, tally)
        if any(finding.level is Outcome.UNKNOWN for finding in run.findings):
            return
        growth = self._grown(run, tally.depth)
        _measure(run, tally, growth)
        self._judge(run, tally, growth)

    async def _read(self, run: Run, tally: Tally) -> None:
        if self.postqueue is not None:
            await read_postqueue(run, self.postqueue, tally)
        elif self.redis is not None:
            await read_redis(run, self.redis, tally)
        elif self.command is not None:
            await read_command(run, self.command, tally)
        elif self.mongodb is not None:
            # 200 ms that no other source needs, and not the event loop's.
            driver = await to_thread.run_sync(import_module, "probes.email_queue.mongodb")
            await driver.read_mongodb(run, self.mongodb, tally)

    def _grown(self, run: Run, depth: int) -> float | None:
        """Messages a minute since the oldest saved sample; None with the first."""
        now = run.clock.time()
        samples = [s for s in _samples(run.memory.get("samples")) if s[0] < now]
        run.memory["samples"] = [*samples[1 - SAMPLES :], [now, depth]]
        if not samples or now - samples[0][0] < 1:
            return None
        return (depth - samples[0][1]) / (now - samples[0][0]) * 60

    def _judge(self, run: Run, tally: Tally, growth: float | None) -> None:
        evidence = _evidence(tally, growth)
        self._judge_age(run, tally, evidence)
        if growth is not None:
            run.judge(
                growth,
                self.growth,
                QueueReason.GROWING,
                lambda most: (
                    f"The queue grows by {growth:.3g} messages a minute, more than {most:g}."
                ),
                evidence=evidence,
            )
        run.judge(
            tally.depth,
            self.depth,
            QueueReason.DEEP,
            lambda most: f"{tally.depth} messages wait, more than {most:g}.",
            evidence=evidence,
        )
        if tally.truncated is not None:
            run.degraded(QueueReason.TRUNCATED, evidence={"stopped": tally.truncated})
        top = "; ".join(f"{count}x {text}" for text, count in tally.top()[:5])
        if top:
            run.fact("probed.email_queue.delay_reasons", run.clean(top))
        run.fact("probed.email_queue.truncated", tally.truncated is not None)

    def _judge_age(self, run: Run, tally: Tally, evidence: dict[str, Any]) -> None:
        for level, bound in (
            (Outcome.FAILED, self.age.failed),
            (Outcome.DEGRADED, self.age.degraded),
        ):
            count = 0 if bound is None else tally.over[bound]
            if bound is not None and count >= self.age.messages:
                oldest = format_duration(round(tally.oldest or 0))
                text = f"Mail waits for {oldest}, longer than {format_duration(bound)}."
                run.find(level, QueueReason.OLD, text, evidence=evidence | {"over": count})
                return


def _evidence(tally: Tally, growth: float | None) -> dict[str, Any]:
    oldest = tally.oldest
    found: dict[str, Any] = {
        "depth": tally.depth,
        "oldest": None if oldest is None else format_duration(round(oldest)),
        "queues": {name: waiting.depth for name, waiting in tally.queues.items()},
    }
    if growth is not None:
        found["growth_per_minute"] = round(growth, 3)
    if tally.reasons:
        found["delay_reasons"] = dict(tally.top())
    return found


def _measure(run: Run, tally: Tally, growth: float | None) -> None:
    for name, waiting in tally.queues.items():
        named = {"probed.email_queue.name": name}
        run.measure("probed.email_queue.depth", waiting.depth, named)
        if waiting.oldest is not None:
            run.measure("probed.email_queue.oldest.age", waiting.oldest, named)
        for bucket in BUCKETS if waiting.buckets else ():
            run.measure(
                "probed.email_queue.messages",
                waiting.buckets[bucket],
                named | {"probed.email_queue.age": bucket},
            )
    if growth is not None:
        run.measure("probed.email_queue.growth", growth)


def _samples(saved: Any) -> list[tuple[float, int]]:
    """Those of earlier runs, `[time, depth]`; what is none is passed over."""
    if not isinstance(saved, list):
        return []
    return [
        (float(s[0]), int(s[1]))
        for s in saved[-SAMPLES:]
        if isinstance(s, list | tuple)
        and len(s) == 2
        and all(isinstance(v, int | float) and isfinite(v) for v in s)
    ]
