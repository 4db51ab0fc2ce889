"""A network in the layout of the Hugging Face Hub: a folder here, or a repository there.

    model.safetensors   kinema's weights file, complete without the other two
    config.json         what its header says, for programs that read no header
    README.md           the same for people; see kinema.models.hub_readme

The weights file is the source, config.json its copy. Where the two differ, nothing is loaded: one of
them was changed by somebody who did not know of the other, and a wrong class name is worse than none.

What the Hub's own library decides stays with it: the token (`hf auth login`, `HF_TOKEN`), the cache
(`HF_HOME`), another host (`HF_ENDPOINT`), `HF_HUB_OFFLINE`. `KINEMA_OFFLINE` forbids the network here
as everywhere. Without it, a file fetched before is also used where the Hub does not answer.
"""

from __future__ import annotations

import json
import re
import reprlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, Final

from kinema.core.atomic import replacing
from kinema.core.errors import DataError, UsageError, WeightsError, shortened
from kinema.core.progress import Progress, Silent
from kinema.models.download import is_offline
from kinema.models.hub_readme import MARK, readme_of
from kinema.models.model import VideoModel
from kinema.models.weights import ModelCard, Weights, load_weights, read_card, save_weights

__all__ = [
    "CONFIG_FILE",
    "README_FILE",
    "WEIGHTS_FILE",
    "HubAddress",
    "Publication",
    "fetch_weights",
    "load_from_folder",
    "publish",
    "push",
    "save_to_folder",
    "weights_in",
]

CONFIG_FILE: Final = "config.json"
WEIGHTS_FILE: Final = "model.safetensors"
README_FILE: Final = "README.md"

_LIBRARY: Final = "kinema"
_MESSAGE: Final = "Publish a network of kinema"
# Keys of config.json that must say what the header says; others may stand beside them.
_COPIED: Final = (
    "architecture", "options", "in_channels", "num_labels", "labels_known", "id2label", "label2id", "input",
    "provenance", "metrics",
)  # fmt: skip


@dataclass(frozen=True)
class HubAddress:
    """A repository on the Hub.

    Attributes:
        repository: `owner/name`.
        revision: branch, tag or commit; None is the main branch.
    """

    repository: str
    revision: str | None = None

    @classmethod
    def of(cls, given: str | Path) -> HubAddress | None:
        """The address that `given` is, or None where it is none: it does not begin with `hf:`.

        Raises:
            UsageError: it begins so and does not go on as one.
        """
        if not str(given).startswith("hf:"):
            return None
        # A Path has made one slash of two.
        parts = re.fullmatch(r"hf:/{1,2}([\w.-]+/[\w.-]+)(?:@([^\s@]+))?", str(given), flags=re.ASCII)
        if parts is None:
            raise UsageError(
                f"'{given}' is no address on the Hugging Face Hub",
                allowed="hf://owner/name or hf://owner/name@revision",
            )
        return cls(parts[1], parts[2])

    def __str__(self) -> str:
        return f"hf://{self.repository}" + (f"@{self.revision}" if self.revision else "")


@dataclass(frozen=True)
class Publication:
    """What was published.

    Attributes:
        place: the folder, or the address of the commit on the Hub.
        written: names of the files written.
        kept: names of those left as they were, because a person has taken them over.
    """

    place: str
    written: tuple[str, ...]
    kept: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """What `kinema models publish --json` prints."""
        return {"place": self.place, "written": list(self.written), "kept": list(self.kept)}


def save_to_folder(folder: Path | str, model: VideoModel, card: ModelCard) -> Publication:
    """Write `model` as a folder of three files; what kinema published there before is replaced.

    A README.md without the line that kinema puts into its own is a person's, and kept.

    Args:
        folder: made if it is not there.
        model: a network of the zoo.
        card: what it is.

    Raises:
        DataError: the folder holds a network of another program, or cannot be written to.
        WeightsError: the card does not describe this model.
    """
    return _write_folder(
        Path(folder), lambda path: save_weights(path, model, card), address=Path(folder).resolve().name
    )


