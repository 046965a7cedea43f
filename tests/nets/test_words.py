"""The network of texts: what is looked up while it is trained is what it is asked with."""

from __future__ import annotations

import torch

from foveal import nets
from foveal.inputs import Text

TEXTS = ("where is Leeds", "", "a word antidisestablishmentarianism", "ünïcode 東京 ! and three more words")


def test_words_are_looked_at_alike_while_training_and_after() -> None:
    """Values and gradients, of texts with few words, none, long ones and as many as there is room for; with holes."""
    input = Text(size=8)
    x = torch.stack([torch.from_numpy(input.pack(text).array) for text in TEXTS])
    x[-1, :, 2:4] = 0
    torch.manual_seed(0)
    phrases = nets.find("scratch").build(input).stages[0]
    for parameter in phrases.parameters():  # biases too: what is not there must be 0 whatever they say
        torch.nn.init.normal_(parameter, std=0.1)
    found = []
    for training in (True, False):
        phrases.train(training).zero_grad()
        for module in phrases.modules():
            if isinstance(module, torch.nn.Dropout1d):
                module.eval()
        seen = phrases(x)
        seen.square().sum().backward()
        gradients = [parameter.grad for parameter in phrases.parameters()]
        assert all(gradient is not None and gradient.any() for gradient in gradients)
        found.append((seen.detach(), [one.clone() for one in gradients if one is not None]))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
    assert found[0][0].shape == (len(TEXTS), 384, 8)
    assert not found[0][0][1].any()  # nothing was said


def test_phrases_are_dropped_whole_and_only_while_training() -> None:
    input = Text(size=8)
    x = torch.from_numpy(input.pack("a word that is followed by seven others").array)[None]
    net = nets.find("scratch").build(input)
    torch.manual_seed(0)
    (one,), (other,) = net.train()(x), net.eval()(x)
    there = other.amax(2) > 0
    kept = one.amax(2) > 0
    assert 0.3 < kept[there].float().mean() < 0.7
    torch.testing.assert_close(one[kept], 2 * other[kept])
