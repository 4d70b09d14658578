"""The MongoDB probe: what the playbook does by hand with mongosh, and nothing that writes."""

from __future__ import annotations

from typing import Any, Self

from pydantic import model_validator

from probed import Run
from probes.mongo import measures
from probes.mongo.reasons import MongoReason
from probes.mongo.settings import MongoSettings

ROLE = """\
The user to create, with no more rights than are used. It reads no data and writes nothing:

  use admin
  db.createRole({ role: "probedMonitor", roles: [], privileges: [
    { resource: { cluster: true }, actions: ["serverStatus", "inprog", "replSetGetStatus"] },
    { resource: { db: "", collection: "system.profile" }, actions: ["find"] }
  ]})
  db.createUser({ user: "probed", pwd: passwordPrompt(), mechanisms: ["SCRAM-SHA-256"],
    roles: [{ role: "probedMonitor", db: "admin" }] })

The built-in role clusterMonitor works too, but may also read the oplog, which holds all data written.
To have slow operations recorded, in each database: db.setProfilingLevel(1, { slowms: 1000 })
"""


class MongoProbe(MongoSettings):
    """Ask the nodes of a MongoDB deployment for connections, slow and long-running operations and the
    state of their replica set. It reads only: it never kills, writes, or changes the profiler.
    """

    kind = "mongo"
    example = """\
checks:
  - name: shop-db
    probe: mongo
    uri: {env: MONGO_URI}
    databases: [shop]
    connections: {degraded: 0.8, failed: 0.95}
    lag: {degraded: 10s, failed: 1m}
"""
    reasons = MongoReason
    notes = ROLE
    measures = measures.ALL

    @model_validator(mode="after")
    def _load_driver(self) -> Self:
        # The driver takes 0.2 s to load: load it now, not during a run.
        from probes.mongo import rounds  # noqa: F401, PLC0415

        return self

    async def probe(self, run: Run) -> None:
        from probes.mongo.rounds import run_round  # noqa: PLC0415

        await run_round(self, run)

    async def shapes(self, run: Run) -> dict[str, Any]:
        from probes.mongo.rounds import shapes  # noqa: PLC0415

        return await shapes(self, run)
