"""Files that count as secrets, by name and by content, and the effects on completion and settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from starcoder_lsp.documents.documents import Documents
from starcoder_lsp.documents.secrets import has_key, is_named_as_secret
from starcoder_lsp.documents.workspace import Workspace
from starcoder_lsp.engine.engine import memory_only, uri_of
from starcoder_lsp.prompting import decline_reason
from starcoder_lsp.settings import Settings
from starcoder_lsp.settings_layers import SettingsLayer, read_settings

SECRETS = """
.env .env.local prod.env a/.env .envrc .netrc .npmrc .yarnrc.yml .pypirc .pgpass .htpasswd .git-credentials .boto .s3cfg
kubeconfig kubeconfig.yaml dev.kubeconfig .kube/config .docker/config.json .dockercfg service_account.json
service-account-prod.json my-service-account.json
client_secret.json client_secret_123.apps.json credentials
credentials.json gcp-credentials.json aws_credentials.ini CREDENTIALS.py secrets.yaml my-secrets.yml app.secret.json
db_secret.py secrets/prod.txt config/secrets.py infra.tfvars infra.tfvars.json a.tfstate a.tfstate.backup .vault-token
.vault_pass tokens.txt token.json api_tokens.json password.txt passwords.csv auth.json id_rsa id_rsa.pub id_ed25519
deploy_rsa work_id_ed25519 github_ed25519.pub private_key.txt my-private-key.json server.pem tls/server.key store.p12
store.jks x.ppk x.keytab x.kdbx .bash_history .zsh_history .python_history .psql_history .lesshst wp-config.php
wp-config.old.php appsettings.Production.json local.settings.json
.ssh/config .aws/config .gnupg/x .git/config master.key
rclone.conf .my.cnf google-services.json filezilla.xml sftp-config.json .config/gh/hosts.yml
"""
CODE = """
environment.py keys.py env.py secretary.py tokens.py tokenizer.json tokenization.py token.rs password_reset.py
PasswordField.tsx passwords.rb keyboard.js monkey.c privateer.py private_notes.md history.py bash_history.md auth.py
auth.ts authors.json appsettings.json config.json .docker/nginx.conf
docker/config.json kube.py wp-content.php settings.py a.github/x.py
vault.py rsa.py crypto_rsa_test.go .gitignore .gitattributes .github/workflows/ci.yml Dockerfile docker-compose.yml
public_key.py serviceaccounts.go client.json passage.txt
"""


@pytest.mark.parametrize("name", SECRETS.split())
def test_names_of_secret_files_are_recognized(name: str) -> None:
    assert is_named_as_secret(name)
    assert is_named_as_secret(f"deep/in/{name}")
    assert is_named_as_secret(name.upper())


@pytest.mark.parametrize("name", CODE.split())
def test_names_of_code_about_secrets_are_accepted(name: str) -> None:
    assert not is_named_as_secret(name)


PEM = "-----BEGIN {}PRIVATE KEY-----\n"
BODY = "MIIEpAIBAAKCAQEA0Z3VS5JJcds3xfn/ygWyF0qJDr7Z0v0mVxQz\n"
KEYS = [
    *(PEM.format(kind) for kind in ("", "RSA ", "OPENSSH ", "EC ", "ENCRYPTED ", "DSA ")),
    "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQOYBF\n",
    "\n  " + PEM.format(""),
    'KEY = """' + PEM.format("RSA ") + BODY,
    '{"private_key": "-----BEGIN PRIVATE KEY-----\\n' + BODY.strip() + '"}',
    "aws_access_key_id = AKIA" + "Q3EGUTY7ZXKLMN2P" + "\n",
    "x = 1\n" * 1000 + "key = 'ASIA" + "Q3EGUTY7ZXKLMN2P" + "'\n",
]
NO_KEYS = [
    "",
    'HEAD = "-----BEGIN PRIVATE KEY-----"\nif HEAD in text: ...\n',
    "# a file begins with\n" + PEM.format("RSA ") + "# then comes the body\n",
    "-----BEGIN PUBLIC KEY-----\n" + BODY,
    "-----BEGIN CERTIFICATE-----\n" + BODY,
    "key = 'AKIAIOSFODNN7EXAMPLE'\n",
    "SLAKIAQ3EGUTY7ZXKLMN2PABC\n",
    "ASIA and AKIA are prefixes",
]


@pytest.mark.parametrize("text", KEYS)
def test_a_file_with_a_key_is_a_secret(tmp_path: Path, text: str) -> None:
    assert has_key(text.encode())
    (tmp_path / "a.py").write_text(text)
    assert Workspace(tmp_path).read((tmp_path / "a.py").as_posix(), ()) is None


@pytest.mark.parametrize("text", NO_KEYS)
def test_a_text_about_keys_is_no_secret(text: str) -> None:
    assert not has_key(text.encode())


@pytest.mark.parametrize(
    ("uri", "text", "is_declined"),
    [
        ("file:///home/u/app/.env", "A=1", True),
        ("file:///home/u/app/config/secrets.yaml", "a: 1", True),
        ("file:///home/u/app/a.py", KEYS[0], True),
        ("file:///home/u/app/a.py", "x = 1", False),
        ("untitled:Untitled-1", "x = 1", False),
    ],
)
def test_a_secret_is_completed_only_if_the_user_allows_it(uri: str, text: str, *, is_declined: bool) -> None:
    root = Path("/home/u/app")
    snapshot = Documents().open(uri, "", 1, text)
    reason = decline_reason(snapshot, Settings(), root)
    assert ("starcoder.secretFiles" in reason) == is_declined
    assert not decline_reason(snapshot, evolve(Settings(), secret_files=True), root)


def test_folders_above_the_workspace_do_not_make_a_secret() -> None:
    snapshot = Documents().open("file:///home/u/secrets/app/a.py", "", 1, "x = 1\n")
    assert not decline_reason(snapshot, Settings(), Path("/home/u/secrets/app"))
    assert decline_reason(snapshot, Settings(), Path("/home/u"))


def test_a_memory_only_name_leads_back_to_the_documents_uri() -> None:
    assert uri_of(memory_only("file:///a/.env")) == "file:///a/.env"


LIMITS = {
    "cache": {"ramMiB": 513, "diskMiB": 1},
    "context": {"maxTokens": 1921, "maxSnippetTokens": 513, "maxPrefillMs": 4001},
    "completion": {"timeoutMs": 10_001},
}
LOWER = {
    "cache": {"ramMiB": 1},
    "context": {"maxTokens": 64, "maxSnippetTokens": 0, "maxPrefillMs": 50},
    "completion": {"timeoutMs": 100},
}


def test_a_workspace_can_lower_limits_and_not_raise_them() -> None:
    settings, problems = read_settings([SettingsLayer("w", {**LIMITS, "secretFiles": True}, trusted=False)])
    assert settings == Settings()
    assert len(problems) == 7
    assert all("only you can raise it" in problem or "only by you" in problem for problem in problems)
    settings, problems = read_settings([SettingsLayer("w", LOWER, trusted=False)])
    assert not problems
    assert (settings.cache.ram_mib, settings.context.max_tokens, settings.completion.timeout_ms) == (1, 64, 100)


def test_the_users_own_value_is_the_workspaces_limit() -> None:
    own = SettingsLayer("u", {"cache": {"diskMiB": 100}}, trusted=True)
    for n_mib, expected in ((50, 50), (100, 100), (101, 100)):
        settings, problems = read_settings([own, SettingsLayer("w", {"cache": {"diskMiB": n_mib}}, trusted=False)])
        assert settings.cache.disk_mib == expected
        assert bool(problems) == (n_mib > 100)
