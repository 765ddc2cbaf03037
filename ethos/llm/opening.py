"""Chooses a language model by name: ``transformers:NAME_OR_FOLDER``, ``transformers:BASE+ADAPTER`` or ``openai:NAME``.

The one place that knows all backends. A backend's libraries are imported only when one of its models is opened.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ethos.errors import ConfigurationError
from ethos.llm import LanguageModel, ModelIdentity
from ethos.llm.weights import SMOLLM2, adapter_weights, language_model_weights

DEFAULT_MODEL = f"transformers:{SMOLLM2}"
BACKENDS = ("openai", "transformers")
PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where ``openai:`` models are served. Nothing is sent anywhere unless `base_url` is given.

    Attributes:
        base_url: ``https://…/v1``, or http on this machine.
        api_key: Sent to that origin only; never logged or stored.
        in_flight: Most requests at once; None lets the backend choose.
    """

    base_url: str = ""
    api_key: str = field(default="", repr=False)
    in_flight: int | None = None


def open_model(name: str, endpoint: Endpoint, precision: str = "auto") -> LanguageModel:
    """Open the named model; its weights load, or its endpoint is called, at the first request.

    Raises:
        ConfigurationError: An unknown backend, no model name, a folder without a model, or an endpoint not given.
    """
    backend, model = _parted(name)
    if backend == "openai":
        if not endpoint.base_url:
            raise ConfigurationError(f"the model {name!r} needs an endpoint", "set ETHOS_BASE_URL, or give --base-url")
        from ethos.llm.backends.endpoint import EndpointModel

        return EndpointModel(model, base_url=endpoint.base_url, api_key=endpoint.api_key, in_flight=endpoint.in_flight)
    if precision not in PRECISIONS:
        raise ConfigurationError(f"unknown precision {precision!r}", f"choose one of {', '.join(PRECISIONS)}")
    base, adapter = _adapted(model)
    if adapter:
        from ethos.llm.backends.lora import AdaptedModel

        return AdaptedModel(base, adapter, precision)  # type: ignore[arg-type]  # checked above
    from ethos.llm.backends.transformers_local import LocalModel

    return LocalModel(model, precision)  # type: ignore[arg-type]  # checked above


def requested_identity(name: str, endpoint: Endpoint, precision: str = "auto") -> ModelIdentity:
    """Return the identity of the weights that `open_model` would open, without importing a backend.

    Not the identity that calls are recorded under: the precision is the one asked for, and an endpoint is named by its
    address.

    Raises:
        ConfigurationError: An unknown backend, no model name, or a folder without a model.
    """
    backend, model = _parted(name)
    if backend == "openai":
        return ModelIdentity(name, endpoint.base_url)
    base, adapter = _adapted(model)
    revision = language_model_weights(base).revision
    return ModelIdentity(name, f"{revision}+{adapter_weights(adapter).revision}" if adapter else revision, precision)


def _adapted(model: str) -> tuple[str, str]:
    """A local model and the adapter on it; a folder may have a plus in its name."""
    base, _, adapter = ("", "", "") if Path(model).expanduser().is_dir() else model.rpartition("+")
    return (base, adapter) if base and adapter else (model, "")


def _parted(name: str) -> tuple[str, str]:
    """Backend and model of a name."""
    backend, colon, model = name.partition(":")
    if not colon or not model:
        raise ConfigurationError(
            f"the model {name!r} does not say its backend",
            "name it transformers:NAME_OR_FOLDER or openai:NAME",
        )
    if backend not in BACKENDS:
        raise ConfigurationError(f"unknown model backend {backend!r}", "name the model transformers:… or openai:…")
    return backend, model
