"""Every Target against its contract: the registered ones and the toys."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image as Pillow
from torch import Tensor

from foveal import tasks
from foveal.contracts import Head, Target, Task
from foveal.inputs import Image
from foveal.types import Box, Finished, Label, Output, Prediction, Size, Solution, Thing
from tests.contract.cases import ALL_INPUTS, ALL_TARGETS, TARGET_CASES, TargetCase, dataset

each = pytest.mark.parametrize("case", TARGET_CASES.values(), ids=list(TARGET_CASES))
UNITS = np.arange(4)
PARTS = [[range(16, 24)], [range(12), range(12, 24)], [range(8), range(8, 16), range(16, 24)]]


def head_of(case: TargetCase, seed: int = 0) -> Head:
    """A head with random weights and buffers: a zero-initialised one would hide errors."""
    head = case.target.head(case.channels, case.strides)
    noise = torch.Generator().manual_seed(seed)
    state = {name: torch.randn(value.shape, generator=noise) / 4 for name, value in head.state_dict().items()}
    head.load_state_dict(state)
    return head.eval()


def predict(case: TargetCase, target: Target | None = None) -> list[Prediction]:
    target = target or case.target
    with torch.no_grad():
        return target.decode(target.finish()(head_of(case)(case.maps()), case.pieces))


def test_every_target_has_a_case() -> None:
    assert set(ALL_TARGETS.values()) == {type(case.target) for case in TARGET_CASES.values()}


@each
def test_is_a_frozen_value_that_json_keeps(case: TargetCase) -> None:
    if 2 not in case.target.dims:
        pytest.skip("needs an input of two dims")
    task = Task("any", Image(64), case.target)
    kept = json.loads(json.dumps(tasks.to_json(task)))
    assert tasks.from_json(kept, ALL_INPUTS, ALL_TARGETS) == task
    assert hash(tasks.from_json(kept, ALL_INPUTS, ALL_TARGETS).target) == hash(case.target)
    for name in (field.name for field in fields(case.target)):  # type: ignore[arg-type]
        with pytest.raises(FrozenInstanceError):
            setattr(case.target, name, 1)


@each
def test_fit_keeps_declared_classes_in_their_order(case: TargetCase) -> None:
    fitted = case.target.fit(dataset(("z", "a", "unused")))
    assert fitted.class_names == ("z", "a", "unused")
    assert case.target.class_names != fitted.class_names


@each
def test_labels_have_a_stratum_a_text_and_an_array(case: TargetCase) -> None:
    for label in case.labels:
        assert case.target.stratum(label) in case.target.class_names
        assert case.target.describe(label)
        packed = case.target.pack(label)
        assert packed.array.dtype.kind in "iuf"
        np.testing.assert_array_equal(packed.array, case.target.pack(label).array)
    assert case.target.pack(case.labels[0]).array.tobytes() != case.target.pack(case.labels[1]).array.tobytes()


@each
def test_truth_has_one_row_a_piece(case: TargetCase) -> None:
    truth = case.target.encode(case.labels, case.pieces)
    assert all(len(rows) == len(case.labels) for rows in truth.values())
    alone = case.target.encode(case.labels[::-1], case.pieces)
    assert any(not torch.equal(rows, alone[name]) for name, rows in truth.items())


@each
def test_a_head_is_its_two_halves(case: TargetCase) -> None:
    head, maps = head_of(case), case.maps()
    with torch.no_grad():
        features = head.gather(maps)
        whole, halves = head(maps), head.read(features)
    assert features.dtype == torch.float32
    assert len(features) == 4
    assert whole.keys() == halves.keys()
    assert all(torch.equal(whole[name], halves[name]) for name in whole)
    with torch.no_grad():
        alone = head([level[1:2] for level in maps])
    for name in whole:
        torch.testing.assert_close(alone[name][0], whole[name][1], atol=1e-5, rtol=1e-5)


@each
def test_gather_has_nothing_to_learn(case: TargetCase) -> None:
    one, other = head_of(case, 1), head_of(case, 2)
    assert torch.equal(one.gather(case.maps()), other.gather(case.maps()))
    assert repr(one) == repr(other)


@each
def test_losses_are_finite_scalars_that_teach_the_head(case: TargetCase) -> None:
    head = head_of(case)
    losses = case.target.loss(head(case.maps()), case.target.encode(case.labels, case.pieces))
    assert all(value.ndim == 0 and torch.isfinite(value) for value in losses.values())
    torch.stack(list(losses.values())).sum().backward()
    gradients = [parameter.grad for parameter in head.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert any(gradient is not None and gradient.any() for gradient in gradients)


@each
def test_one_prediction_a_raw_thing(case: TargetCase) -> None:
    with torch.no_grad():
        finished: Finished = case.target.finish()(head_of(case)(case.maps()), case.pieces)
    predictions = case.target.decode(finished)
    assert len(predictions) == 4
    for row, prediction in enumerate(predictions):
        assert prediction.label is None or prediction.label in case.target.class_names
        assert 0 <= prediction.score <= 1
        assert not prediction.scores or sum(prediction.scores) == pytest.approx(1, abs=1e-5)
        (alone,) = case.target.decode({name: value[row : row + 1] for name, value in finished.items()})
        assert (alone.label, alone.boxes) == (prediction.label, prediction.boxes)
        check_raw_coordinates(prediction, case.pieces.raw_size[row].tolist())


def check_raw_coordinates(prediction: Prediction, size: list[int]) -> None:
    height, width = size
    assert prediction.mask is None or prediction.mask.shape == (height, width)
    for box in prediction.boxes:
        assert 0 <= box.left < box.right <= width
        assert 0 <= box.top < box.bottom <= height


@each
def test_a_closed_form_fits_the_head(case: TargetCase) -> None:
    maps = case.maps(seed=5, rows=24)
    head = case.target.head(case.channels, case.strides)
    labels = [case.labels[i % 4] for i in range(24)]
    features = head.gather(maps)
    pieces = case.pieces.take([i % 4 for i in range(24)])
    solution = case.target.solve(head, features, labels, pieces, np.arange(24))
    if solution is None:
        return
    head.load_state_dict(solution.state)
    with torch.no_grad():
        before, own = case.target.head(case.channels, case.strides).read(features), head.read(features)
    assert own.keys() == solution.left_out.keys()
    assert all(own[name].shape == solution.left_out[name].shape for name in own)
    assert all(value.isfinite().all() for value in own.values())
    truth = case.target.encode(labels, pieces)
    with torch.no_grad():
        costs = [float(torch.stack(list(case.target.loss(o, truth).values())).sum()) for o in (before, own)]
    assert costs[1] < costs[0]
    if case.target.labels != "classes":
        return
    assert likelihood(case.target, own, labels) < math.log(len(case.target.class_names))
    assert likelihood(case.target, own, labels) <= likelihood(case.target, solution.left_out, labels)


@each
@pytest.mark.parametrize("parts", PARTS, ids=["one", "two", "all"])
def test_rows_kept_apart_teach_nothing(parts: list[range], case: TargetCase) -> None:
    """What is solved without them says the same whatever their labels are, up to how sure it is; what is solved with
    them does not."""
    head = case.target.head(case.channels, case.strides)
    features = head.gather(case.maps(seed=5, rows=24))
    pieces = case.pieces.take([i % 4 for i in range(24)])
    labels = [case.labels[i % 4] for i in range(24)]

    def solved(labels: list[Label]) -> Solution | None:
        return case.target.solve(head, features, labels, pieces, np.arange(24), parts)

    solution = solved(labels)
    if not head.maps or solution is None:
        return
    assert len(solution.apart) in (len(parts), 0 if len(parts) > 1 else 1), "of several it need not be"
    for own, part in zip(solution.apart, parts, strict=False):
        other = solved([case.labels[(i + 1) % 4] if i in part else label for i, label in enumerate(labels)])
        assert other is not None
        said = [
            centred(head, features, state)
            for state in (own.state, other.apart[parts.index(part)].state, solution.state, other.state)
        ]
        without, whatever, of_all, told_otherwise = said
        told = without.norm(dim=1) > 0
        assert (F.cosine_similarity(without, whatever)[told] > 1 - 1e-6).all()
        assert (F.cosine_similarity(of_all, told_otherwise)[told] < 1 - 1e-4).any()
        assert own.target is None or type(own.target) is type(case.target)


def centred(head: Head, features: Tensor, state: dict[str, Tensor]) -> Tensor:
    """(outputs, cells of all rows): what a head in this state says, each output around its mean."""
    head.load_state_dict(state)
    with torch.no_grad():
        said = head.read(features)["cells"].double().transpose(0, 1).flatten(1)
    return said - said.mean(1, keepdim=True)


def likelihood(target: Target, output: Output, labels: list[int]) -> float:
    """The mean negative log-likelihood of the labels' classes."""
    rows = target.decode(target.finish()(output, TARGET_CASES["Classes"].pieces))
    return -float(np.mean([math.log(max(row.scores[label], 1e-30)) for row, label in zip(rows, labels, strict=True)]))


