"""MongoDB: connections, slow and long-running operations, replica sets. It only ever reads."""

from probes.mongo.probe import MongoProbe

__all__ = ["MongoProbe"]
