"""`grammar`: text of a small grammar of English sentences, whose entropy is known.

For language models as small as the studies here: no file to find, no licence, any amount of it, and a floor for the
loss. Sentences are independent; verbs agree with their nouns, across relative clauses too, as in Linzen et al. 2016.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from batchscope.data.dataset import RawData
from batchscope.data.readers.text import SEQUENCE_LENGTH, sequences
from batchscope.data.registry import generated
from batchscope.data.seeding import Stream, generator
from batchscope.errors import InputError

ALPHABET = " .abcdefghijklmnopqrstuvwxyz"
START = "TEXT"
# Symbol -> (probability, what it becomes); symbols in capitals, 1 for singular and 2 for plural. Every choice shows in
# the next word, so a sentence has one derivation, and the entropy of derivations is that of the text.
Rules = Mapping[str, tuple[tuple[float, str], ...]]


def _words(text: str) -> tuple[tuple[float, str], ...]:
    return tuple((1 / len(text.split()), word) for word in text.split())


def _of_number(number: str, nouns: str, verbs: str, transitive: str, articles: str) -> Rules:
    rules: Rules = {
        "S": ((1.0, "NP VP ."),),
        "NP": ((0.6, "D NOM"), (0.2, "D NOM PP"), (0.2, "D NOM REL")),
        "NOM": ((0.7, "N"), (0.3, "ADJ N")),
        "REL": ((0.5, "that VP"), (0.25, "that NP1 VT1"), (0.25, "that NP2 VT2")),
        "VP": ((0.4, "VI"), (0.3, "VT NP1"), (0.3, "VT NP2")),
        "N": _words(nouns),
        "VI": _words(verbs),
        "VT": _words(transitive),
        "D": _words(articles),
    }
    own = {name: f"{name}{number}" for name in rules}
    return {
        own[name]: tuple((p, " ".join(own.get(word, word) for word in text.split())) for p, text in choices)
        for name, choices in rules.items()
    }


RULES: Rules = {
    START: ((0.5, "S1"), (0.5, "S2")),
    "PP": ((0.5, "P NP1"), (0.5, "P NP2")),
    "P": _words("near behind beside above"),
    "ADJ": _words("old small quiet brave green tired clever young"),
    **_of_number(
        "1",
        "cat dog bird child farmer sailor teacher horse wolf queen singer baker",
        "sleeps waits laughs runs sings smiles",
        "sees likes follows hears helps fears",
        "the a every this",
    ),
    **_of_number(
        "2",
        "cats dogs birds children farmers sailors teachers horses wolves queens singers bakers",
        "sleep wait laugh run sing smile",
        "see like follow hear help fear",
        "the some many these",
    ),
}


@generated("grammar", "generated: sentences of a small English grammar, next character (1024 + 256 sequences of 64)")
def grammar(
    *, seed: int = 0, num_examples: int = 1024, num_heldout: int = 256, sequence_length: int = SEQUENCE_LENGTH
) -> RawData:
    """Return sequences of characters of generated sentences, each predicting the next.

    Tokens are the numbers of ALPHABET. Training and held-out sequences are cut from independent texts.
    """
    if min(num_examples, num_heldout, sequence_length) < 1:
        raise InputError(
            f"grammar: {num_examples} + {num_heldout} sequences of {sequence_length}; expected at least one of each"
        )
    train, heldout = (
        np.array([ALPHABET.index(letter) for letter in _text(seed, part, count * sequence_length + 1)], dtype=np.uint8)
        for part, count in enumerate((num_examples, num_heldout))
    )
    return sequences(
        train,
        heldout,
        sequence_length,
        len(ALPHABET),
        name="grammar",
        title="Grammar (generated sentences)",
        source=f"Generated: sentences of a grammar of {len(RULES)} symbols, {entropy_rate():.4f} nats per character, "
        f"seed {seed}.",
    )


def sentence(draw: np.random.Generator) -> tuple[str, float]:
    """One sentence with the space after it, and the logarithm of its probability."""
    words, log_probability, waiting = list[str](), 0.0, [START]
    while waiting:
        symbol = waiting.pop()
        if symbol not in RULES:
            words.append(symbol)
            continue
        probability, text = _chosen(symbol, draw.random())
        log_probability += math.log(probability)
        waiting += reversed(text.split())
    return " ".join(words).replace(" .", ".") + " ", log_probability


def entropy_rate() -> float:
    """Return the entropy of the text in nats per character: that of a sentence over its mean length.

    Of a symbol X, H(X) = Σ_r p_r (-ln p_r + Σ_{Y in r} H(Y)), and likewise the mean number of characters: two linear
    systems. No model can have a lower expected loss on text that it has not seen.
    """
    symbols = {symbol: place for place, symbol in enumerate(RULES)}
    children = np.zeros((len(symbols), len(symbols)))
    own = np.zeros((len(symbols), 2))  # entropy of the choice, characters of the words in it
    for symbol, place in symbols.items():
        for probability, text in RULES[symbol]:
            own[place] -= probability * np.array([math.log(probability), 0.0])
            for word in text.split():
                if word in symbols:
                    children[place, symbols[word]] += probability
                else:
                    own[place, 1] += probability * (1 if word == "." else len(word) + 1)
    entropy, length = np.linalg.solve(np.eye(len(symbols)) - children, own)[symbols[START]]
    return float(entropy / length)


def _chosen(symbol: str, number: float) -> tuple[float, str]:
    """The choice of a symbol that a uniform number falls on."""
    for probability, text in RULES[symbol]:
        number -= probability
        if number < 0:
            return probability, text
    return RULES[symbol][-1]  # rounding of probabilities that add up to 1


def _text(seed: int, part: int, length: int) -> str:
    draw, pieces, so_far = generator(seed, Stream.GRAMMAR, part), list[str](), 0
    while so_far < length:
        pieces.append(sentence(draw)[0])
        so_far += len(pieces[-1])
    return "".join(pieces)[:length]