@each
@pytest.mark.parametrize("scale", [0.05, 1.0, 20.0])
def test_calibration_does_not_make_it_worse(case: TargetCase, scale: float) -> None:
    if predict(case)[0].scores == ():
        with torch.no_grad():
            assert type(case.target.calibrate(head_of(case)(case.maps()), case.labels, case.pieces)) is type(
                case.target
            )
        return
    with torch.no_grad():
        output = {name: value * scale for name, value in head_of(case)(case.maps()).items()}
    calibrated = case.target.calibrate(output, case.labels, case.pieces)
    before, after = (likelihood(t, output, case.labels) for t in (case.target, calibrated))
    assert after <= before + 1e-6
    assert [p.label for p in predict(case, calibrated)] == [p.label for p in predict(case)]


@each
def test_metrics_are_estimates_that_units_widen(case: TargetCase) -> None:
    predictions, found = predict(case), []
    for units in (UNITS, np.zeros(4, int)):
        metric = case.target.metric()
        metric.update(predictions[:2], case.labels[:2], units[:2].tolist())
        metric.update(predictions[2:], case.labels[2:], units[2:].tolist())
        found.append(metric.compute())
        json.dumps(metric.details(), allow_nan=False)
    for name, estimate in found[0].items():
        assert estimate.n == 4
        assert 0 <= estimate.value <= 1
        assert estimate.low is None or estimate.low <= estimate.value <= estimate.high  # type: ignore[operator]
        assert found[1][name].value == estimate.value
        assert found[1][name].low is None


