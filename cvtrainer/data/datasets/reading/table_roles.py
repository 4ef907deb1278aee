"""Which column of a table is what: as the user says, and by its name or content where one is clear.

Each choice comes with its evidence in words. Two columns that could be the same thing are an error
that names both: a wrong label column trains without complaint.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.tasks import FIELDS_OF_TASK
from cvtrainer.data.decode import IMAGE_EXTENSIONS
from cvtrainer.data.decode.sound import SOUND_EXTENSIONS

Columns = tuple[str, ...]

ROLES = (
    "image", "text", "inputs", "categories", "label", "labels", "value", "boxes", "boxes_xywh",
    "box_labels", "keypoints", "mask", "width", "height", "group", "split",
)  # fmt: skip

_NAMES: Mapping[str, Columns] = {
    "image": ("image", "img", "path", "file", "filename", "file_name", "image_path", "picture"),
    "text": ("text", "text_a", "sentence", "review", "content", "文本"),
    "label": (
        "label",
        "class",
        "class_name",
        "category",
        "class_id",
        "classid",
        "class_index",
        "y",
        "标签",
        "类别",
    ),
    "labels": ("labels", "classes", "categories", "tags"),
    "value": ("value", "score", "regression_target"),
    "boxes": ("boxes", "bboxes"),
    "box_labels": ("box_labels",),
    "keypoints": ("keypoints", "landmarks"),
    "mask": ("mask", "mask_path", "segmentation"),
    "width": ("width", "image_width"),
    "height": ("height", "image_height"),
    "group": ("group", "group_id", "patient", "patient_id", "subject", "subject_id"),
    "split": ("split", "subset", "partition"),
}
_CAPTIONS = (*_NAMES["text"], "caption", "prompt")
_CORNERS = (("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"))
_TASK_OF_ROLE: Mapping[str, str] = {
    "label": "classification",
    "labels": "multilabel",
    "value": "regression",
    "boxes": "detection",
    "boxes_xywh": "detection",
    "keypoints": "keypoints",
    "mask": "segmentation",
}
_LOOK_AT = 50
_FILES = (*IMAGE_EXTENSIONS, *SOUND_EXTENSIONS)


@dataclass
class Roles:
    """The columns of each role, the task, and why."""

    task: str
    columns: dict[str, Columns]
    evidence: list[str] = field(default_factory=list)

    def get(self, role: str) -> Columns:
        """The columns of that role; none where the table has none."""
        return self.columns.get(role, ())


def choose_roles(
    table: pa.Table, said: Mapping[str, str | Sequence[str]], task: str | None, where: str
) -> Roles:
    """The role of each column that has one."""
    chooser = _Chooser(table, where)
    chooser.take_said(said)
    for role in ("group", "split"):
        chooser.by_name(role)
    chooser.choose_input()
    found = chooser.choose_target(task)
    if not any(chooser.columns.get(role) for role in ("image", "text", "inputs")):
        chooser.choose_vector()
    return Roles(found, chooser.columns, chooser.evidence)


class _Chooser:
    def __init__(self, table: pa.Table, where: str) -> None:
        self.table = table
        self.where = where
        self.columns: dict[str, Columns] = {}
        self.evidence: list[str] = []

    def take_said(self, said: Mapping[str, str | Sequence[str]]) -> None:
        for role, value in said.items():
            if role not in ROLES:
                raise UserError(
                    f"columns have no role {role!r}",
                    where=self.where,
                    todo=f"Use {', '.join(ROLES)}.",
                )
            names = (value,) if isinstance(value, str) else tuple(value)
            if not (role == "image" and "{" in names[0]):
                for name in names:
                    self._must_exist(name)
            self.columns[role] = names

    def by_name(self, role: str) -> None:
        """A column with a name that says it, if the role is open."""
        if role in self.columns:
            return
        names = _NAMES[role]
        found = [n for n in self._free() if n.strip().lower().replace(" ", "_") in names]
        if len(found) > 1:
            self._two(role, found)
        if found:
            self._choose(role, found[0], "its name says so")

    def choose_input(self) -> None:
        if any(role in self.columns for role in ("image", "text", "inputs")):
            return
        pictures = [name for name in self._free() if self._holds_pictures(name)]
        masks = [n for n in pictures if any(w in n.lower() for w in ("mask", "segm"))]
        if len(pictures) > 1 and "mask" not in self.columns and len(masks) == 1:
            pictures.remove(masks[0])
        named = [name for name in pictures if name.lower() in _NAMES["image"]]
        if len(pictures) > 1 and len(named) != 1:
            self._two("image", pictures)
        if pictures:
            self._choose("image", (named or pictures)[0], "its cells are image files")
            return
        self.by_name("text")
        if "text" not in self.columns:
            lists = [n for n in self._free() if self._holds_vectors(n) and not self._is_target(n)]
            if len(lists) > 1:
                self._two("inputs", lists)
            if lists:
                self._choose("inputs", lists[0], "its cells are lists of numbers")

    def choose_target(self, task: str | None) -> str:
        if task is not None and task not in FIELDS_OF_TASK:
            raise UserError(
                f"no task {task!r}", where=self.where, todo=f"Use {', '.join(FIELDS_OF_TASK)}."
            )
        if "image" in self.columns:
            self.by_name("width")
            self.by_name("height")
        said = [role for role in _TASK_OF_ROLE if role in self.columns]
        if not said or task is not None:
            self._name_targets(task)
        tasks = list(dict.fromkeys(_TASK_OF_ROLE[r] for r in _TASK_OF_ROLE if r in self.columns))
        if "detection" in tasks:
            self._box_classes()
            tasks = [t for t in tasks if t not in ("classification", "multilabel")]
        if task is not None:
            return task
        if len(tasks) > 1:
            raise UserError(
                f"the columns serve {' and '.join(tasks)}",
                where=self.where,
                todo=f"Say task: {tasks[0]} or task: {tasks[1]}.",
            )
        return tasks[0] if tasks else self._guess_target()

    def choose_vector(self) -> None:
        """All columns of numbers that have no other role."""
        names: list[str] = []
        counting: list[str] = []
        for name in self._free():
            if not _is_number(self.table.schema.field(name).type):
                continue
            (counting if self._counts_rows(name) else names).append(name)
        if not names:
            raise UserError(
                "no column of images, texts or numbers to learn from",
                where=self.where,
                todo="Say columns: {image: ...}, {text: ...} or {inputs: [...]}; there is "
                + ", ".join(self._free())
                + ".",
            )
        self.columns["inputs"] = tuple(names)
        left_out = f"; {', '.join(counting)} counts the rows" if counting else ""
        self.evidence.append(f"inputs: {', '.join(names)} (columns of numbers{left_out})")

    def _name_targets(self, task: str | None) -> None:
        roles = [role for role, of in _TASK_OF_ROLE.items() if task in (None, of)]
        if task == "detection":
            roles.append("box_labels")
        for role in roles:
            if role in _NAMES:
                self.by_name(role)
        if "boxes" in roles and "boxes" not in self.columns and "boxes_xywh" not in self.columns:
            lower = {name.lower(): name for name in self._free()}
            for corners in _CORNERS:
                if all(corner in lower for corner in corners):
                    self.columns["boxes"] = tuple(lower[corner] for corner in corners)
                    self.evidence.append(f"boxes: {', '.join(corners)} (their names say so)")
        flags = task == "classification" and len(self.columns.get("labels", ())) > 1
        if (
            task is not None
            and not flags
            and not any(role in self.columns for role in roles if _TASK_OF_ROLE.get(role) == task)
        ):
            self._only_one(task)

    def _box_classes(self) -> None:
        if "box_labels" in self.columns:
            return
        if "label" in self.columns:
            self.columns["box_labels"] = self.columns.pop("label")
            return
        for role in ("box_labels", "label"):
            self.by_name(role)
        if "label" in self.columns:
            self.columns["box_labels"] = self.columns.pop("label")

    def _only_one(self, task: str) -> None:
        """The target of a task that no name gives away: the only column that can be it."""
        if task not in ("classification", "regression") or (
            task == "regression" and "image" not in self.columns and "text" not in self.columns
            and "inputs" not in self.columns
        ):  # fmt: skip
            return self._must_be_said(task)
        wants_numbers = task == "regression"
        free = [n for n in self._free() if not self._counts_rows(n)]
        found = [n for n in free if _is_number(self._type(n)) == wants_numbers]
        if task == "classification" and not found:
            found = free if "image" in self.columns or "text" in self.columns else []
        role = "value" if wants_numbers else "label"
        if len(found) > 1:
            self._two(role, found)
        if not found:
            return self._must_be_said(task)
        return self._choose(role, found[0], "no other column can be it")

    def _must_be_said(self, task: str) -> None:
        if not FIELDS_OF_TASK[task]:
            return
        role = next((role for role, of in _TASK_OF_ROLE.items() if of == task), "label")
        raise UserError(
            f"no column is clearly the target of task {task}",
            where=self.where,
            todo=f"Say columns: {{{role}: ...}}; there is {', '.join(self._free())}.",
        )

    def _guess_target(self) -> str:
        """The task where nothing is said and no name tells."""
        free = [name for name in self._free() if not self._counts_rows(name)]
        if "image" in self.columns:
            free = [name for name in free if name.lower() not in _CAPTIONS]
        texts = [name for name in free if not _is_number(self._type(name))]
        if "image" in self.columns and not self._free():
            self.evidence.append("task: generation (there is no column besides the images)")
            return "generation"
        alone = free if "image" in self.columns or "text" in self.columns else texts
        if len(alone) == 1 and alone[0] in texts:
            self._choose("label", alone[0], "no other column can be it")
            return "classification"
        what = f"{alone[0]} holds numbers" if len(alone) == 1 else "no column is clearly the target"
        raise UserError(
            f"{what}; is it classification or regression?",
            where=self.where,
            todo="Say columns: {label: ...} or {value: ...}; there is "
            + ", ".join(self._free())
            + ".",
        )

    def _choose(self, role: str, name: str, why: str) -> None:
        self.columns[role] = (name,)
        self.evidence.append(f"{role}: {name} ({why})")

    def _two(self, role: str, found: Sequence[str]) -> None:
        raise UserError(
            f"{' and '.join(found[:4])} could each be the {role}",
            where=self.where,
            todo=f"Say which, e.g. columns: {{{role}: {found[0]}}}.",
        )

    def _must_exist(self, name: str) -> None:
        count = self.table.column_names.count(name)
        if count > 1:
            raise UserError(f"column {name} is there {count} times", where=self.where)
        if not count:
            near = difflib.get_close_matches(name, self.table.column_names, 1)
            raise UserError(
                f"no column {name!r}",
                where=self.where,
                todo=f"Did you mean {near[0]}?"
                if near
                else f"There is {', '.join(self.table.column_names)}.",
            )

    def _free(self) -> list[str]:
        """Columns without a role that are there once."""
        taken = {name for names in self.columns.values() for name in names}
        all_names = self.table.column_names
        return [n for n in all_names if n not in taken and all_names.count(n) == 1]

    def _type(self, name: str) -> pa.DataType:
        return self.table.schema.field(name).type

    def _is_target(self, name: str) -> bool:
        return name.lower() in _NAMES["boxes"] + _NAMES["keypoints"] + _NAMES["labels"]

    def _holds_pictures(self, name: str) -> bool:
        kind = self._type(name)
        if holds_bytes(kind):
            return True
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            return False
        cells = [c for c in self.table.column(name).slice(0, _LOOK_AT).to_pylist() if c]
        return bool(cells) and all(c.strip().lower().endswith(_FILES) for c in cells)

    def _holds_vectors(self, name: str) -> bool:
        kind = self._type(name)
        return is_list(kind) and _is_number(kind.value_type)

    def _counts_rows(self, name: str) -> bool:
        """Whether the column numbers the rows one by one."""
        if not pa.types.is_integer(self._type(name)) or len(self.table) < 2:
            return False
        column = self.table.column(name)
        steps = pc.pairwise_diff(column.combine_chunks())[1:]
        return bool(column.null_count == 0 and pc.all(pc.equal(steps, 1)).as_py())


def is_list(kind: pa.DataType) -> bool:
    """Whether cells of that type are lists."""
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def holds_bytes(kind: pa.DataType) -> bool:
    """Whether cells of that type are whole files: bytes, or records with a field `bytes`."""
    if pa.types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
    )  # fmt: skip