def load_from_folder(folder: Path | str) -> Weights:
    """The network of a folder and its card; errors as for `weights_in` and `load_weights`."""
    return load_weights(weights_in(folder))


def weights_in(folder: Path | str) -> Path:
    """The weights file of a folder, whose config.json has been found to say the same as its header.

    Raises:
        WeightsError: the folder has no config.json, one of another program or one that says
            something else than the weights file; or that file is none of kinema's.
    """
    folder = Path(folder)
    weights = folder / WEIGHTS_FILE
    _require_ours(_read_config(folder), str(folder), f"kinema models convert {weights} --out OUT.safetensors")
    return _checked(
        folder,
        f"kinema models publish {weights} {folder} writes it anew; other names for the classes belong into the weights"
        f" first: kinema models download {weights} --out NEW.safetensors --labels NAMES.txt",
    )


def fetch_weights(address: HubAddress, *, progress: Progress | None = None) -> Path:
    """The weights file of a repository on the Hub, fetched into the Hub's cache if it is not there.

    Of another program's repository only config.json is fetched.

    Raises:
        UsageError: the extra `hub` is not installed.
        WeightsError: there is no such repository or revision, the Hub cannot be reached, the network
            is forbidden, or the repository holds none of kinema's networks, as for `weights_in`.
    """
    hub = _library()
    (progress or Silent()).log(f"looking for {address} on the Hub")
    config = _fetch(hub, address, CONFIG_FILE)
    by_hand = f"download its weights, then kinema models convert FILE --out OUT.safetensors ({address.repository})"
    _require_ours(_read_config(config.parent), str(address), by_hand)
    # The cache has a folder a commit: both files are of the same one, whatever is pushed meanwhile.
    weights = _fetch(hub, HubAddress(address.repository, config.parent.name), WEIGHTS_FILE)
    return _checked(weights.parent, f"tell whoever publishes {address.repository}, or take another revision")


def push(repository: str, model: VideoModel, card: ModelCard) -> Publication:
    """Publish `model` on the Hub as `owner/name`, in one commit; a repository that is not there is made.

    A new one is as visible as the account's settings make it; to have it private for certain, make
    it on the Hub first. A README.md that a person has taken over is kept.

    Raises:
        UsageError: the extra `hub` is not installed.
        DataError: the repository holds a network of another program.
        WeightsError: the Hub cannot be reached, refuses, or the network is forbidden.
    """
    return _push(HubAddress(repository), lambda path: save_weights(path, model, card))


def publish(weights: Path | str, destination: str | Path) -> Publication:
    """Publish a weights file, byte by byte, in a folder or on the Hub.

    Args:
        weights: a file of kinema's.
        destination: a folder, or `hf://owner/name`.

    Raises:
        KinemaError: as `load_weights`, `save_to_folder` and `push` do.
    """
    load_weights(weights)  # nothing damaged is handed on

    def copy(path: Path) -> None:
        with replacing(path) as beside:
            shutil.copyfile(weights, beside)

    address = HubAddress.of(destination)
    return (
        _push(address, copy)
        if address
        else _write_folder(Path(destination), copy, address=Path(destination).resolve().name)
    )


def _push(address: HubAddress, write_weights: Callable[[Path], None]) -> Publication:
    if address.revision:
        raise UsageError(f"cannot publish as {address}", allowed=f"hf://{address.repository}, its main branch")
    if is_offline():
        raise WeightsError(f"KINEMA_OFFLINE forbids to publish {address}", allowed="a folder", next_step="unset it")
    hub = _library()
    api = hub.HfApi(library_name=_LIBRARY)
    with _told(hub, address, "publish"):
        api.create_repo(address.repository, exist_ok=True)
    with TemporaryDirectory() as name:
        folder = Path(name)
        for file in (CONFIG_FILE, README_FILE):
            with _told(hub, address, "publish"):
                try:
                    there = hub.hf_hub_download(address.repository, file, force_download=True)
                except hub.errors.RemoteEntryNotFoundError:
                    continue
            shutil.copyfile(there, folder / file)
        done = _write_folder(folder, write_weights, address=str(address))
        with _told(hub, address, "publish"):
            commit = api.upload_folder(
                repo_id=address.repository,
                folder_path=folder,
                commit_message=_MESSAGE,
                allow_patterns=list(done.written),
            )
    return Publication(str(commit.commit_url), done.written, done.kept)