@each
def test_scores_are_explained(case: TargetCase) -> None:
    head, maps = head_of(case), [level[:1].clone().requires_grad_() for level in case.maps()]
    prediction = predict(case)[0]
    score = case.target.score(head(maps), prediction)
    assert score.ndim == 0
    gradients = torch.autograd.grad(score, maps, allow_unused=True)
    assert any(gradient is not None and gradient.any() for gradient in gradients)
    with torch.no_grad():
        exact = case.target.cells(head, maps, prediction)
    if exact is None:
        return
    cells, bias = exact
    total = bias + sum(float(level.double().sum()) for level in cells)
    assert total == pytest.approx(float(score.detach()), abs=1e-4)
    other = case.target.alternative(prediction)
    assert other is None or other.label != prediction.label


def found_at(prediction: Prediction, thing: Thing) -> Prediction:
    """The prediction, with a box where the thing is if it is of boxes."""
    if thing.window is None or prediction.mask is not None:
        return prediction
    return replace(prediction, boxes=(*prediction.boxes, Box("dog", 0.9, *thing.window, origin=70)))


@each
def test_what_is_said_of_a_thing_alone_is_explained_too(case: TargetCase) -> None:
    if type(case.target) not in tasks.TARGETS.values():
        pytest.skip("a toy renames nothing")
    head, target, told = head_of(case), case.target, 0
    for row, (label, prediction) in enumerate(zip(case.labels, predict(case), strict=True)):
        maps, pieces = [level[row : row + 1] for level in case.maps()], case.pieces.take([row])
        for thing in target.things(label, Size(*case.pieces.raw_size[row].tolist())):
            said = target.said_of(found_at(prediction, thing), thing, pieces)
            assert said is not None
            told += 1
            with torch.no_grad():
                score, exact = target.score(head(maps), said), target.cells(head, maps, said)
            assert exact is not None
            total = exact[1] + sum(float(level.double().sum()) for level in exact[0])
            assert total == pytest.approx(float(score), abs=1e-4, rel=1e-6)
    assert told


