"""How a run learnt, in words: what was tried, what unseen examples said of it, what was kept.

Knows what learners tell of themselves; measures nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LOSS = "the loss"


def in_words(learnt: Mapping[str, Any], stages: int) -> str:
    """learnt: the learner's story; stages: of the network that is handed over."""
    if "blend" in learnt and isinstance(learnt["blend"], Mapping):
        return _blended(learnt)
    own = _trained(learnt) if "train" in learnt else _tuned(learnt, stages)
    contest = learnt.get("contest")
    return f"{_contested(contest)} {own}" if contest else own


def _blended(learnt: Mapping[str, Any]) -> str:
    blend = learnt["blend"]
    losses, share = blend["losses"], blend["share"]
    best = min((one for one in losses if float(one) > 0), key=lambda one: losses[one])
    stopped = f" ({learnt['stopped']})" if "stopped" in learnt else ""
    known = "The pretrained network knows photographs" if learnt["pretrained"] else "Its filters are made by hand"
    told = (
        f"{known} and its last layer was solved in closed form. Beside it a network was trained from nothing for "
        f"{_epochs(learnt['epochs'])}{stopped}. On {blend['judged']} unseen examples the first alone had "
        f"a loss of {losses['0']:.3f}, the second {losses['1']:.3f}"
    )
    if share == 0:
        return f"{told}; together they were no sure gain ({losses[best]:.3f}), so the first stays."
    if share == 1:
        return f"{told}, so the second is handed over."
    return f"{told}, and both together {losses[best]:.3f}: their scores are summed, {share:.0%} from the second."


def _trained(learnt: Mapping[str, Any]) -> str:
    plan = learnt["train"]
    mirrored = "mirrored or not" if plan["mirror"] else "never mirrored"
    stopped = f" ({learnt['stopped']})" if "stopped" in learnt else ""
    by_hand = "; only its first layer is made by hand, from patches of the examples"
    return (
        f"The whole network was trained from nothing for {_epochs(learnt['epochs'])}{stopped}"
        f"{by_hand if learnt['prepared'] else ''}. Each example was seen moved and {mirrored}, at times "
        f"with parts erased.{_both_sides(learnt.get('sides'))}"
    )


def _both_sides(sides: Mapping[str, Any] | None, cost: str = _LOSS) -> str:
    if not sides or not sides["kept"]:
        return ""
    one, two = sides["losses"]
    return (
        f" It predicts from each picture and its mirror image, the mean of both, which lowered {cost} on "
        f"{sides['judged']} unseen examples from {one:.3f} to {two:.3f}."
    )


def _tuned(learnt: Mapping[str, Any], stages: int) -> str:
    plan = learnt["plan"]
    if plan["why_not"]:
        return f"Its last layer was solved in closed form on a frozen network; nothing more: {plan['why_not']}."
    stopped = f" ({learnt['stopped']})" if "stopped" in learnt else ""
    fewest = learnt.get("fewest_epochs", plan["epochs"])
    less = f" (the folds that vouch for it for {fewest} at least)" if fewest < plan["epochs"] else ""
    epochs = f"{_epochs(plan['epochs'])}{stopped}{less}"
    what = f" of {plan['net']} at {plan['size']} px" if plan["net"] else ""
    last = f"the last {stages - plan['boundary']} of {stages} stages"
    if plan.get("layers"):
        frozen = plan["boundary"] >= stages - 1
        last = "layers of the head's own" + (", on a frozen network" if frozen else f" and {last}")
    trained = f"{last[0].upper()}{last[1:]}{what}, trained for {epochs} on"
    cost = learnt.get("cost", _LOSS)
    before, after = learnt["losses"]
    judged = (
        f"{learnt['judged']} unseen examples, where {cost} went from {before:.3f} to {after:.3f} "
        f"(lower in {learnt['favoured']:.0%} of resamples, {learnt['needed']:.0%} are needed)"
    )
    start = f"{trained} {plan['views']} augmented views of each example,"
    if learnt["blend"] == 0:
        return f"{start} were no sure gain on {judged}: the closed form on the frozen network stays."
    share = "" if learnt["blend"] == 1 else f" {learnt['blend']:.0%} of the way from the closed form to them"
    refitted = ""
    if plan["refitted"]:
        refitted = " Those that are handed over learnt from these examples too, in the same way."
    elif "refit_dropped" in learnt:
        refitted = f" They were to learn from these examples too, but {learnt['refit_dropped']} before they had."
    return f"{start} were kept{share}: judged by {judged}.{refitted}{_both_sides(learnt.get('sides'), cost)}"


def _epochs(count: float) -> str:
    return "1 epoch" if count == 1 else f"{count:g} epochs"


def _contested(contest: Mapping[str, Any]) -> str:
    if "epoch" in contest:
        return (
            f"No network was trained from nothing to compare with: an epoch takes {contest['epoch']:.0f} s here at "
            f"least, and to try there were {contest['seconds']:.0f} s."
        )
    losses, rows = contest["losses"], f"{contest['judged']} unseen examples"
    measured = f"{losses['scratch']:.3f} against {losses['pretrained']:.3f} for the pretrained network's closed form"
    tried = f"A network trained from nothing for {_epochs(contest['epochs'])} had a loss of {measured} on {rows}"
    if contest["way"] == "scratch":
        return f"{tried}, so all the time left went into one like it."
    return f"{tried}, so the pretrained one was taken further."
