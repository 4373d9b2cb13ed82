"""Emergency stop of a running runtime, confirmed, and the way out of it (docs/SAFETY.md). Needs eclipse-zenoh.

    with kinestream.open_session(["tcp/127.0.0.1:7447"]) as session:
        print(request_stop(session, kinestream.Keys("kinestream", "pusht")))
"""

import json
import time
from typing import Any, Dict, List, Optional

import zenoh

import kinestream_client as kinestream

STOPPED = "emergency_stop"
QUALITY = {"priority": zenoh.Priority.REAL_TIME, "congestion_control": zenoh.CongestionControl.BLOCK, "express": True}


class RefusedError(RuntimeError):
    """The runtime answered that it does not do what was asked for; its words say why."""


def send_stop(session: zenoh.Session, keys: kinestream.Keys) -> None:
    """Sends one stop and asks for no answer: for a button that is pressed, or whoever repeats by itself. Whether it arrived
    is not known; see request_stop."""
    session.put(keys.stop, b"stop", **QUALITY)


def request_stop(
    session: zenoh.Session, keys: kinestream.Keys, limit_s: float = 2.0, every_s: float = 0.1
) -> Dict[str, Any]:
    """Stops, and returns the state with which the runtime confirms it, such as {"rung": "emergency_stop", "reason": ...,
    "at_rest": false}. Stops are sent and asked for again until then; TimeoutError after `limit_s`: nobody has confirmed, so
    press the hardware's button."""
    give_up = time.monotonic() + limit_s
    said: List[str] = []
    while True:
        # A sample first: it takes one way, and whoever listens stops on it even where no answer gets back.
        send_stop(session, keys)
        left = give_up - time.monotonic()
        states, errors = _ask(session, keys.service("estop"), min(max(left, 0.01), max(every_s, 0.01)))
        if states and all(state.get("rung") == STOPPED for state in states):
            return states[0]
        said = [*map(str, states), *errors] or said
        if time.monotonic() >= give_up:
            raise TimeoutError(
                f"no runtime confirmed an emergency stop of {keys.prefix} within {limit_s} s "
                f"({'; '.join(said) if said else 'nobody answered'}); stops were sent all the same"
            )
        if states:
            # It answered and is not stopped yet: no need to hurry it more often than that.
            time.sleep(every_s)


def rearm(session: zenoh.Session, keys: kinestream.Keys, limit_s: float = 2.0) -> Dict[str, Any]:
    """Leaves a safe or emergency stop, and returns the state after it. RefusedError where the runtime refuses, as it does
    while a stop is still held; TimeoutError where none answers. Asked once: whoever repeats it undoes a stop that came
    in between."""
    payload = json.dumps({"rearm": True}).encode()
    states, errors = _ask(session, keys.service("rearm"), limit_s, payload)
    if errors:
        raise RefusedError(f"{keys.prefix} is not re-armed: {'; '.join(errors)}")
    if not states:
        raise TimeoutError(f"no runtime answered on {keys.service('rearm')} within {limit_s} s")
    held = [state for state in states if state.get("rung") in (STOPPED, "safe_stop")]
    if held:
        raise RefusedError(f"{keys.prefix} is still stopped: {held[0]}")
    return states[0]


def _ask(session: zenoh.Session, key: str, limit_s: float, payload: Optional[bytes] = None):
    """The JSON objects that the answers to a query of exactly this key hold, and the texts of errors."""
    states: List[Dict[str, Any]] = []
    errors: List[str] = []
    given = {} if payload is None else {"payload": payload, "encoding": zenoh.Encoding.APPLICATION_JSON}
    replies = session.get(
        key,
        target=zenoh.QueryTarget.ALL,
        consolidation=zenoh.ConsolidationMode.NONE,
        timeout=limit_s,
        **QUALITY,
        **given,
    )
    for reply in replies:
        if reply.ok is None:
            errors.append(reply.err.payload.to_bytes().decode(errors="replace"))
            continue
        try:
            state = json.loads(reply.ok.payload.to_bytes())
        except ValueError:
            state = None
        if isinstance(state, dict):
            states.append(state)
        else:
            errors.append(f"an answer on {key} is no JSON object")
    # A query that nobody took is ended with an error of zenoh's own.
    return states, [error for error in errors if error.lower() != "timeout"]
