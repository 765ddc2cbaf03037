"""The card of a dataset folder: what a reader, and the Hugging Face hub, should know of it.

Knows a manifest; knows neither files nor tables. Texts in a manifest may come from anywhere, so they
stand in the card as code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ethos.pool.exchange_manifest import Manifest

# The hub knows licences by these identifiers; any other is named in the text.
_LICENCES = {"mit": "mit", "apache-2.0": "apache-2.0", "cc0-1.0": "cc0-1.0", "cc-by-4.0": "cc-by-4.0"}
_LICENCES |= {"cc-by-sa-4.0": "cc-by-sa-4.0", "cc-by-nc-4.0": "cc-by-nc-4.0"}


def card(manifest: Manifest) -> str:
    """The README.md of a dataset folder."""
    licences = {name.strip().lower() for name in manifest.licences}
    (licence,) = licences if len(licences) == 1 else {"other"}
    files = "".join(f"      - data/{file.name}\n" for file in manifest.files)
    return f"""---
license: {_LICENCES.get(licence, "other")}
tags:
- ethos-pool
- moral-personas
- health
configs:
- config_name: default
  data_files:
  - split: train
    path:
{files}---

# A pool of moral personas for health scenarios

{manifest.personas:,} personas, made for {manifest.scenarios:,} scenarios, in {manifest.rows:,} rows: one a persona and
a way it came to be. Written by Ethos {manifest.ethos_version} on {manifest.created_at}.

    ethos pool import FOLDER            # quarantined until `ethos pool approve --source NAME`
    ethos pool pull OWNER/NAME

**Scenarios may hold personal text.** Look through them before you share this folder.

| column | meaning |
| --- | --- |
| `persona_id` | content address of the six texts |
| `name`, `core_value`, `ethical_framework`, `right_duty`, `emotion`, `stakeholder_role` | the persona |
| `scenario`, `options` | what it was made for |
| `kind` | `curated`, `generated` or `imported` |
| `model`, `model_revision`, `model_precision`, `prompt_set`, `seed` | of a generated one |
| `source`, `licence` | of a collection |
| `status` | `active`, `quarantined` or `retired` |
| `panels` | places in panels that were made for the scenario |

Rows by kind, licence, and model or collection:

{_counts("kind", manifest.origin_kinds)}
{_counts("licence", manifest.licences)}
{_counts("from", manifest.sources)}
`ethos-pool.json` holds the same counts and the SHA-256 of every file. There is no index and no code in this folder.
"""


def _counts(what: str, counts: Mapping[str, int]) -> str:
    rows = "".join(f"| {_code(name)} | {count:,} |\n" for name, count in list(counts.items())[:50])
    return f"| {what} | rows |\n| --- | --- |\n{rows}"


def _code(text: str) -> str:
    """A text as code in a table's cell: nothing in it can become a link, markup or another cell."""
    plain = " ".join(re.sub(r"[`|]", " ", text).split())
    return f"`{plain[:200]}`" if plain else "none told"
