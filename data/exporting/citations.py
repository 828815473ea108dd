"""BibTeX of the papers that a set rests on, and of the set itself."""

from __future__ import annotations

import re

from data.exporting.about import About, source_of, title_of
from data.reading import ImageSet

_PAPERS = {
    "cgan_kd": """\
@article{ding2023distilling,
  title = {Distilling and transferring knowledge via {cGAN}-generated samples for image classification and regression},
  author = {Ding, Xin and Wang, Yongwei and Xu, Zuheng and Wang, Z. Jane and Welch, William J.},
  journal = {Expert Systems with Applications}, volume = {213}, pages = {119060}, year = {2023},
  note = {arXiv:2104.03164}
}""",
    "cdr_rs": """\
@article{ding2023efficient,
  title = {Efficient subsampling of realistic images from {GANs} conditional on a class or a continuous variable},
  author = {Ding, Xin and Wang, Yongwei and Wang, Z. Jane and Welch, William J.},
  journal = {Neurocomputing}, volume = {517}, pages = {188--200}, year = {2023}, note = {arXiv:2103.11166}
}""",
    "ccgan": """\
@article{ding2023ccgan,
  title = {Continuous Conditional Generative Adversarial Networks: Novel Empirical Losses and Label Input Mechanisms},
  author = {Ding, Xin and Wang, Yongwei and Xu, Zuheng and Welch, William J. and Wang, Z. Jane},
  journal = {IEEE Transactions on Pattern Analysis and Machine Intelligence}, volume = {45}, number = {7},
  pages = {8143--8158}, year = {2023}, note = {arXiv:2011.07466}
}""",
    "mixup": """\
@inproceedings{zhang2018mixup,
  title = {mixup: Beyond Empirical Risk Minimization},
  author = {Zhang, Hongyi and Cisse, Moustapha and Dauphin, Yann N. and Lopez-Paz, David},
  booktitle = {International Conference on Learning Representations}, year = {2018}, note = {arXiv:1710.09412}
}""",
    "cutmix": """\
@inproceedings{yun2019cutmix,
  title = {{CutMix}: Regularization Strategy to Train Strong Classifiers with Localizable Features},
  author = {Yun, Sangdoo and Han, Dongyoon and Oh, Seong Joon and Chun, Sanghyuk and Choe, Junsuk and Yoo, Youngjoon},
  booktitle = {International Conference on Computer Vision}, year = {2019}, note = {arXiv:1905.04899}
}""",
    "digits": """\
@misc{alpaydin1998digits,
  title = {Optical Recognition of Handwritten Digits}, author = {Alpaydin, Ethem and Kaynak, Cenk},
  publisher = {UCI Machine Learning Repository}, year = {1998}, doi = {10.24432/C50P49}
}""",
    "fashion_mnist": """\
@misc{xiao2017fashion,
  title = {{Fashion-MNIST}: a Novel Image Dataset for Benchmarking Machine Learning Algorithms},
  author = {Xiao, Han and Rasul, Kashif and Vollgraf, Roland}, year = {2017}, note = {arXiv:1708.07747}
}""",
    "cifar": """\
@techreport{krizhevsky2009learning,
  title = {Learning Multiple Layers of Features from Tiny Images}, author = {Krizhevsky, Alex},
  institution = {University of Toronto}, year = {2009}
}""",
    "tiny_imagenet": """\
@techreport{le2015tiny,
  title = {Tiny {ImageNet} Visual Recognition Challenge}, author = {Le, Ya and Yang, Xuan},
  institution = {Stanford University, CS 231N}, year = {2015}
}""",
    "imagenet": """\
@article{russakovsky2015imagenet,
  title = {{ImageNet} Large Scale Visual Recognition Challenge},
  author = {Russakovsky, Olga and Deng, Jia and Su, Hao and Krause, Jonathan and Satheesh, Sanjeev and Ma, Sean and
    Huang, Zhiheng and Karpathy, Andrej and Khosla, Aditya and Bernstein, Michael and Berg, Alexander C. and
    Fei-Fei, Li},
  journal = {International Journal of Computer Vision}, volume = {115}, number = {3}, pages = {211--252}, year = {2015}
}""",
    "utkface": """\
@inproceedings{zhang2017age,
  title = {Age Progression/Regression by Conditional Adversarial Autoencoder},
  author = {Zhang, Zhifei and Song, Yang and Qi, Hairong},
  booktitle = {Conference on Computer Vision and Pattern Recognition}, year = {2017}, note = {arXiv:1702.08423}
}""",
}

# What papers a source rests on, by its name.
_SOURCES = {
    "digits": ["digits"],
    "fashion_mnist": ["fashion_mnist"],
    "cifar10": ["cifar"],
    "cifar100": ["cifar"],
    "tiny_imagenet": ["tiny_imagenet", "imagenet"],
    "imagenet100": ["imagenet"],
    "rc49": ["ccgan"],
    "cell200": ["ccgan"],
    "steering_angle": ["ccgan"],
    "utkface": ["utkface"],
}
_LATEX = {sign: f"\\{sign}" for sign in "&%#_$"} | {
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
}
_GENERATED = ("candidates", "draws", "examples", "samples", "synthetic")


def cite_set(found: ImageSet, about: About) -> str:
    """BibTeX of the set, which LaTeX can typeset whatever is in it; its content digest names it exactly."""
    fields = {
        "title": f"{{{_text(title_of(found, about))}}}",
        "author": " and ".join(f"{{{_text(name)}}}" for name in about.creators),
        "publisher": _text(about.publisher),
        "year": about.published[:4],
        "version": about.version,
        "url": _address(about.url),
        "note": f"SHA-256 of the content: {found.content_sha256}",
    }
    lines = [f"  {name} = {{{value}}}" for name, value in fields.items() if value]
    key = re.sub(r"[^a-z0-9]+", "-", title_of(found, about).lower()).strip("-") or "set"
    return f"@misc{{{key},\n" + ",\n".join(lines) + "\n}"


def papers_of(found: ImageSet, about: About) -> list[str]:
    """BibTeX of the papers whose data and methods are in a set, as far as its provenance and history tell."""
    source = source_of(found, about)
    names = list(_SOURCES.get(source.split(" ")[0], []))
    if found.kind in _GENERATED:
        names += ["cgan_kd"]
        facts = {name: value for step in about.history for name, value in step.facts.items()}
        told = found.provenance.get("candidates")
        if facts.get("subsample") == "yes" or (isinstance(told, dict) and told.get("subsample") is True):
            names.append("cdr_rs")
        if found.label_space.dimensions:
            names.append("ccgan")
    kind = str(found.provenance.get("mix", found.provenance.get("kind", "")))
    if found.kind in ("mixes", "mixed"):
        names += [name for name in ("mixup", "cutmix") if name in kind.lower()] or ["mixup", "cutmix"]
    return [_PAPERS[name] for name in dict.fromkeys(names)]


def _text(text: str) -> str:
    """One line that LaTeX typesets as it stands, for a field in braces, in which they must be balanced."""
    line = "".join(sign for sign in " ".join(text.split()) if sign.isprintable())
    depth = 0
    for sign in line:
        depth += (sign == "{") - (sign == "}")
        if depth < 0:
            break
    if depth:
        line = line.replace("{", "(").replace("}", ")")
    return "".join(_LATEX.get(sign, sign) for sign in line)


def _address(url: str) -> str:
    """An address, which LaTeX reads as it stands but for braces and backslashes."""
    return url.replace("{", "%7B").replace("}", "%7D").replace("\\", "%5C")
