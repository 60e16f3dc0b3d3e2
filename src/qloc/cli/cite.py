"""``qloc cite``: whom to cite for what was used."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final

import typer

from qloc.errors import InputError, SchemaError, message

REFERENCES: Final = {
    "ig": (
        "Sundararajan, Taly, Yan. Axiomatic Attribution for Deep Networks. ICML 2017. arXiv:1703.01365.",
        "Dai, Dong, Hao, Sui, Chang, Wei. Knowledge Neurons in Pretrained Transformers. ACL 2022. "
        "arXiv:2104.08696.",
    ),
    "amig": (
        "Chen, Cao, Chen, Liu, Zhao. Journey to the Center of the Knowledge Neurons: Discoveries of "
        "Language-Independent Knowledge Neurons and Degenerate Knowledge Neurons. AAAI 2024. "
        "arXiv:2308.13198.",
    ),
    "amig_as_coded": (
        "Chen, Cao, Chen, Liu, Zhao. Journey to the Center of the Knowledge Neurons: Discoveries of "
        "Language-Independent Knowledge Neurons and Degenerate Knowledge Neurons. AAAI 2024. "
        "arXiv:2308.13198.",
    ),
    "sig": (
        "Enguehard. Sequential Integrated Gradients: a simple but effective method for explaining language "
        "models. Findings of ACL 2023. arXiv:2305.15853.",
    ),
    "grad_x_act": (
        "Shrikumar, Greenside, Shcherbina, Kundaje. Not Just a Black Box: Learning Important Features "
        "Through Propagating Activation Differences. 2016. arXiv:1605.01713.",
    ),
    "consistency": (
        "Chen et al. Knowledge Localization: Mission Not Accomplished? Enter Query Localization! ICLR 2025. "
        "arXiv:2405.14117.",
    ),
    "minimal_pair": (
        "Niu, Liu, Zhu, Penn. What does the Knowledge Neuron Thesis Have to do with Knowledge? ICLR 2024. "
        "arXiv:2405.02421.",
    ),
    "pararel": (
        "Elazar et al. Measuring and Improving Consistency in Pretrained Language Models. TACL 2021. "
        "arXiv:2102.01017.",
        "Elsahar et al. T-REx: A Large Scale Alignment of Natural Language with Knowledge Base Triples. "
        "LREC 2018.",
    ),
    "blimp": (
        "Warstadt et al. BLiMP: The Benchmark of Linguistic Minimal Pairs for English. TACL 2020. "
        "arXiv:1912.00582.",
    ),
}
"""What is used → its sources."""


def cite(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[STORE|RESULTS]…", help="What to cite for, stores also by URL; without one, everything."
        ),
    ] = None,
) -> None:
    """List the references of every method and data set that stores or results used.

    \b
    Examples:
      qloc cite
      qloc cite gpt2.zarr gpt2-results
      qloc cite s3://bucket/gpt2.zarr
    """  # noqa: D301  (typer keeps what follows \b as it is)
    found = references_of(paths) if paths else [line for lines in REFERENCES.values() for line in lines]
    for line in dict.fromkeys(found):
        typer.echo(line)


def references_of(paths: Iterable[str]) -> list[str]:
    """The references of stores, packed or not or at a URL, and of results, each once.

    Raises
    ------
    InputError : paths that are neither; every one. MissingDependencyError, RemoteError : a URL that cannot
        be read.
    """
    found: dict[str, None] = {}
    problems: list[str] = []
    for path in paths:
        if Path(path, "study.json").exists():
            found.update(dict.fromkeys(_of_results(Path(path))))
            continue
        try:
            found.update(dict.fromkeys(_of_store(path)))
        except SchemaError:
            rule, action = "a store, or a folder with results", "Give what qloc extract or qloc analyze wrote"
            problems.append(message("path", path, rule, _at(path), action))
    if problems:
        raise InputError(problems)
    return list(found)


def _at(path: str) -> str:
    from qloc.store.files.url import is_url

    return path if is_url(path) else str(Path(path).absolute())


def _of_results(path: Path) -> list[str]:
    from qloc.analysis.results import load

    return [line for question in load(path).questions for line in question.references]


def _of_store(path: str) -> list[str]:
    from qloc.workflows.analyze import open_study

    study = open_study(path)
    kinds = set(study.column("queries", "kind").tolist())
    facts = str(study.attrs.get("facts", "")).partition(":")[0]
    used = [
        *study.methods,
        "consistency" if "fact" in kinds else "",
        "minimal_pair" if "minimal_pair" in kinds else "",
    ]
    return [line for name in (*used, facts) for line in REFERENCES.get(name, ())]
