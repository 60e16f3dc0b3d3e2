"""The bibliography: every source once, and which method, edit, phase or data set takes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from qloc.version import __version__


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One published source.

    Parameters
    ----------
    authors : str
        All of them as the source has them, or the first and "et al.".
    short : str
        The same as running text has it, such as ``Dai et al.``
    title : str
        Without a full stop at its end; question and exclamation marks stay.
    venue : str
        Journal or conference, and volume.
    year : int
        Of that publication.
    arxiv : str, default ""
        Number of the preprint.
    """

    authors: str
    short: str
    title: str
    venue: str
    year: int
    arxiv: str = ""

    def line(self, where: str = "") -> str:
        """Return the whole reference as one line.

        Parameters
        ----------
        where : str, default ""
            A section, an equation or a page in it.

        Returns
        -------
        str
            ``Authors. Title. Venue year. arXiv:number, where.``

        Examples
        --------
        >>> BIBLIOGRAPHY["dai2022"].line("§4")
        'Dai, Dong, Hao, Sui, Chang, Wei. Knowledge Neurons in Pretrained Transformers. ACL 2022.
        arXiv:2104.08696, §4.'
        """
        end = "" if self.title.endswith(("?", "!")) else "."
        parts = [f"{self.authors.rstrip('.')}. {self.title}{end} {self.venue} {self.year}"]
        parts += [f". arXiv:{self.arxiv}"] if self.arxiv else []
        parts += [f", {where}"] if where else []
        return "".join(parts) + "."

    def in_text(self) -> str:
        """Return author and year, with the preprint's number.

        Returns
        -------
        str
            Such as ``Dai et al. 2022 (arXiv:2104.08696)``.
        """
        return f"{self.short} {self.year}" + (f" (arXiv:{self.arxiv})" if self.arxiv else "")

    def bibtex(self, key: str) -> str:
        """Return the reference as a BibTeX entry.

        Parameters
        ----------
        key : str
            Of the bibliography.

        Returns
        -------
        str
            An ``@misc`` entry, since ``venue`` does not tell journals from conferences: where it appeared
            stands in ``howpublished``, the preprint in ``eprint``.

        Examples
        --------
        >>> print(BIBLIOGRAPHY["dai2022"].bibtex("dai2022"))
        @misc{dai2022,
          author = {Dai and Dong and Hao and Sui and Chang and Wei},
          title = {{Knowledge Neurons in Pretrained Transformers}},
          howpublished = {ACL},
          year = {2022},
          eprint = {2104.08696},
          archiveprefix = {arXiv},
        }
        """
        named = self.authors.replace(" et al.", ", others")
        fields = {
            "author": " and ".join(named.split(", ")),
            "title": f"{{{self.title}}}",
            "howpublished": self.venue.rstrip(",").replace("&", r"\&"),
            "year": str(self.year),
        }
        fields |= {"eprint": self.arxiv, "archiveprefix": "arXiv"} if self.arxiv else {}
        return _entry("misc", key, fields)


def _entry(kind: str, key: str, fields: Mapping[str, str]) -> str:
    lines = [f"  {name} = {{{value}}},\n" for name, value in fields.items()]
    return f"@{kind}{{{key},\n{''.join(lines)}}}"