@each
def test_a_thing_that_is_renamed_is_told_of_its_new_class(case: TargetCase) -> None:
    target, found = case.target, 0
    if type(target) not in tasks.TARGETS.values():
        pytest.skip("a toy renames nothing")
    new = target.class_names[-1]
    for row, label in enumerate(case.labels):
        size, pieces = Size(*case.pieces.raw_size[row].tolist()), case.pieces.take([row])
        before, things = target.pack(label).array.copy(), target.things(label, size)
        found += len(things)
        assert {thing.name for thing in things} <= {*target.classes(label)} - {"ground", "background"}
        for number, thing in enumerate(things):
            renamed = target.renamed(label, [thing], new)
            names = [other.name for other in things]
            names[number] = new
            assert sorted(other.name for other in target.things(renamed, size)) == sorted(names)
            assert np.array_equal(target.pack(label).array, before), "a label is a value"
            right = target.ideal(renamed)
            if right is not None:
                said = target.said_of(right, thing, pieces)
                assert said is not None
                assert said.label == new
        assert target.describe(target.renamed(label, [], new)) == target.describe(label)
    assert found


@each
def test_a_prediction_is_followed_through_other_outputs(case: TargetCase) -> None:
    """One output of many rows says of each what it would say of that row alone."""
    head = head_of(case)
    with torch.no_grad():
        whole = head(case.maps())
        first = {name: tensor[:1] for name, tensor in whole.items()}
        prediction = predict(case)[0]
        follow = case.target.follow(first, prediction)
        scores, confidences = follow(whole)
        alone = [
            follow({name: tensor[row : row + 1] for name, tensor in whole.items()}) for row in range(len(scores))
        ]
    assert scores.shape == confidences.shape == (len(case.labels),)
    assert float(scores[0]) == pytest.approx(float(case.target.score(first, prediction)), abs=1e-5)
    assert 0 <= float(confidences.min()) <= float(confidences.max()) <= 1
    torch.testing.assert_close(scores, torch.cat([one for one, _ in alone]))
    torch.testing.assert_close(confidences, torch.cat([sure for _, sure in alone]))


@each
def test_drawing_makes_a_new_picture(case: TargetCase) -> None:
    for row, prediction in enumerate(predict(case)):
        height, width = case.pieces.raw_size[row].tolist()
        canvas = Pillow.new("RGB", (width, height), (90, 90, 90))
        drawn = case.target.draw(canvas, prediction)
        assert drawn.size == canvas.size
        assert canvas.getcolors() == [(width * height, (90, 90, 90))]


def test_cells_of_random_heads_add_up() -> None:
    """Many random heads and maps: the decomposition is exact, not lucky."""
    case = TARGET_CASES["Classes"]
    for seed in range(20):
        head: Head = head_of(case, seed)
        maps: list[Tensor] = [level[:1] for level in case.maps(seed)]
        with torch.no_grad():
            for index in range(3):
                prediction = Prediction(origin=index)
                exact = case.target.cells(head, maps, prediction)
                assert exact is not None
                total = exact[1] + sum(float(level.double().sum()) for level in exact[0])
                score = float(case.target.score(head(maps), prediction))  # float32: 7 digits, of up to 700 here
                assert total == pytest.approx(score, abs=1e-4, rel=1e-6)
