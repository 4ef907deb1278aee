"""Turns the place where two runs part into whose it is, why it probably happens, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cvtrainer.jobs.verify_resume.compare import Parting, Record, differing, first_moment
from cvtrainer.jobs.verify_resume.orders import records_of
from cvtrainer.jobs.verify_resume.verdict import Difference

Kept = Mapping[str, Mapping[str, str]]
Leaves = dict[str, tuple[str, str]]

_TODO = {
    "hook": "Give it in state_dict() and take it back in load_state_dict().",
    "network": "Keep it in a buffer (register_buffer) or a parameter, or derive it from the input.",
    "criterion": "Keep it in a buffer (register_buffer) or a parameter of the criterion.",
    "optimizer": "Keep it in the optimizer's state or param_groups, or override state_dict.",
    "meters": "Give it in the meter's state_dict() and take it back in load_state_dict().",
    "task": "Give it in the task's state_dict() and take it back in load_state_dict().",
    "backward": "Look for tensor hooks and own autograd functions that keep something.",
}
_UNSEEDED = (
    "Draw from the global generators, which are seeded and saved, or from a generator of a fixed "
    "seed; for kernels that are not exact set deterministic: true."
)
_GENERIC = "Keep what it needs in the state that checkpoints hold."


def where(record: Record) -> str:
    """The place of a record, as people count."""
    stage, epoch, batch, end = record["border"]
    if record["kind"] == "batch":
        if record["phase"] == "train":
            return f"at batch {batch + 1} of epoch {epoch}, stage {stage}"
        return f"at batch {record['number'] + 1} of {record['phase']}, epoch {epoch}, stage {stage}"
    step = f" (step {record['step']})" if "step" in record else ""
    if end:
        return f"at the end of stage {stage}{step}"
    return f"after batch {batch} of epoch {epoch}{step}, stage {stage}"


def from_moments(
    parting: Parting,
    parts: Mapping[str, str],
    straight: Sequence[Record],
    other: Sequence[Record],
    *,
    twice_straight: bool = False,
) -> Difference:
    """The owner is who acted just before the first moment that differs."""
    pair = first_moment(records_of(straight, "moment"), records_of(other, "moment"))
    if pair is None:
        return from_nothing(
            parting,
            parts,
            "it did not happen again when looked at closely: something is not the same twice",
        )
    one, two = pair
    leaves = differing(one["changed"], two["changed"])
    kind, name, type_name = _actor(one, leaves, parts)
    changes = _things(leaves) or "what happens next"
    what = f"{one['what']}: {changes}" if leaves.keys() - {"through/call"} else str(one["what"])
    kept = differing(_kept(straight, kind, name), _kept(other, kind, name))
    if twice_straight:
        reason = "from the same state it does something else each time"
        todo = _UNSEEDED
    elif kept:
        reason = f"it keeps something outside its state: {_values(kept)}"
        todo = _TODO.get(kind, _GENERIC)
    else:
        reason = (
            "from the same saved state it does something else: it keeps something outside of it"
        )
        todo = _TODO.get(kind, _GENERIC)
    return Difference(
        where(parting.record), _owner_text(kind, name, type_name), what, reason, todo, leaves
    )


def from_start(parting: Parting, parts: Mapping[str, str], resumed: Sequence[Record]) -> Difference:
    """What was saved is not what is there once the run goes on."""
    path = _telling(parting.what)
    place, who = 0, ("loop", "", "")
    for at, moment in enumerate(records_of(resumed, "moment")):
        if path in moment["changed"] and not path.startswith("random"):
            place, who = at, tuple(moment["owner"])
    if place and who[0] == "hook":
        owner = _owner_text(*who)
        reason = "its before_train changes this although the run was resumed"
        todo = "Let before_train begin only what load_state_dict has not taken back."
    else:
        kind, name, type_name = _part_of(path, parts)
        owner = _owner_text(kind, name, type_name)
        reason = "its load_state_dict does not take back what its state_dict gave"
        todo = "Make load_state_dict the inverse of state_dict."
    what = f"right after the resume: {_things(parting.what)}"
    return Difference(where(parting.record), owner, what, reason, todo, parting.what)


def from_layers(
    parting: Parting,
    straight: Sequence[Record],
    other: Sequence[Record],
    *,
    twice_straight: bool = False,
) -> Difference:
    """The owner is the first layer of making the batch that gives something else."""
    one, two = records_of(straight, "layer"), records_of(other, "layer")
    pair = _first_layer(one, two)
    phase = parting.record["phase"]
    what = f"what it gives: {_things(parting.what)}"
    if pair is None:
        drawing = [layer for layer in one if layer["moved"] and layer["owner"][0] != "dataset"]
        drawing = drawing or [layer for layer in one if layer["moved"]]
        if not drawing:
            owner, reason = f"dataloader.{phase}", "alone and in order its parts make equal batches"
            todo = "Try num_workers: 0; a part may not be fit for threads or for several processes."
            return Difference(where(parting.record), owner, what, reason, todo, parting.what)
        layer = drawing[0]
        reason = (
            f"it draws from {_and(layer['moved'])} global generator where nobody seeds it "
            "for each sample"
        )
    else:
        layer = pair[0]
        reason = _reason_of_layer(pair, straight, other, twice_straight=twice_straight)
    todo = (
        "Let a sample follow from its number alone; what __getitem__ draws from the global "
        "generators does, because they are seeded for each sample."
    )
    owner = _owner_text("data", layer["owner"][1], layer["owner"][2])
    return Difference(where(parting.record), owner, what, reason, todo, parting.what)


def from_log(number: int, key: str, straight: Any, resumed: Any) -> Difference:
    """The state is the same, and yet something else was written down."""
    return Difference(
        f"in line {number} of metrics.jsonl",
        f"logged value {key}",
        f"straight it is {straight}, resumed {resumed}",
        "whoever records it keeps something outside its state",
        _TODO["hook"],
    )


def from_nothing(parting: Parting, parts: Mapping[str, str], reason: str) -> Difference:
    """There is no moment to blame: the part is told by what differs."""
    kind, name, type_name = _part_of(_telling(parting.what), parts)
    return Difference(
        where(parting.record),
        _owner_text(kind, name, type_name),
        _things(parting.what) or "the order of what happens",
        reason,
        _UNSEEDED,
        parting.what,
    )


def _actor(moment: Record, leaves: Leaves, parts: Mapping[str, str]) -> tuple[str, str, str]:
    """Whoever acted; where that was the loop's own part, the part is told by what changed."""
    kind, name, type_name = moment["owner"]
    if kind == "optimizer":
        return kind, name, parts.get(f"optimizers/{name}", "")
    if kind == "task":
        for path in leaves:
            if path.startswith("networks/"):
                return _part_of(path, parts)
        if any(path.startswith("through/outputs") for path in leaves):
            return "network", "model", parts.get("networks/model", "")
        return "criterion", "", parts.get("task", "")
    if kind in ("loop", "meters") and leaves:
        return _part_of(_telling(leaves), parts)
    return kind, name, type_name