BIBLIOGRAPHY: Final[Mapping[str, Reference]] = {
    "brown1910": Reference(
        authors="Brown",
        short="Brown",
        title="Some Experimental Results in the Correlation of Mental Abilities",
        venue="British Journal of Psychology 3,",
        year=1910,
    ),
    "cameron2011": Reference(
        authors="Cameron, Gelbach, Miller",
        short="Cameron, Gelbach & Miller",
        title="Robust Inference with Multiway Clustering",
        venue="Journal of Business & Economic Statistics 29,",
        year=2011,
    ),
    "cameron2015": Reference(
        authors="Cameron, Miller",
        short="Cameron & Miller",
        title="A Practitioner's Guide to Cluster-Robust Inference",
        venue="Journal of Human Resources 50,",
        year=2015,
    ),
    "chen2024": Reference(
        authors="Chen, Cao, Chen, Liu, Zhao",
        short="Chen et al.",
        title="Journey to the Center of the Knowledge Neurons: Discoveries of Language-Independent "
        "Knowledge Neurons and Degenerate Knowledge Neurons",
        venue="AAAI",
        year=2024,
        arxiv="2308.13198",
    ),
    "chen2025": Reference(
        authors="Chen et al.",
        short="Chen et al.",
        title="Knowledge Localization: Mission Not Accomplished? Enter Query Localization!",
        venue="ICLR",
        year=2025,
        arxiv="2405.14117",
    ),
    "dai2022": Reference(
        authors="Dai, Dong, Hao, Sui, Chang, Wei",
        short="Dai et al.",
        title="Knowledge Neurons in Pretrained Transformers",
        venue="ACL",
        year=2022,
        arxiv="2104.08696",
    ),
    "efron2016": Reference(
        authors="Efron",
        short="Efron",
        title="Empirical Bayes Deconvolution Estimates",
        venue="Biometrika 103,",
        year=2016,
    ),
    "elazar2021": Reference(
        authors="Elazar et al.",
        short="Elazar et al.",
        title="Measuring and Improving Consistency in Pretrained Language Models",
        venue="TACL",
        year=2021,
        arxiv="2102.01017",
    ),
    "elsahar2018": Reference(
        authors="Elsahar et al.",
        short="Elsahar et al.",
        title="T-REx: A Large Scale Alignment of Natural Language with Knowledge Base Triples",
        venue="LREC",
        year=2018,
    ),
    "enguehard2023": Reference(
        authors="Enguehard",
        short="Enguehard",
        title="Sequential Integrated Gradients: a simple but effective method for explaining language models",
        venue="Findings of ACL",
        year=2023,
        arxiv="2305.15853",
    ),
    "harris2020": Reference(
        authors="Harris et al.",
        short="Harris et al.",
        title="Array Programming with NumPy",
        venue="Nature 585,",
        year=2020,
    ),
    "hoyer2017": Reference(
        authors="Hoyer, Hamman",
        short="Hoyer & Hamman",
        title="xarray: N-D Labeled Arrays and Datasets in Python",
        venue="Journal of Open Research Software 5,",
        year=2017,
    ),
    "hunter2007": Reference(
        authors="Hunter",
        short="Hunter",
        title="Matplotlib: A 2D Graphics Environment",
        venue="Computing in Science & Engineering 9,",
        year=2007,
    ),
    "levy2017": Reference(
        authors="Levy, Seo, Choi, Zettlemoyer",
        short="Levy et al.",
        title="Zero-Shot Relation Extraction via Reading Comprehension",
        venue="CoNLL",
        year=2017,
        arxiv="1706.04115",
    ),
    "meng2022": Reference(
        authors="Meng, Bau, Andonian, Belinkov",
        short="Meng et al.",
        title="Locating and Editing Factual Associations in GPT",
        venue="NeurIPS",
        year=2022,
        arxiv="2202.05262",
    ),
    "niu2024": Reference(
        authors="Niu, Liu, Zhu, Penn",
        short="Niu et al.",
        title="What does the Knowledge Neuron Thesis Have to do with Knowledge?",
        venue="ICLR",
        year=2024,
        arxiv="2405.02421",
    ),
    "otsu1979": Reference(
        authors="Otsu",
        short="Otsu",
        title="A Threshold Selection Method from Gray-Level Histograms",
        venue="IEEE Transactions on Systems, Man, and Cybernetics 9,",
        year=1979,
    ),
    "paszke2019": Reference(
        authors="Paszke et al.",
        short="Paszke et al.",
        title="PyTorch: An Imperative Style, High-Performance Deep Learning Library",
        venue="NeurIPS",
        year=2019,
        arxiv="1912.01703",
    ),
    "phipson2010": Reference(
        authors="Phipson, Smyth",
        short="Phipson & Smyth",
        title="Permutation P-values Should Never Be Zero",
        venue="Statistical Applications in Genetics and Molecular Biology 9,",
        year=2010,
    ),
    "seabold2010": Reference(
        authors="Seabold, Perktold",
        short="Seabold & Perktold",
        title="statsmodels: Econometric and Statistical Modeling with Python",
        venue="Python in Science Conference",
        year=2010,
    ),
    "shrikumar2016": Reference(
        authors="Shrikumar, Greenside, Shcherbina, Kundaje",
        short="Shrikumar et al.",
        title="Not Just a Black Box: Learning Important Features Through Propagating Activation Differences",
        venue="arXiv",
        year=2016,
        arxiv="1605.01713",
    ),
    "simonsohn2020": Reference(
        authors="Simonsohn, Simmons, Nelson",
        short="Simonsohn et al.",
        title="Specification Curve Analysis",
        venue="Nature Human Behaviour 4,",
        year=2020,
    ),
    "spearman1910": Reference(
        authors="Spearman",
        short="Spearman",
        title="Correlation Calculated from Faulty Data",
        venue="British Journal of Psychology 3,",
        year=1910,
    ),
    "steegen2016": Reference(
        authors="Steegen, Tuerlinckx, Gelman, Vanpaemel",
        short="Steegen et al.",
        title="Increasing Transparency Through a Multiverse Analysis",
        venue="Perspectives on Psychological Science 11,",
        year=2016,
    ),
    "sundararajan2017": Reference(
        authors="Sundararajan, Taly, Yan",
        short="Sundararajan et al.",
        title="Axiomatic Attribution for Deep Networks",
        venue="ICML",
        year=2017,
        arxiv="1703.01365",
    ),
    "virtanen2020": Reference(
        authors="Virtanen et al.",
        short="Virtanen et al.",
        title="SciPy 1.0: Fundamental Algorithms for Scientific Computing in Python",
        venue="Nature Methods 17,",
        year=2020,
        arxiv="1907.10121",
    ),
    "warstadt2020": Reference(
        authors="Warstadt et al.",
        short="Warstadt et al.",
        title="BLiMP: The Benchmark of Linguistic Minimal Pairs for English",
        venue="TACL",
        year=2020,
        arxiv="1912.00582",
    ),
    "webb2023": Reference(
        authors="Webb",
        short="Webb",
        title="Reworking Wild Bootstrap-Based Inference for Clustered Errors",
        venue="Canadian Journal of Economics 56,",
        year=2023,
    ),
    "wolf2020": Reference(
        authors="Wolf et al.",
        short="Wolf et al.",
        title="Transformers: State-of-the-Art Natural Language Processing",
        venue="EMNLP: System Demonstrations",
        year=2020,
        arxiv="1910.03771",
    ),
}
"""Key → source. A key is the first author and the year."""

