"""The network of texts: what is looked up while it is trained is what it is asked with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from foveal import made, nets
from foveal.inputs import Text
from foveal.nets import _vectors

TEXTS = ("where is Leeds", "", "a word antidisestablishmentarianism", "ünïcode 東京 ! and three more words")


def two_words() -> tuple[tuple[str, ...], np.ndarray]:
    return ("where", "words"), np.array([[1, 2, 3], [-3, 1, 2]], np.float16)


def no_words() -> tuple[tuple[str, ...], np.ndarray]:
    return (), np.zeros((0, 0), np.float16)


@pytest.mark.parametrize("published", [no_words, two_words])
def test_words_are_looked_at_alike_while_training_and_after(published, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values and gradients, of texts with few words, none, long ones and as many as there is room for; with holes."""
    monkeypatch.setattr(_vectors, "published", published)
    input = Text(size=8)
    x = torch.stack([torch.from_numpy(input.pack(text).array) for text in TEXTS])
    x[-1, :, 2:4] = 0
    torch.manual_seed(0)
    net = nets.find("scratch").build(input)
    made.define(net, input)
    phrases = net.stages[0]
    learnt = [parameter for parameter in phrases.parameters() if parameter.numel()]
    assert len(learnt) == (7 if published is no_words else 8)  # without a word there is no matrix of what is known
    for parameter in learnt:  # biases too: what is not there must be 0 whatever they say
        torch.nn.init.normal_(parameter, std=0.1)
    found = []
    for training in (True, False):
        phrases.train(training).zero_grad()
        for module in phrases.modules():
            if isinstance(module, torch.nn.Dropout1d):
                module.eval()
        seen = phrases(x)
        seen.square().sum().backward()
        gradients = [parameter.grad for parameter in learnt]
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


def test_what_is_known_of_a_word_elsewhere_is_added_to_what_is_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as an embedding is in the beginning, in its first places, for that word alone; a state holds it."""
    monkeypatch.setattr(_vectors, "published", two_words)
    input = Text(size=4)
    torch.manual_seed(0)
    net = nets.find("scratch").build(input)
    made.define(net, input)
    phrases = net.stages[0]
    numbers = torch.from_numpy(input.pack("where are words now").array).T.long()
    added = phrases._embedded(numbers) - phrases.embedding(numbers)
    _, table = two_words()
    torch.testing.assert_close(added[[0, 2]].norm(dim=1).mean(), torch.tensor(128**0.5 / 10), rtol=0.02, atol=0)
    shown = added[[0, 2], :3] / added[0, 0]
    torch.testing.assert_close(shown, torch.from_numpy(table).float(), rtol=2e-3, atol=2e-3)
    assert not added[[1, 3]].any()
    assert not added[:, 3:].any()
    again = nets.find("scratch").build(input)
    again.load_state_dict(net.state_dict())
    x = torch.from_numpy(input.pack("where are words now").array)[None]
    torch.testing.assert_close(again.eval()(x), net.eval()(x))
    older = {name: own for name, own in net.state_dict().items() if ".known." not in name}
    again.load_state_dict(older)  # a run of before there were any
    assert again.stages[0].known.width == 0
