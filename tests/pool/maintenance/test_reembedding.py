"""A pool remembers its encoder: commands use it unasked, and another one is refused by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from ethos import Ethos
from ethos.cli import main
from ethos.encoders.embedder import open_embedder
from ethos.errors import ConfigurationError
from ethos.llm.weights import MINILM, embedder_weights
from ethos.pool.maintenance.reembedding import reembed


def test_a_pool_is_opened_with_the_encoder_it_was_last_encoded_with(tmp_path: Path) -> None:
    copy = tmp_path / "my-encoder"
    shutil.copytree(embedder_weights(MINILM).location, copy)
    with Ethos(tmp_path / "pool") as ethos:
        assert ethos.embedder.identity.name == MINILM
        reembed(ethos.pool.database, open_embedder(str(copy)), lambda *_: None)
    with Ethos(tmp_path / "pool") as ethos:
        assert ethos.embedder.identity.name == str(copy)
    with pytest.raises(ConfigurationError, match=r"is encoded with .*my-encoder"):
        Ethos(tmp_path / "pool", embedder=open_embedder(MINILM))
    stats = ["pool", "stats", "--pool", str(tmp_path / "pool")]
    assert CliRunner().invoke(main, stats).exit_code == 0
    refused = CliRunner().invoke(main, [*stats, "--embedder", MINILM])
    assert (refused.exit_code, "ethos pool reembed" in refused.stderr) == (1, True)