def _part_of(path: str, parts: Mapping[str, str]) -> tuple[str, str, str]:
    """Kind, name and type of the part that owns a leaf of the state."""
    words = path.split("/")
    head = "/".join(words[:2])
    type_name = parts.get(head, "")
    kinds = {"hooks": "hook", "networks": "network", "optimizers": "optimizer"}
    if words[0] in kinds and len(words) > 1:
        return kinds[words[0]], words[1], type_name
    if words[0] == "task":
        return "criterion", "", parts.get("task", "")
    if words[0] in ("metrics", "meters"):
        return "meters", "/".join(words[1:]), ""
    if words[0] == "random":
        return "random state", "", ""
    return "run", path, ""


def _telling(leaves: Iterable[str]) -> str:
    """The leaf that says most: state of hooks and networks before what follows from it."""
    order = ("hooks/", "networks/", "optimizers/", "task", "meters/", "metrics/", "through/")
    ranked = sorted(
        leaves,
        key=lambda path: next(
            (at for at, start in enumerate(order) if path.startswith(start)), len(order)
        ),
    )
    return ranked[0] if ranked else ""


def _owner_text(kind: str, name: str, type_name: str) -> str:
    words = name if kind == "data" or name.startswith(kind) else f"{kind} {name}".strip()
    return f"{words} ({type_name})" if type_name else words


def _kept(trace: Sequence[Record], kind: str, name: str = "") -> Mapping[str, str]:
    """The attributes of a part at the beginning of what was looked at closely."""
    for record in records_of(trace, "kept"):
        for part in (f"{kind}:{name}", kind):
            if part in record["parts"]:
                found: Mapping[str, str] = record["parts"][part]
                return found
    return {}


def _first_layer(one: Sequence[Record], two: Sequence[Record]) -> tuple[Record, Record] | None:
    for first, second in zip(one, two, strict=False):
        if (first["owner"], first["gave"]) != (second["owner"], second["gave"]):
            return first, second
    return None


def _reason_of_layer(
    pair: tuple[Record, Record],
    straight: Sequence[Record],
    other: Sequence[Record],
    *,
    twice_straight: bool,
) -> str:
    moved = sorted({name for layer in pair for name in layer["moved"]})
    drawing = f"; it draws from {_and(moved)} global generator" if moved else ""
    if twice_straight:
        return f"it gives something else each time it is run{drawing}"
    kept: Leaves = {}
    if pair[0]["owner"][0] == "dataset":
        kept = differing(_kept(straight, "dataset"), _kept(other, "dataset"))
    if kept:
        return f"what it gives depends on what it gave before: {_values(kept)}{drawing}"
    if moved:
        return f"it draws from {_and(moved)} global generator and keeps what it drew"
    return "what it gives depends on what it gave before: a generator or counter of its own"


def _things(leaves: Iterable[str], most: int = 3) -> str:
    names = list(leaves)
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _values(kept: Leaves, most: int = 3) -> str:
    ranked = sorted(kept.items(), key=lambda item: item[0].startswith("_"))
    told = [
        f"{name} is {one} in the straight run and {two} in the resumed one"
        for name, (one, two) in ranked[:most]
    ]
    return "; ".join(told)


def _and(names: Sequence[str]) -> str:
    return " and ".join(names) if names else "a"
