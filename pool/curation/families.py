"""Sorts ethical frameworks and stakeholder roles, which are free text, into families.

Each text goes to the family of the example that it is nearest to, which is right for most texts and not for all: for 51
of 60 labelled roles of the starter pool, which were looked at while drafting the examples. No unseen sample was
labelled. Knows a lookup of vectors; knows no persona and no database.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from ethos.encoders.embedder import Vectors

FRAMEWORKS = {
    "Consequentialism": "consequentialism, utilitarianism, hedonism, welfare economics, cost-benefit, harm reduction",
    "Deontology": "Kantian deontology, duty-based ethics, moral absolutism, golden rule, legal obligation ethics",
    "Virtue ethics": "virtue ethics, Aristotelian ethics, Stoicism, moral character",
    "Care and relations": "care ethics, relational ethics, family ethics, palliative care ethics, compassion ethics",
    "Feminist and critical": "feminist ethics, reproductive justice, Marxist ethics, postcolonial ethics, critical "
    "race ethics, intersectional justice",
    "Professional and biomedical": "principlism, Hippocratic ethics, professional ethics, best interests standard, "
    "paternalism, bioethics",
    "Rights": "human rights framework, children's rights framework, disability rights, rule of law ethics",
    "Liberal and libertarian": "liberalism, libertarianism, liberal individualism, respect for autonomy",
    "Justice and equality": "egalitarianism, Rawlsian justice, prioritarianism, restorative justice, structural "
    "justice, disability justice, capabilities approach, cosmopolitanism",
    "Contract and discourse": "contractualism, social contract theory, discourse ethics, deliberative democracy",
    "Community and solidarity": "communitarianism, solidarity ethics, public health ethics, humanitarian ethics",
    "Abrahamic faiths": "Christian ethics, Catholic social teaching, Jewish halakhic ethics, Islamic ethics, Islamic "
    "bioethics, divine command ethics, natural law",
    "Asian traditions": "Buddhist ethics, Hindu dharma ethics, Confucian ethics, Taoist ethics, Sikh ethics",
    "African and Indigenous": "Ubuntu ethics, African communitarianism, Indigenous ethics",
    "Environment and animals": "environmental ethics, animal rights ethics",
    "Pragmatism and precaution": "pragmatism, situation ethics, precautionary ethics, prudential ethics, casuistry",
    "Existential and narrative": "existentialism, phenomenological ethics, narrative ethics",
}
STAKEHOLDERS = {
    "Patients": "patient, patient in hospital, woman living with a chronic illness, man recovering from addiction, "
    "person with a disability, pregnant woman, survivor of cancer, dialysis patient, person waiting for a transplant",
    "Parents": "parent, mother, father, mother of a sick child, father of two children, parent of a teenager, couple "
    "who want a child, single mother, foster mother",
    "Family and friends": "family member, daughter of an elderly patient, son caring for his father, husband, wife, "
    "widow, sister, brother, grandmother, uncle, friend, family caregiver, neighbour",
    "Doctors": "doctor, surgeon, general practitioner, psychiatrist, paediatrician, oncologist, medical student",
    "Nurses and health workers": "nurse, midwife, pharmacist, physiotherapist, psychologist, social worker, paramedic, "
    "hospital technician, counsellor, community health worker, healthcare provider, laboratory worker",
    "Government": "government, public health official, epidemiologist, health minister, policy maker, civil servant, "
    "immigration official, diplomat, hospital administrator, health inspector, customs officer",
    "Law and ethics": "lawyer, judge, police officer, human rights lawyer, hospital ethicist, philosopher, "
    "data protection officer, regulator, member of a complaints board",
    "Business and insurers": "insurance company manager, insurer, actuary, pharmaceutical company executive, employer, "
    "business owner, economist, shopkeeper, taxpayer",
    "Researchers": "medical researcher, scientist, software engineer, AI developer, geneticist, trial volunteer",
    "Faith and tradition": "priest, imam, rabbi, Buddhist monk, nun, chaplain, traditional healer, village elder",
    "Advocates and groups": "patient advocate, activist, campaigner, charity volunteer, trade union organiser, "
    "disability rights campaigner, community leader, journalist, humanitarian aid worker",
    "Schools and students": "teacher, student, university student, school principal, teenager, professor",
    "Workers and citizens": "farmer, factory worker, driver, clerk, tradesman, office worker, retired worker, actor, "
    "artist, athlete, soldier, cook, citizen, member of the public",
}
OTHER = "Other"
# Cosines below which the nearest example says nothing. Frameworks stand higher, since most share the word "ethics".
FRAMEWORK_FLOOR, STAKEHOLDER_FLOOR = 0.4, 0.3

_TAIL = re.compile(
    r",|\b(?:of|who|whose|with|in|at|on|for|from|and|that|which|living|waiting|caring|to|by|under|near)\b"
)


def sorted_into(
    families: Mapping[str, str],
    texts: Sequence[str],
    floor: float,
    vectors: Callable[[Iterable[str]], Mapping[str, Vectors]],
) -> tuple[str, ...]:
    """The family of each text: that of the nearest example, or `OTHER` where none reaches the floor.

    Half of the likeness is that of the text's head, which the rest of a long role would drown.

    Args:
        families: Examples of each, parted by commas.
        texts: Frameworks or roles.
        floor: Cosine below which the nearest example says nothing.
        vectors: Gives unit vectors of texts.
    """
    if not texts:
        return ()
    owner = {example: family for family, examples in families.items() for example in examples.split(", ")}
    heads = {text: head(text) for text in texts}
    found = vectors([*owner, *heads, *heads.values()])
    examples = np.stack([found[example] for example in owner])
    of: dict[str, str] = {}
    for text, start in heads.items():
        cosines = examples @ (found[text] + found[start]) / 2
        best = int(cosines.argmax())
        of[text] = list(owner.values())[best] if cosines[best] >= floor else OTHER
    return tuple(of[text] for text in texts)


def head(role: str) -> str:
    """What a role is first of all: "Mother of an office worker" is a mother."""
    return _TAIL.split(role)[0].strip() or role
