"""A local model with a LoRA adapter on it: ``transformers:BASE+ADAPTER``, folders or hub names.

The adapter is merged into the weights when they are loaded, so that the model computes as fast as without. Needs the
extra ``lora``.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any

from ethos.errors import ConfigurationError
from ethos.llm import ModelIdentity
from ethos.llm.backends.transformers_local import LocalModel, Precision
from ethos.llm.library_output import quietly
from ethos.llm.weights import Weights, adapter_weights


class AdaptedModel(LocalModel):
    """A transformers model with an adapter behind the `LanguageModel` protocol.

    Args:
        base: Folder or hub name of the model.
        adapter: Folder or hub name of the adapter.
        precision: As for `LocalModel`.

    Raises:
        ConfigurationError: A folder holds no model, or no adapter.
    """

    def __init__(self, base: str, adapter: str, precision: Precision = "auto") -> None:
        super().__init__(base, precision)
        self._adapter_name = adapter
        self._adapter: Weights = adapter_weights(adapter)

    @property
    def identity(self) -> ModelIdentity:
        """The base's, and which adapter is on it."""
        base = super().identity
        return ModelIdentity(
            f"{base.name}+{self._adapter_name}", f"{base.revision}+{self._adapter.revision}", base.precision
        )

    def _loaded(self) -> Any:
        try:
            peft = import_module("peft")
        except ModuleNotFoundError as error:
            raise ConfigurationError("adapters need the package peft", "pip install 'ethos-pool[lora]'") from error
        base = super()._loaded()
        try:
            with quietly(), warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by names that are going
                return peft.PeftModel.from_pretrained(base, self._adapter.location).merge_and_unload()
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigurationError(
                f"the adapter {self._adapter_name} cannot be put on {self._name}: {str(error).splitlines()[0]}",
                "name an adapter of this very model",
            ) from error