def _write_folder(folder: Path, write_weights: Callable[[Path], None], *, address: str) -> Publication:
    _require_free(folder)
    write_weights(folder / WEIGHTS_FILE)
    card = read_card(folder / WEIGHTS_FILE)
    texts = {CONFIG_FILE: _config_text(card), README_FILE: readme_of(card, address)}
    kept = tuple(name for name in texts if name == README_FILE and _is_a_persons(folder / name))
    for name, text in texts.items():
        if name not in kept:
            with replacing(folder / name) as beside:
                beside.write_text(text, encoding="utf-8")
    written = (WEIGHTS_FILE, *(name for name in texts if name not in kept))
    return Publication(str(folder), written, kept)


def _require_free(folder: Path) -> None:
    """DataError where publishing into `folder` would overwrite what kinema did not write."""
    try:
        if (folder / CONFIG_FILE).exists():
            _require_ours(_read_config(folder), str(folder), "")
        if (folder / WEIGHTS_FILE).exists():
            read_card(folder / WEIGHTS_FILE)
    except WeightsError as error:
        raise DataError(
            f"{error.given}; it would be overwritten",
            allowed="an empty folder, or one that kinema published",
            next_step="choose another destination",
        ) from error


def _is_a_persons(readme: Path) -> bool:
    return readme.exists() and MARK not in readme.read_text(encoding="utf-8", errors="replace")


def _config_text(card: ModelCard) -> str:
    names = card.labels.names
    config: dict[str, Any] = {
        "library_name": _LIBRARY,
        "model_type": _LIBRARY,
        "architecture": card.architecture,
        "options": card.options,
        "in_channels": card.in_channels,
        "num_labels": card.labels.count,
        "labels_known": card.labels.is_known,
        **(
            {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}} if names else {}
        ),
        "input": asdict(card.input),
        "provenance": card.provenance,
        "metrics": card.metrics,
    }
    return json.dumps(config, indent=2, ensure_ascii=False) + "\n"


def _checked(folder: Path, next_step: str) -> Path:
    """The weights file in `folder`, where config.json says what its header says."""
    weights = folder / WEIGHTS_FILE
    written, config = json.loads(_config_text(read_card(weights))), _read_config(folder)
    differing = [told for key in _COPIED for told in _differences(written.get(key), config.get(key), key)]
    if differing:
        raise WeightsError(
            f"{folder / CONFIG_FILE} says something else than {WEIGHTS_FILE} beside it: {shortened(differing, 3)}",
            allowed="a config.json that repeats the weights file",
            next_step=next_step,
        )
    return weights


