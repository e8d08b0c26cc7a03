"""Asks an advisory source about the packages that a dyno runs: what `./dev audit` does.

By pip-audit, which ends with 0 also where its source knew none of the packages: here that is 3.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LOCK = Path(__file__).parents[2] / "requirements.txt"
# Two, since a mirror of the first may hold packages alone.
SOURCES = ("pypi", "osv")
FINE, VULNERABLE, AWAY = 0, 1, 3

Report = Mapping[str, Any]


def ask(source: str) -> Report | None:
    """Return pip-audit's report on the lock by one source; None where the source is away."""
    command = [sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip"]
    command += ["--requirement", str(LOCK), "--vulnerability-service", source]
    command += ["--format", "json", "--progress-spinner", "off", "--timeout", "10"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    try:
        report: Report = json.loads(done.stdout)
    except ValueError:
        return None
    return report if any("vulns" in one for one in report["dependencies"]) else None


def judge(report: Report | None) -> tuple[int, list[str]]:
    """Return the exit code and the lines to print."""
    if report is None:
        return AWAY, ["audit: no advisory source can be reached, nothing was audited"]
    lines = [
        f"{one['name']} {one['version']}: {vuln['id']}, mended in "
        f"{', '.join(vuln.get('fix_versions', ())) or 'no release yet'}"
        for one in report["dependencies"]
        for vuln in one.get("vulns", ())
    ]
    if lines:
        return VULNERABLE, lines
    if unknown := [one["name"] for one in report["dependencies"] if "vulns" not in one]:
        return AWAY, [f"audit: the source does not know {', '.join(unknown)}"]
    return FINE, [f"audit: nothing is known against {len(report['dependencies'])} packages"]


def main() -> int:
    """Audit the lock: 0 nothing known, 1 vulnerable, 3 not audited."""
    code, lines = judge(next(filter(None, map(ask, SOURCES)), None))
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(main())
