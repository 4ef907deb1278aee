"""ncnn: a folder of `model.param` and `model.bin`, for phones and boards with little room.

pnnx makes it from TorchScript, in a process of its own. An operator that ncnn has not is written
into the file under its old name, so the file is read for such names.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import torch

from cvtrainer.deploy.artefact import remove_artefact
from cvtrainer.deploy.program import Program
from cvtrainer.deploy.quiet import silent
from cvtrainer.deploy.targets.rewrites import without_names
from cvtrainer.deploy.targets.target import Capabilities
from cvtrainer.deploy.unsupported import unsupported

_FILES = ("model.param", "model.bin")


class NcnnTarget:
    """See `targets.target.Target`."""

    name: ClassVar[str] = "ncnn"
    capabilities: ClassVar[Capabilities] = Capabilities(
        suffix=".ncnn",
        precisions=("fp32", "fp16"),
        any_batch=False,
        decodes=False,
        runs_here=True,
        extra="ncnn",
        needs=("pnnx", "ncnn"),
        takes_bytes=False,
        takes_whole=False,
    )

    def export(self, program: Program, path: Path) -> None:
        """Write the folder; fp16 halves the weights alone."""
        import pnnx

        with TemporaryDirectory(prefix="cvtrainer-") as place:
            folder = Path(place)
            with silent(), torch.no_grad():
                module = without_names(program.exported.module())
                trace: Any = torch.jit.trace
                try:
                    traced = trace(module, (program.example,), check_trace=False)
                    traced.save(str(folder / "model.pt"))
                except Exception as error:  # TorchScript knows fewer words than captured programs
                    raise unsupported(self.name, program, error) from error
            done = subprocess.run(
                [pnnx.EXEC_PATH, *_words(program)], cwd=folder, capture_output=True, text=True
            )
            made = [folder / name for name in _FILES]
            if done.returncode or not all(one.is_file() for one in made):
                raise unsupported(self.name, program, _said(done))
            unknown = _unknown(made[0].read_text())
            if unknown:
                raise unsupported(self.name, program, f"no layer for {', '.join(unknown)}")
            remove_artefact(path)
            path.mkdir()
            for one in made:
                shutil.move(one, path / one.name)


def _words(program: Program) -> list[str]:
    """What pnnx is told; files that nobody wants have names, too, or they lie beside the input."""
    shape = ",".join(str(int(length)) for length in program.example.shape)
    return [
        "model.pt",
        f"inputshape=[{shape}]f32",
        f"fp16={int(program.precision == 'fp16')}",
        f"ncnnparam={_FILES[0]}",
        f"ncnnbin={_FILES[1]}",
    ]


def _unknown(param: str) -> list[str]:
    """Layers that still have another's name: `aten::erfinv`, `torch.fft.rfft2`."""
    kinds = (line.split()[0] for line in param.splitlines()[2:] if line.strip())
    return list(dict.fromkeys(kind for kind in kinds if "::" in kind or "." in kind))


def _said(done: subprocess.CompletedProcess[str]) -> str:
    """What pnnx said last before it ended."""
    lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    errors = [line for line in lines if "rror" in line]
    return (errors or lines or ["pnnx ended without a word"])[-1]
