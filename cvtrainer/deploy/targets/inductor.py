"""torch without Python: a `.pt2` of machine code for this kind of processor, by AOTInductor.

A C++ compiler makes it. 8-bit numbers are rounded where the program says and multiplied as floats,
so this target shows what they decide; it is not made smaller or faster by them.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import torch

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.program import Program
from cvtrainer.deploy.quiet import silent
from cvtrainer.deploy.targets.target import Capabilities
from cvtrainer.deploy.unsupported import unsupported

_SOURCE = ".cpp"
_OPTIONS = {"aot_inductor.enable_line_tables": False, "cpp_cache_precompile_headers": False}
"""Without tables that name files of this machine; headers prepared for one use cost more than they
save."""
_ROUNDED = {"pattern_matcher": False}
"""Else it finds pools of 8-bit numbers and calls a kernel that no processor has for them."""


class InductorTarget:
    """See `targets.target.Target`."""

    name: ClassVar[str] = "torch"
    capabilities: ClassVar[Capabilities] = Capabilities(
        suffix=".pt2",
        precisions=("fp32", "int8"),
        any_batch=True,
        decodes=True,
        runs_here=True,
        extra="",
        needs=(),
        any_size=True,
        any_length=True,
    )

    def export(self, program: Program, path: Path) -> None:
        """Write the file."""
        _refuse_without_compiler()
        made = io.BytesIO()
        rounded = _ROUNDED if program.precision == "int8" else {}
        with silent(), TemporaryDirectory(prefix="cvtrainer-") as folder, torch.no_grad():
            from torch._inductor import aoti_compile_and_package
            from torch._inductor.utils import fresh_cache

            try:
                with fresh_cache(dir=folder):
                    aoti_compile_and_package(
                        program.exported,
                        package_path=made,
                        inductor_configs=_OPTIONS | rounded,
                    )
            except Exception as error:
                raise unsupported(self.name, program, error) from error
        path.write_bytes(_without_sources(made))


def _refuse_without_compiler() -> None:
    with silent():
        from torch._inductor.cpp_builder import get_cpp_compiler
        from torch._inductor.exc import InvalidCxxCompiler

        try:
            get_cpp_compiler()
        except InvalidCxxCompiler as error:
            raise UserError(
                "the target torch needs a C++ compiler", todo="Install g++ or clang++."
            ) from error


def _without_sources(made: io.BytesIO) -> bytes:
    """The package less the sources it was compiled from, which name folders of this machine."""
    kept = io.BytesIO()
    with zipfile.ZipFile(made) as old, zipfile.ZipFile(kept, "w") as new:
        for entry in old.infolist():
            if not entry.filename.endswith(_SOURCE):
                new.writestr(entry.filename, old.read(entry))
    return kept.getvalue()