METHODS: Final[Mapping[str, tuple[str, ...]]] = {
    "ig": ("sundararajan2017", "dai2022"),
    "ig_mean": ("sundararajan2017", "dai2022"),
    "amig": ("chen2024",),
    "amig_mean_path": ("chen2024",),
    "sig": ("enguehard2023",),
    "grad_x_act": ("shrikumar2016",),
}
"""Attribution method → keys."""

KINDS: Final[Mapping[str, tuple[str, ...]]] = {"fact": ("chen2025",), "minimal_pair": ("niu2024",)}
"""Kind of query → keys."""

PHASES: Final[Mapping[str, tuple[str, ...]]] = {
    "interventions": ("dai2022", "chen2025"),
    "synapses": ("chen2025",),
    "edits": ("dai2022", "chen2025"),
    "tracing": ("meng2022",),
    "entailments": ("niu2024", "meng2022"),
}
"""Group of a store that a phase after ``signals`` fills → keys."""

EDIT_SETS: Final[Mapping[str, tuple[str, ...]]] = {
    "cas": ("chen2025",),
    "cas_top": ("chen2025",),
    "cas_no_penalty": ("chen2025",),
    "rome": ("meng2022",),
    "rome_identity": ("meng2022",),
    "rome_as_coded": ("meng2022",),
    "rome_traced": ("meng2022",),
}
"""Set of ``/edits`` → keys, where it has a source beside those of its phase."""

