"""The peers' own virtual environment: `peers.txt`, beside the packages that the project runs on.

The project's packages are reached through a `.pth` file, behind the peers' own, so that nothing of
the project is installed twice and no peer lands among the project's packages.  Shared packages have
the versions of `constraints.txt` in both.
"""

import re
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT_PACKAGES = "project.pth"
INSTALLED = "peers-installed.txt"


def requirements(path: Path) -> dict[str, str]:
    """Return the pinned requirement of each peer of a file, by the peer's name."""
    lines = (line.partition("#")[0].strip() for line in path.read_text("utf-8").splitlines())
    return {re.split(r"[=<>~!\[ ]", line)[0]: line for line in lines if line}


def python_of(venv: Path) -> Path:
    """Return the interpreter of a virtual environment."""
    return venv / "bin" / "python"


def install(
    peers: Path, venv: Path, *, constraints: Path | None = ROOT / "constraints.txt"
) -> dict[str, str]:
    """Install each peer by itself where it is not yet; return those left out, and why.

    Args:
        peers: the file of pinned requirements.
        venv: the environment's folder, made where there is none.
        constraints: versions that hold for what the peers bring along.
    """
    if not python_of(venv).exists():
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    packages = next((venv / "lib").glob("python3*")) / "site-packages"
    # While pip works it sees the peers alone, or it would take the project's packages for theirs.
    (packages / PROJECT_PACKAGES).unlink(missing_ok=True)
    record = venv / INSTALLED
    done = record.read_text("utf-8").splitlines() if record.exists() else []
    left_out = {}
    pip = [sys.executable, "-m", "pip", "--python", str(python_of(venv)), "install", "--quiet"]
    pip += ["--disable-pip-version-check"]
    pip += ["--constraint", str(constraints)] if constraints else []
    for name, requirement in requirements(peers).items():
        if requirement in done:
            continue
        print(f"installing {requirement}", flush=True)
        ran = subprocess.run([*pip, requirement], check=False, capture_output=True, text=True)
        if ran.returncode:
            errors = [line for line in ran.stderr.splitlines() if line.startswith("ERROR")]
            left_out[name] = (errors or ran.stderr.splitlines() or ["pip failed"])[-1]
            print(f"left out: {name}: {left_out[name]}", flush=True)
        else:
            done.append(requirement)
    record.write_text("".join(f"{line}\n" for line in done), "utf-8")
    shared = sysconfig.get_path("purelib")
    (packages / PROJECT_PACKAGES).write_text(f"import site; site.addsitedir({shared!r})\n", "utf-8")
    return left_out