def _read_config(folder: Path) -> Mapping[str, Any]:
    path = folder / CONFIG_FILE
    if not path.is_file():
        there = sorted(file.name for file in folder.glob("*.safetensors"))
        raise WeightsError(
            f"{folder} is a folder without {CONFIG_FILE}",
            allowed=f"a file, or a folder with {CONFIG_FILE} and {WEIGHTS_FILE} as kinema models publish writes it",
            next_step=f"give a file in it: {folder / there[0]}"
            if there
            else "give a .safetensors file that kinema wrote",
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(
            f"cannot read {path}: {error}", allowed="JSON, as kinema models publish writes it"
        ) from error
    if not isinstance(config, dict):
        raise WeightsError(f"{path} holds no JSON object", allowed="what kinema models publish writes")
    return config


def _require_ours(config: Mapping[str, Any], where: str, next_step: str) -> None:
    if config.get("library_name") == _LIBRARY:
        return
    labels = config.get("id2label")
    classes = f", {len(labels)} classes" if isinstance(labels, Mapping) else ""
    raise WeightsError(
        f"{where} holds a network of another program ({config.get('model_type', 'type not stated')}{classes})",
        allowed="a network that kinema published",
        next_step=next_step,
    )


def _differences(wanted: object, given: object, place: str) -> Iterator[str]:
    """Each place at which two JSON values differ, such as "id2label.0 ('calm' in the weights, 'quiet' here)"."""
    if isinstance(wanted, Mapping) and isinstance(given, Mapping):
        for key in dict.fromkeys((*wanted, *given)):
            yield from _differences(wanted.get(key), given.get(key), f"{place}.{key}")
    elif wanted != given:
        yield f"{place} ({reprlib.repr(wanted)} in the weights, {reprlib.repr(given)} here)"


def _library() -> ModuleType:
    try:
        import huggingface_hub  # noqa: PLC0415  an extra: only who names a repository needs it
        import huggingface_hub.constants  # noqa: PLC0415
        import huggingface_hub.errors  # noqa: PLC0415
    except ImportError as error:
        raise UsageError(
            "repositories on the Hugging Face Hub need the package huggingface_hub, which is not installed",
            allowed="files and folders",
            next_step="pip install 'kinema[hub]'",
        ) from error
    return huggingface_hub


def _fetch(hub: ModuleType, address: HubAddress, file: str) -> Path:
    with _told(hub, address, "read"):
        return Path(
            hub.hf_hub_download(
                address.repository,
                file,
                revision=address.revision,
                local_files_only=is_offline(),
                library_name=_LIBRARY,
            )
        )


@contextmanager
def _told(hub: ModuleType, address: HubAddress, intent: str) -> Iterator[None]:
    """Whatever the Hub's library raises, in words that lead on."""
    errors, host = hub.errors, hub.constants.ENDPOINT
    login = "check the name; for a private repository, hf auth login with an account that may " + intent
    try:
        yield
    except errors.HFValidationError as error:
        raise UsageError(f"{address} is no name on the Hub: {error}", allowed="hf://owner/name") from error
    except errors.LocalEntryNotFoundError as error:
        raise _not_here(hub, address, error) from error
    except errors.RevisionNotFoundError as error:
        raise WeightsError(f"{address} has no such revision", allowed="a branch, tag or commit of it") from error
    except errors.RepositoryNotFoundError as error:  # gated ones too
        raise WeightsError(
            f"{address} is not on {host}, or not for you", allowed="a repository", next_step=login
        ) from error
    except errors.EntryNotFoundError as error:
        raise WeightsError(
            f"{address} lacks {CONFIG_FILE} or {WEIGHTS_FILE}",
            allowed="a repository that kinema published",
            next_step="download what it has, then kinema models convert FILE --out OUT.safetensors",
        ) from error
    except Exception as error:  # the HTTP library, and with it what it raises, changes between versions of the Hub's
        refused = getattr(getattr(error, "response", None), "status_code", None) in (401, 403)
        raise WeightsError(
            f"cannot {intent} {address}: {str(error).strip() or type(error).__name__}",
            allowed=f"a connection to {host}" if not refused else f"an account that may {intent} it",
            next_step=login if refused else "try again later, or give a folder",
        ) from error


def _not_here(hub: ModuleType, address: HubAddress, error: Exception) -> WeightsError:
    forbidden = "KINEMA_OFFLINE" if is_offline() else "HF_HUB_OFFLINE" if hub.constants.HF_HUB_OFFLINE else ""
    if forbidden:
        return WeightsError(
            f"{address} was not fetched before, and {forbidden} forbids to fetch it",
            allowed="a repository in the Hub's cache, or a folder",
            next_step=f"unset {forbidden}, or copy the repository's files into a folder and give that",
        )
    cause = error.__cause__ or error
    return WeightsError(
        f"{hub.constants.ENDPOINT} cannot be reached for {address}: {str(cause).strip() or type(cause).__name__}",
        allowed="a connection to the Hub, or a repository in its cache",
        next_step="try again later, or copy the repository's files into a folder and give that",
    )
