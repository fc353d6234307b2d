"""What a loaded version takes of memory, and whether it takes more with every run."""

from __future__ import annotations

from typing import Final

from router.core.gate import Outcome, Verdict

MEMORY: Final = "memory"
_MIB: Final = 1 << 20


def memory_gate(session_bytes: int, growth_bytes: int, runs: int, limit_bytes: float) -> Outcome:
    """Fails for growth above the limit. `session_bytes` is what one session took once it had run, resident."""
    figures = {
        "session_bytes": float(max(session_bytes, 0)),
        "growth_bytes": float(max(growth_bytes, 0)),
        "growth_limit_bytes": float(limit_bytes),
        "runs": float(runs),
    }
    takes = f"a session takes {max(session_bytes, 0) / _MIB:.1f} MiB"
    grown = f"{max(growth_bytes, 0) / _MIB:.1f} MiB more after {runs} runs"
    if growth_bytes > limit_bytes:
        reason = f"{takes} and {grown}; at most {limit_bytes / _MIB:g} MiB more are allowed"
        return Outcome(MEMORY, Verdict.FAIL, reason, blocks=True, figures=figures)
    return Outcome(MEMORY, Verdict.PASS, f"{takes}, {grown}", blocks=True, figures=figures)
