"""Debian's R, which programs every list a second time."""

import shutil
import subprocess
from pathlib import Path

SECOND_PROGRAM = Path(__file__).parents[2] / "docs" / "double-programming" / "regenerate.R"


class RMissingError(RuntimeError):
    """There is no R to run."""


def find_r() -> str:
    """The path of Rscript. Raises RMissingError when there is none."""
    program = shutil.which("Rscript")
    if program is None:
        raise RMissingError(
            "No R for the second program: Rscript is not on the PATH. `make setup` installs it where it may; else "
            "install R with its packages gmp, jsonlite and openssl (Debian: r-base-core r-cran-gmp r-cran-jsonlite "
            "r-cran-openssl)."
        )
    return program


def run_second_program(folder: Path, *files: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the second program, called in `folder` for its `files`.

    R takes a third of a second to start, so many lists go into one call.
    """
    command = [find_r(), "--vanilla", str(SECOND_PROGRAM), *files]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr
