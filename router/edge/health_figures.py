"""What workers report, as the counts and gauges that health is made of."""

from __future__ import annotations

import numpy as np

from router.control.health_counts import WIDTH, Figures
from router.core.health import Count
from router.core.latency import BUCKETS
from router.pb import link_pb2 as pb

_NO_BUCKETS = [0] * BUCKETS


def health_figures(message: pb.Telemetry) -> Figures:
    """A row for each version that the message tells of."""
    by_name = {(each.name, each.version): each for each in message.models}
    keys, rows, gauges = [], [], []
    for gauge in message.gauges:
        key = (gauge.model, gauge.version)
        model = by_name.get(key)
        if model is None:
            continue
        stats, failures = model.inference_stats, gauge.failures
        row = [0] * len(Count)
        row[Count.ANSWERED], row[Count.LATE] = stats.success.count, gauge.late
        row[Count.FALLBACKS] = sum([each.count for each in gauge.fallbacks])
        row[Count.REJECTED], row[Count.CANCELED] = failures.get("REJECTED", 0), failures.get("CANCELED", 0)
        row[Count.BACKEND], row[Count.OTHER] = failures.get("BACKEND", 0), failures.get("OTHER", 0)
        row[Count.FRESH] = stats.cache_hit.count
        row[Count.HEDGES_SENT], row[Count.HEDGES_WON] = gauge.hedges_sent, gauge.hedges_won
        row[Count.QUEUE_US] = stats.queue.ns // 1000
        row[Count.RUNS], row[Count.ROWS] = model.execution_count, model.inference_count
        row[Count.BREAKERS_OPENED] = gauge.breakers_opened
        keys.append(key)
        rows.append(row + (list(gauge.request_buckets) + _NO_BUCKETS)[:BUCKETS])
        gauges.append((gauge.pending, gauge.hung, gauge.breakers_open))
    return Figures(
        tuple(keys),
        np.array(rows, np.int64).reshape(-1, WIDTH),
        np.array(gauges, np.int64).reshape(-1, 3),
        message.resident_bytes,
    )