DATA_SETS: Final[Mapping[str, tuple[str, ...]]] = {
    "pararel": ("elazar2021", "elsahar2018"),
    "blimp": ("warstadt2020",),
    "counterfact": ("meng2022",),
    "zsre": ("levy2017", "meng2022"),
}
"""Prefix of --facts → keys."""


SOFTWARE: Final = (
    "paszke2019",
    "wolf2020",
    "harris2020",
    "virtanen2020",
    "seabold2010",
    "hoyer2017",
    "hunter2007",
)
"""Keys of the software that runs models, computes and draws: what a paper cites beside qloc."""


def cited(*keys: str, where: str = "") -> tuple[str, ...]:
    """Return references by their keys.

    Parameters
    ----------
    *keys : str
        Of the bibliography.
    where : str, default ""
        A section, an equation or a page in each of them.

    Returns
    -------
    tuple of str
        One line each.

    Examples
    --------
    >>> cited("niu2024")
    ('Niu, Liu, Zhu, Penn. What does the Knowledge Neuron Thesis Have to do with Knowledge? ICLR 2024.
    arXiv:2405.02421.',)
    """
    return tuple(BIBLIOGRAPHY[key].line(where) for key in keys)


def sources_of(
    *,
    methods: Iterable[str] = (),
    kinds: Iterable[str] = (),
    phases: Iterable[str] = (),
    edit_sets: Iterable[str] = (),
    facts: str = "",
) -> tuple[str, ...]:
    """Return the references of everything that a store used, each once.

    Parameters
    ----------
    methods : iterable of str
        Attribution methods.
    kinds : iterable of str
        Kinds of queries: ``fact``, ``minimal_pair``.
    phases : iterable of str
        Groups of phases after ``signals``.
    edit_sets : iterable of str
        Sets of the edits.
    facts : str, default ""
        What --facts was, such as ``pararel:pararel/data``.

    Returns
    -------
    tuple of str
        Lines, in the order of methods, kinds, phases, edits and data. What has no source is left out.

    Examples
    --------
    >>> [line.partition(".")[0] for line in sources_of(edit_sets=["rome"], facts="zsre:zsre.json")]
    ['Meng, Bau, Andonian, Belinkov', 'Levy, Seo, Choi, Zettlemoyer']
    """
    tables = ((METHODS, methods), (KINDS, kinds), (PHASES, phases), (EDIT_SETS, edit_sets))
    keys = [key for table, names in tables for name in names for key in table.get(name, ())]
    return cited(*dict.fromkeys([*keys, *DATA_SETS.get(facts.partition(":")[0], ())]))


def place_of(line: str) -> tuple[str, str]:
    """Return what a reference is in the bibliography.

    Parameters
    ----------
    line : str
        As :meth:`Reference.line` has it.

    Returns
    -------
    key, where : str
        Its key, and the section, equation or page; both empty for a source that is not in it.

    Examples
    --------
    >>> place_of(BIBLIOGRAPHY["niu2024"].line("§4")), place_of("Somebody. Elsewhere.")
    (('niu2024', '§4'), ('', ''))
    """
    for key, one in BIBLIOGRAPHY.items():
        if line.startswith(one.line()[:-1]):
            return key, line.removeprefix(one.line()[:-1]).removesuffix(".").lstrip(", ")
    return "", ""


def bibtex_of(lines: Iterable[str]) -> str:
    """Return BibTeX entries for references, for qloc and for the software in it.

    Parameters
    ----------
    lines : iterable of str
        References as :meth:`Reference.line` has them, with or without a place in them.

    Returns
    -------
    str
        Each entry once, by key, qloc first; a blank line between two.

    Examples
    --------
    >>> entries = bibtex_of(cited("niu2024", where="§4"))
    >>> "@misc{niu2024," in entries, entries.splitlines()[0]
    (True, '@software{qloc,')
    """
    keys = {key for line in lines if (key := place_of(line)[0])}
    fields = {"author": "{qloc contributors}", "title": "{qloc: where does a language model keep a fact?}"}
    own = _entry("software", "qloc", {**fields, "version": __version__})
    return "\n\n".join([own, *(BIBLIOGRAPHY[key].bibtex(key) for key in sorted(keys | {*SOFTWARE}))]) + "\n"
