"""Every text of the span editor, for its scripts; names in braces are filled in there."""

from __future__ import annotations

from sam_ui.words import _, mark

__all__ = ["texts"]

TEXTS = {
    # the sentence
    "box": mark(
        "The sentence. Left and right arrow choose words, with Shift several; up and down go from "
        "mark to mark; a number marks what is chosen; Enter accepts the sentence and goes on."
    ),
    "box_look": mark("The sentence, with what is marked in it."),
    "where": mark("Sentence {position} of {sentences}"),
    "bulk": mark("accepted together with others"),
    "opened": mark("Sentence {position}."),
    "first": mark("This is the first sentence of the list."),
    "last": mark("This is the last sentence of the list."),
    "is_open": mark("not reviewed"),
    "is_accepted": mark("accepted"),
    "is_changed": mark("changed"),
    "is_skipped": mark("skipped"),
    # saving
    "save_saved": mark("saved"),
    "save_saving": mark("saving…"),
    "save_again": mark("could not be saved, trying again"),
    # what is chosen
    "how": mark("Select words with the mouse or the arrow keys, or click a mark."),
    "chosen": mark("“{words}” · {about}"),
    "selected": mark("“{words}”: choose its type."),
    "choose_first": mark("Select words first, or click a mark."),
    "sure": mark("{percent} sure"),
    "no_number": mark("no number"),
    "by_hand": mark("marked by a person"),
    "voters": mark("found by {names}"),
    "voters_more": mark("found by {names} and {n} more"),
    "none": mark("Nothing is marked in this sentence."),
    # buttons
    "types": mark("Types"),
    "tools": mark("What to do with the chosen mark"),
    "remove": mark("Remove"),
    "remove_it": mark("Remove the mark of “{words}”"),
    "shorter": mark("Shorter"),
    "longer": mark("Longer"),
    "split": mark("Split"),
    "join": mark("Join"),
    "alike": mark("All alike"),
    "undo": mark("Undo"),
    "redo": mark("Redo"),
    "previous": mark("Previous"),
    "skip": mark("Skip"),
    "next": mark("Next"),
    # what was done
    "marked": mark("“{words}” is marked as {label}."),
    "already": mark("“{words}” is marked as {label} already."),
    "removed": mark("“{words}” is no {label} any more."),
    "cleared": mark("All {n} marks are removed."),
    "resized": mark("“{words}” is the {label} now."),
    "no_room": mark("It cannot be moved further."),
    "split_at": mark("Split after “{words}”."),
    "joined": mark("Joined: “{words}” is one {label}."),
    "spread": mark("“{words}” is marked wherever it stands in this sentence."),
    "accepted": mark("The sentence is accepted."),
    "skipped": mark("The sentence is skipped."),
    "back": mark("Undone: {what}"),
    "again": mark("Done again: {what}"),
    "nothing_back": mark("There is nothing to undo in this sentence."),
    "nothing_again": mark("There is nothing to do again."),
    # two people
    "somebody": mark("somebody else"),
    "clash": mark("This sentence was changed by {who} while you worked on it. Nothing is lost."),
    "clash_note": mark("The other version stays in the history of the sentence."),
    "mine": mark("Yours"),
    "theirs": mark("By {who}"),
    "keep_mine": mark("Keep mine"),
    "take_theirs": mark("Take theirs"),
    "kept": mark("Your version is kept."),
    "took": mark("The other version is taken."),
}


def texts() -> dict[str, str]:
    """The texts in the language of now."""
    return {key: _(text) for key, text in TEXTS.items()}
