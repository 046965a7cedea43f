"""The network of texts: what is looked up while it is trained is what it is asked with."""

from __future__ import annotations

import torch

from foveal import nets
from foveal.inputs import Text

TEXTS = ("where is Leeds", "", "a word antidisestablishmentarianism", "ünïcode 東京 !")


def test_words_are_embedded_alike_while_training_and_after() -> None:
    """Values and gradients of the table, of texts with few words, none and long ones."""
    input = Text(size=8)
    x = torch.stack([torch.from_numpy(input.pack(text).array) for text in TEXTS])
    torch.manual_seed(0)
    embedding = nets.find("scratch").build(input).stages[0]
    found = []
    for training in (True, False):
        embedding.train(training).zero_grad()
        words = embedding(x)
        words.square().sum().backward()
        (gradient,) = (parameter.grad for parameter in embedding.parameters())
        assert gradient is not None
        found.append((words.detach(), gradient.clone()))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
    assert found[0][0].shape == (len(TEXTS), 128, 8)
    assert not found[0][0][1].any()  # nothing was said
