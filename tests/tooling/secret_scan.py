"""Looks for secrets in every file that is, or would be, committed: a step of `./dev check`.

Our own and small: detect-secrets, the library for this, had its last release in May 2024 and sees
neither a webhook secret nor an API key that stands without quotes.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHOWN = 6
KINDS = {
    "a webhook signing secret": r"whsec_[A-Za-z0-9+/_-]{8,}={0,2}",
    "a private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----",
    "a URL with a password": r"[a-z][a-z0-9+]*://[^\s:/@'\"`]*:[^\s/@'\"`]+@",
    "a token as Recall signs them": r"eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*",
    # Recall's API keys are 40 hexadecimal digits; a lock's hashes have 64.
    "an API key": r"(?<![0-9A-Fa-f])[0-9a-f]{40}(?![0-9A-Fa-f])",
    "a cloud or forge token": r"AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{30,}|xox[abprs]-[\w-]{10,}",
    "a value under a secret's name": (
        r"(?i:(?:api|jwt|access|signing)_?key|secret|token|password|passwd)\w*[\"']?\s*[:=]\s*[\"']?"
        r"(?=[A-Za-z0-9_+/.=-]*[0-9])(?=[A-Za-z0-9_+/.=-]*[A-Za-z])[A-Za-z0-9_+/.=-]{24,}"
    ),
}
# The tests' own, each obviously none, and the vector that Svix documents.
ALLOWED = (
    "whsec_cmVjYWxsLWxpbmtzIHRlc3Qgc2VjcmV0IG51bWJlciBvbmU=",
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    "whsec_aHVudGVyMg==",
    "abcdef0123456789",
    "hunter2@",
    "://u:p@",
    "://user:password@",
    ":{password}@",
    ":{PASSWORD}@",
    "s3cret",
    "s3%00cret",
    "app:sekret@",
    "app:wrong-word@",
    "nobody-such:x@",
    ":{WRONG}@",
)
_KINDS = {kind: re.compile(pattern) for kind, pattern in KINDS.items()}


@dataclass(frozen=True, slots=True)
class Leak:
    """Where something looks like a secret, what it looks like, and its first characters alone."""

    line: int
    kind: str
    shown: str


def scan(text: str) -> Iterator[Leak]:
    """Yield everything in a text that looks like a secret, whatever is known as a fake aside."""
    for number, line in enumerate(text.splitlines(), 1):
        for kind, pattern in _KINDS.items():
            for found in pattern.finditer(line):
                if not any(fake in found[0] for fake in ALLOWED):
                    yield Leak(number, kind, f"{found[0][:SHOWN]}…")


def committed_files() -> list[Path]:
    """Return every file that git tracks or would, ignored ones aside; OSError without git."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listing, cwd=ROOT, check=False, capture_output=True)
    if done.returncode:
        raise OSError("not a git checkout")
    paths = (ROOT / name.decode() for name in done.stdout.split(b"\0") if name)
    # One that is deleted and not committed yet is still listed.
    return [path for path in paths if path.is_file()]


def main() -> int:
    """Scan the checkout; 1 where anything was found."""
    try:
        paths = committed_files()
    except OSError as error:
        # Somebody's tarball: nothing in it is about to be committed.
        print(f"secret scan: left out, {error}")
        return 0
    leaks = 0
    for path in paths:
        for leak in scan(path.read_text(errors="replace")):
            leaks += 1
            print(f"{path.relative_to(ROOT)}:{leak.line}: {leak.kind} ({leak.shown})")
    if leaks:
        print("A fake of the tests' belongs into ALLOWED in tests/tooling/secret_scan.py.")
    else:
        print(f"No secret in {len(paths)} files.")
    return int(leaks > 0)


if __name__ == "__main__":
    sys.exit(main())
