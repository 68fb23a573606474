"""Files to and from a model hub; every failure of the hub's client becomes a `ModelError` of one line."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from jepakit.errors import ModelError

# What the hub client raises: the base error of its HTTP library (which one that is depends on its version), OSError for
# files and connections, ValueError for ids and model cards it rejects, RuntimeError for an upload broken on the way.
_HTTP_ERRORS: tuple[type[BaseException], ...] = HfHubHTTPError.__bases__
_HUB_ERRORS = (*_HTTP_ERRORS, OSError, ValueError, RuntimeError)


def download(repo_id: str, *, revision: str | None, files: Sequence[str], api: HfApi) -> Path:
    """Returns the local folder with ``files`` of a model repository; files from before are not fetched again.

    Raises:
        ModelError: there is no such repository or revision, it is not accessible, or the hub cannot be reached.
    """
    with _failures(f"there is no folder {repo_id}, and the download from {api.endpoint} failed"):
        return Path(api.snapshot_download(repo_id, revision=revision, allow_patterns=list(files)))


def upload(folder: Path, repo_id: str, *, files: Sequence[str], private: bool, message: str, api: HfApi) -> str:
    """Uploads ``files`` of ``folder``, making the repository where it is missing; returns the repository's address.

    Raises:
        ModelError: the hub refused or cannot be reached, or the repository is public though ``private``.
    """
    with _failures(f"{folder} could not be pushed to {api.endpoint}/{repo_id}"):
        url = api.create_repo(repo_id, private=private, exist_ok=True)
        # The hub ignores `private` where the repository exists already.
        if private and not api.repo_info(repo_id).private:
            raise ModelError(f"{repo_id} exists and is public; make it private there first, or push with private=False")
        api.upload_folder(repo_id=repo_id, folder_path=folder, allow_patterns=list(files), commit_message=message)
        return str(url)


@contextmanager
def _failures(problem: str) -> Generator[None]:
    try:
        yield
    except _HUB_ERRORS as error:
        # Errors of the hub span several lines, and the reason of a RuntimeError may be in its cause.
        reason = f"{error} {error.__cause__ or ''}" if isinstance(error, RuntimeError) else str(error)
        text = " ".join(reason.split()) or type(error).__name__
        raise ModelError(f"{problem}: {text if len(text) <= 400 else f'{text[:399]}…'}") from error
