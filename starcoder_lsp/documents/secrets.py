"""Recognize files with secrets by their names, and by keys in their text.

The names come from the rules of gitleaks and detect-secrets, and from tools that store credentials in files. Words that
also occur in names of source files (`token`, `password`) count for data files only: `password_reset.py` is code.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Final

from starcoder_lsp.documents.linear_patterns import LinearPattern, compile_text

N_HEAD_BYTES: Final = 64 * 1024
"""The bytes of a text that are searched for keys, in 20 µs. A whole large text would take milliseconds a keystroke."""

_DATA: Final = r"(?:\.(?:txt|json5?|ya?ml|csv|tsv|xml|ini|cfg|conf|toml|properties|dat|db|log|bak|enc|gpg|asc|old))"
_PARTS: Final = (
    # Folders, and files named as a whole
    r"\.git|\.ssh|\.aws|\.azure|\.gnupg|\.kube|\.password-store|secrets?|\.secrets?|\.vault.*",
    r"kubeconfig.*|.*\.kubeconfig|\.dockercfg|\.dockerconfigjson|\.boto|\.s3cfg|\.s3cmd|\.netrc|_netrc|\.pgpass|pgpass\.conf",
    r"\.my\.cnf|\.mylogin\.cnf|\.htpasswd|\.npmrc|\.yarnrc\.yml|\.pypirc|\.gem-credentials|\.terraformrc",
    r"terraform\.rc|\.git-credentials|rclone\.conf|\.msmtprc|\.fetchmailrc|\.esmtprc|\.smbcredentials",
    r"auth\.json|sftp-config\.json|\.ftpconfig|\.remote-sync\.json|filezilla\.xml|recentservers\.xml|sitemanager\.xml",
    r"wp-config.*\.php|appsettings\..+\.json|local\.settings\.json|\.?service[-_]?account.*\.json|.*[-_]service[-_]account\.json",
    r"google-services\.json|googleservice-info\.plist|knife\.rb|\.credentials|\.env.*|.*\.env|\.envrc",
    # Histories of shells and consoles
    r"\.\w+_history|\.lesshst|\.histfile|\.zhistory|consolehost_history\.txt",
    # Kinds of files
    r".*\.(?:pem|key|p12|pfx|p8|pkcs12|ppk|jks|bks|keystore|kdbx?|gpg|pgp|asc|keytab|ovpn|agekey|mobileprovision)",
    r".*\.tfvars(?:\.json)?|.*\.tfstate.*|(?:.*_)?id_(?:rsa|dsa|ecdsa|ed25519)(?:[^a-z].*)?|.*_(?:rsa|dsa|ecdsa|ed25519)(?:\.(?:pub|txt|old))?",
    # Words
    r".*credentials?.*",
    r".*private[-_. ]?keys?(?:[^a-z].*)?",
    r".*client[-_]?secret.*\.json",
    rf".*secret.*{_DATA}|(?:.*[^a-z])?secrets?(?:[^a-z].*)?",
    rf"(?:.*[^a-z])?(?:api|access|auth)?[-_]?tokens?(?:[^a-z].*)?{_DATA}|\.?tokens?",
    rf"(?:.*[^a-z])?(?:passwords?|passwd|passphrases?)(?:[^a-z].*)?{_DATA}|\.?passw(?:or)?ds?",
)
_PATHS: Final = r"(?:.*/)?(?:\.docker/config\.json|\.config/gh/hosts\.yml|\.m2/settings\.xml|\.fly/config\.yml)"
_SIGNS: Final = (b"PRIVATE KEY", b"AKIA", b"ASIA")
_KEY_LINE: Final = re.compile(rb"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_KEY: Final = re.compile(_KEY_LINE.pattern + rb"(?:\\[rn]|[\s\"'+]){1,40}[A-Za-z0-9+/=]{32}")
_AMAZON: Final = re.compile(rb"\b(?:AKIA|ASIA)[2-7A-Z]{16}\b(?<!EXAMPLE)")


def is_named_as_secret(path: str) -> bool:
    """Return whether the file or a folder of a path has the name of one with secrets. `path` begins at a workspace."""
    return _is_named(path.encode("utf-8", "replace").decode().replace("\\", "/"))


def has_key(text: bytes) -> bool:
    """Return whether a text begins with a private key, or has an access key in its first 64 KiB.

    The first line of a private key alone, as in code that writes keys, does not count, nor does Amazon's example key.
    """
    head = text[:N_HEAD_BYTES]
    if not any(sign in head for sign in _SIGNS):
        return False
    is_key_file = _KEY_LINE.match(head.lstrip()) is not None
    return is_key_file or _KEY.search(head) is not None or _AMAZON.search(head) is not None


@lru_cache(maxsize=4096)
def _is_named(path: str) -> bool:
    by_part, by_path = _patterns()
    is_part = any(by_part.fullmatch(part) is not None for part in path.split("/") if part)
    return is_part or by_path.fullmatch(path) is not None


@cache
def _patterns() -> tuple[LinearPattern[str], LinearPattern[str]]:
    return compile_text("(?is)" + "|".join(_PARTS)), compile_text("(?is)" + _PATHS)
