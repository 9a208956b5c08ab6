"""Globs of the settings, and the files that they match."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.documents.globs import matches

ENV = "/home/me/project/config/prod.env"


GLOBS = [
    ("**/*.env", ENV, True),
    ("*.env", ENV, True),
    (".env", ENV, False),
    (".env", "/home/me/.env", True),
    ("**/.env*", "/home/me/.env.local", True),
    ("*.ENV", ENV, True),
    ("prod.env", ENV, True),
    ("od.env", ENV, False),
    ("config", ENV, True),
    ("config/", ENV, True),
    ("config/**", ENV, True),
    ("config/*", ENV, True),
    ("./config/*.env", ENV, True),
    ("fig/**", ENV, False),
    ("project/**/*.env", ENV, True),
    ("project/*.env", ENV, False),
    ("project/**/config/**", ENV, True),
    ("/home/me/project/**", ENV, True),
    ("/home/me/project", ENV, True),
    ("/home/me/proj", ENV, False),
    ("/project/**", ENV, False),
    ("**", ENV, True),
    ("*", ENV, True),
    ("", ENV, False),
    (" ", ENV, False),
    ("*.{pem,env,key}", ENV, True),
    ("*.{pem,key}", ENV, False),
    ("{config,secret}/**", ENV, True),
    ("*.{pem,{key,e{nv,x}}}", ENV, True),
    ("*.{pem,{key,e{nw,x}}}", ENV, False),
    ("{config,secret/[a,b]}/prod.env", ENV, True),
    ("{prod.env", "/x/{prod.env", True),
    ("{a,{prod}.env", "/x/{a,prod.env", True),
    ("a,b}.py", "/x/a,b}.py", True),
    ("prod.en?", ENV, True),
    ("prod.en[a-v]", ENV, True),
    ("prod.en[!a-v]", ENV, False),
    ("prod.env[", ENV, False),
    ("[z-a]", ENV, False),
    ("[z-a].py", "/x/[z-a].py", True),
    ("a+b.(1).py", "/x/a+b.(1).py", True),
    ("secret dir/*", "/home/me/secret dir/é.py", True),
    ("C:\\Users\\me\\**", "c:/Users/me/a.py", True),
    ("secret\\**", "c:/Users/secret/a.py", True),
    ("~/secret/**", (Path.home() / "secret/a.py").as_posix(), True),
    ("~other/**", "/home/~other/a.py", True),
    ("**/secret/**", "secret/a.py", True),
    ("Untitled-*", "Untitled-1", True),
]


@pytest.mark.parametrize(("glob", "path", "is_meant"), GLOBS)
def test_a_glob_matches_the_right_files(glob: str, path: str, is_meant: bool) -> None:  # noqa: FBT001
    assert matches(path, glob) == is_meant


Braces = st.recursive(
    st.text(st.sampled_from("ab/.?"), max_size=3).map(lambda text: (text, (text,))),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(
            lambda each: (
                "{" + ",".join(form for form, _ in each) + "}",
                tuple(glob for _, globs in each for glob in globs),
            )
        )
        | st.tuples(inner, inner).map(
            lambda two: (two[0][0] + two[1][0], tuple(a + b for a in two[0][1] for b in two[1][1]))
        )
    ),
    max_leaves=5,
)
"""A glob with braces, and the globs without any that it stands for."""


@given(braces=Braces, name=st.text(st.sampled_from("ab/."), max_size=6) | st.integers(0))
def test_braces_match_what_one_of_their_choices_matches(braces: tuple[str, tuple[str, ...]], name: str | int) -> None:
    form, globs = braces
    if isinstance(name, int):
        name = globs[name % len(globs)].replace("?", "b")
        assert matches(f"/x{name}x", f"x{form}x")
    assert matches(f"/x{name}x", f"x{form}x") == any(matches(f"/x{name}x", f"x{glob}x") for glob in globs)


@given(
    glob=st.text(st.sampled_from("ab/.*?[]{},!-\\~"), max_size=12), path=st.text(st.sampled_from("ab/."), max_size=9)
)
def test_globs_match_whole_folders_and_ignore_case(glob: str, path: str) -> None:
    is_meant = matches(path, glob)
    assert matches(path.upper(), glob) == is_meant
    assert matches(f"{path}/deeper/in.py", glob) or not is_meant
