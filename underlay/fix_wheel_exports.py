"""Point the CMake exports of the ROS 2 wheels at the headers of this Python.

The wheels were built elsewhere and their ``*__rosidl_generator_pyExport.cmake`` files still name
that machine's Python and numpy headers. Running this twice changes nothing more.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path

import numpy as np

INCLUDES = re.compile(
    r"[^\";]*/include/python3\.\d+;[^\";]*/site-packages/numpy/_core/include(?=[\";])"
)


def main() -> None:
    """Rewrite the exports under ``share/`` of the running virtual environment."""
    here = f"{sysconfig.get_path('include')};{np.get_include()}"
    exports = sorted(Path(sys.prefix, "share").glob("**/*__rosidl_generator_pyExport.cmake"))
    if not exports:
        sys.exit(f"no rosidl exports under {sys.prefix}/share: are the ROS 2 wheels installed?")
    changed = 0
    for path in exports:
        old = path.read_text()
        new, found = INCLUDES.subn(lambda _: here, old)
        if not found:
            sys.exit(f"{path}: expected include paths of Python and numpy, found none")
        if new != old:
            path.write_text(new)
            changed += 1
    print(f"{changed} of {len(exports)} CMake exports pointed at {here}")


if __name__ == "__main__":
    main()
