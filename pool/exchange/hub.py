"""Dataset folders to and from the Hugging Face hub, thinly over `huggingface_hub`.

Knows repositories and folders; knows nothing of personas. What comes down is a folder like any other: it is imported
under the same checks, and lies in a folder of its own instead of the hub's cache, since the cache is made of links.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ethos.errors import ConfigurationError, InputError
from ethos.pool.exchange.files import CARD, DATA, MANIFEST
from ethos.pool.exchange.row_format import MAX_FILE_BYTES

_WANTED = (CARD, MANIFEST, f"{DATA}/*.parquet")
_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}", re.ASCII)


def push(folder: Path, repo: str, public: bool = False) -> str:
    """Upload a dataset folder; the address of the commit.

    Args:
        folder: What `ethos.pool.exchange.export.export` made.
        repo: ``OWNER/NAME``; made, private unless `public`, if it does not exist.
        public: Whether everybody may read a repository that is made now.

    Raises:
        InputError: Not the name of a repository.
        ConfigurationError: The extra is missing, the hub cannot be reached, or it refuses.
    """
    _check_name(repo)
    with _hub(f"{repo} cannot be pushed to") as api:
        api.create_repo(repo, repo_type="dataset", private=not public, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo,
            repo_type="dataset",
            folder_path=folder,
            allow_patterns=list(_WANTED),
            commit_message="A pool of personas, by Ethos",
        )
    return str(commit.commit_url)


def pull(repo: str, revision: str, folder: Path) -> str:
    """Download a dataset folder; the commit that was downloaded.

    Args:
        repo: ``OWNER/NAME``.
        revision: A commit, branch or tag; empty for the newest.
        folder: Where to; empty.

    Raises:
        InputError: Not the name of a repository, or more than an import would take.
        ConfigurationError: The extra is missing, the hub cannot be reached, or it refuses.
    """
    _check_name(repo)
    with _hub(f"{repo} cannot be pulled") as api:
        found = api.dataset_info(repo, revision=revision or None, files_metadata=True)
        size = sum(file.size or 0 for file in found.siblings or () if _is_wanted(file.rfilename))
        if size > MAX_FILE_BYTES:
            raise InputError(f"{repo} is larger than {MAX_FILE_BYTES >> 30} GiB")
        # By commit, so that what was measured is what comes.
        api.snapshot_download(
            repo, repo_type="dataset", revision=found.sha, local_dir=folder, allow_patterns=list(_WANTED)
        )
    return str(found.sha)


def _is_wanted(name: str) -> bool:
    return name in _WANTED or bool(re.fullmatch(rf"{DATA}/[^/]+\.parquet", name))


def _check_name(repo: str) -> None:
    if not _REPO.fullmatch(repo) or ".." in repo:
        raise InputError(f"{repo[:100]!r} is not the name of a repository", "give OWNER/NAME")


@contextmanager
def _hub(failure: str) -> Iterator[Any]:
    """The hub's client, with its errors mapped to ours."""
    try:
        from huggingface_hub import HfApi  # late: an extra, and 0.3 s
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError  # type: ignore[attr-defined]
        from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]
    except ImportError as error:
        raise ConfigurationError(
            "the Hugging Face hub needs the package huggingface_hub", "pip install 'ethos-pool[hub]'"
        ) from error
    disable_progress_bars()
    try:
        yield HfApi()
    except (HfHubHTTPError, HFValidationError) as error:
        cause = str(error).strip().splitlines()[0]
        raise ConfigurationError(f"{failure}: {cause}", "check the name, and log in with `hf auth login`") from error
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigurationError(f"{failure}: {cause}", "check the connection to the hub") from error
