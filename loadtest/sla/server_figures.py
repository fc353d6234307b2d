"""What the server itself has counted by the end of a run: its runs, second attempts and breakers, by model.

From its `/metrics`, since it was started: warm-up included. Callers see what became of their requests, not how many
runs that took.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

ASK_S: Final = 2.0
COUNTED: Final = {
    "nv_inference_exec_count": "runs",
    "router_hedges_total": "hedges",
    "router_hedges_refused_total": "hedges_refused",
    "router_fallback_total": "fallbacks",
    "router_breakers_opened_total": "breakers_opened",
}
"""Samples, and what they are called in a result. Labels beside model and version tell figures apart."""

Counted = dict[str, dict[str, Any]]


def ask(http: str) -> Counted | None:
    """The figures of the server whose HTTP port is at this address; None when it does not tell."""
    try:
        with urllib.request.urlopen(f"http://{http}/metrics", timeout=ASK_S) as answer:  # our own server
            text = answer.read().decode()
    except (OSError, ValueError):
        return None
    return counted(text)


def counted(text: str) -> Counted:
    """The figures in a scrape, by model: versions are added up."""
    models: Counted = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = COUNTED.get(sample.name)
            if name is None:
                continue
            model = models.setdefault(sample.labels["model"], {})
            about = " ".join(value for label, value in sample.labels.items() if label not in ("model", "version"))
            if not about:
                model[name] = model.get(name, 0) + int(sample.value)
            elif sample.value:
                apart = model.setdefault(name, {})
                apart[about] = apart.get(about, 0) + int(sample.value)
    return models


def told(figures: Mapping[str, Mapping[str, Any]] | None) -> list[str]:
    """Lines for people: which models had second attempts, and whose breakers have opened."""
    lines = []
    for model, each in sorted((figures or {}).items()):
        sent, runs = each.get("hedges", {}).get("sent", 0), each.get("runs", 0)
        if sent and runs:
            won = each["hedges"].get("won", 0)
            lines.append(f"model {model!r}: {sent} second attempts, {sent / runs:.1%} of {runs} runs; {won} answered")
        if each.get("breakers_opened"):
            lines.append(f"model {model!r}: breakers have opened {each['breakers_opened']} times")
    return lines
