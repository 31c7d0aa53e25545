"""Every text of the help, in one place for translation. Plain words; *asterisks* make bold.

Labels of the pictures are here too (`LABELS`), so that the drawings hold no language.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sam_ui.words import mark

__all__ = ["LABELS", "SHEET", "TOPICS", "Topic"]


@dataclass(frozen=True)
class Topic:
    """One page of the help.

    Attributes:
        title: also its name in the list of topics.
        short: one sentence, shown where the matter comes up, before "Learn more".
        body: paragraphs.
        picture: key of a drawing in `sam_ui.help_pictures`, "" for none.
        caption: below the picture; also what a screen reader says of it.
        points: a list of (what, meaning) after the paragraphs.
    """

    title: str
    short: str
    body: tuple[str, ...]
    picture: str = ""
    caption: str = ""
    points: tuple[tuple[str, str], ...] = ()


SHEET = {
    "title": mark("Help"),
    "close": mark("Close"),
    "more": mark("Learn more"),
    "topics": mark("Topics"),
    "private": mark(
        "Your texts stay on the machine that runs SaM. The link in the address bar opens this "
        "session: keep it, and treat it like a password."
    ),
    "keyboard": mark("Press ? on any screen to open this sheet, Esc to close it."),
}

TOPICS: dict[str, Topic] = {
    "overview": Topic(
        title=mark("How SaM works"),
        short=mark("SaM picks the experts that fit your texts and makes one model of them."),
        body=(
            mark(
                "Suppose you look after letters of merchants and want every *ship*, *harbour* and "
                "*cargo* in them. No ready-made model knows these three, and training one takes "
                "thousands of examples. SaM takes another way: it starts from *experts*, small add-ons "
                "to a language model, each of which has learned to find things in one kind of text."
            ),
            mark(
                "You give some of your own texts and say what to look for. SaM finds out which experts "
                "fit, joins the best ones into one model, and shows you what this model finds. You "
                "correct it where it is wrong, and take the result home as a small file."
            ),
        ),
        picture="overview",
        caption=mark(
            "Your texts and the names of what you look for decide which experts are joined."
        ),
        points=(
            (mark("Upload"), mark("Some of your texts, and the kinds of things to find in them.")),
            (mark("Match"), mark("Which experts suit these texts, measured in two ways.")),
            (mark("Merge"), mark("The chosen experts become one model. This takes seconds.")),
            (mark("Review"), mark("What the model finds in all your texts.")),
            (mark("Share"), mark("The model, the annotated texts and the recipe, as files.")),
        ),
    ),
    "texts": Topic(
        title=mark("Texts and entity types"),
        short=mark("A hundred typical sentences and three clear types are a good start."),
        body=(
            mark(
                "SaM cuts your texts into sentences, because the experts read one sentence at a time. "
                "A hundred are enough to see which experts fit; choose typical ones rather than the "
                "best written. Sentences that occur twice are counted once."
            ),
            mark(
                "An *entity type* is a plain name for what you look for: *ship*, *plant species*, "
                "*court*. The experts read this name, so an ordinary word works better than a code "
                "such as LOC_2. Two types that a colleague could not tell apart, the experts "
                "will not either."
            ),
            mark(
                "A *definition* is one line that settles doubt, for example *ship: a vessel with a "
                "name; not the navy it belongs to*. It helps everybody who reviews what was found."
            ),
        ),
    ),
    "similarity": Topic(
        title=mark("Similarity"),
        short=mark("Similarity says how close your texts are to those an expert learned from."),
        body=(
            mark(
                "Think of a map on which texts about like things lie near each other: letters about "
                "ships in one corner, recipes in another. SaM puts every sentence of yours on this "
                "map, and also the sentences that each expert has learned from."
            ),
            mark(
                "The *similarity* of an expert compares the middle of your sentences with the middle "
                "of its own. 1 means that they lie at the same place, 0 that they have nothing to do "
                "with each other. Only the order matters much: 0.62 and 0.60 are the same."
            ),
            mark(
                "Similarity says what the texts are about, not whether the expert finds what you look "
                "for. That is what the probe is for."
            ),
        ),
        picture="similarity",
        caption=mark(
            "Each mark is a sentence. Your sentences lie nearest to those of the expert on ships, "
            "so its similarity is highest."
        ),
    ),
    "probe": Topic(
        title=mark("The probe"),
        short=mark(
            "In the probe every expert reads a few of your sentences, and the answers are compared."
        ),
        body=(
            mark(
                "The probe is a small examination. SaM takes about ten of your sentences, as unlike "
                "one another as possible, and lets every expert look for your types in them."
            ),
            mark(
                "Nobody has marked the right answers, so SaM asks the experts that are surest: what "
                "they agree on counts as right. An expert's score, called *F1*, is high when it finds "
                "most of these and adds little else. 1 is perfect, 0 means that nothing was right."
            ),
            mark(
                "Ten sentences are few. The thin line on each bar shows where the true score probably "
                "lies; when two lines overlap widely, neither expert is clearly better. Where hardly "
                "anything was found, SaM says *too few spans to tell* instead of a number."
            ),
            mark(
                "You can do better than the experts: correct a few of these sentences, and the scores "
                "rest on your word."
            ),
        ),
        picture="probe",
        caption=mark(
            "Three experts read one sentence. Two agree on both names; the third misses one and "
            "adds one, so its score is lower."
        ),
    ),
    "merging": Topic(
        title=mark("Merging"),
        short=mark(
            "Merging adds up what the chosen experts have learned, each as strongly as its weight."
        ),
        body=(
            mark(
                "All experts share one language model and differ in a thin layer that each has learned "
                "on top. Merging mixes these layers, as one mixes paints: half of this, a third of "
                "that. The result is again one thin layer. Nothing is trained, so it takes seconds and "
                "can be taken back."
            ),
            mark(
                "The *weight* of an expert is its part in the mixture. Weights that add up to 1 are "
                "the safe start; more makes the model bolder and sooner wrong. Move a slider, and "
                "three of your sentences are read again at once, so that you see what it does."
            ),
            mark(
                "The *method* says how the layers are mixed where experts disagree. The weighted sum "
                "is the plain one and seldom the wrong one. Others let the stronger opinion win, or "
                "leave out what looks like chance."
            ),
            mark(
                "*One model or two*: the experts that are most similar and those that did best in the "
                "probe need not be the same. Two models read everything twice and their answers are "
                "united; they find more, and take twice as long."
            ),
        ),
        picture="merging",
        caption=mark(
            "The language model stays as it is. The experts' thin layers are mixed by their "
            "weights into one."
        ),
    ),
    "review": Topic(
        title=mark("Reviewing what was found"),
        short=mark("Every coloured mark carries its type, and how sure the model is of it."),
        body=(
            mark(
                "The model reads all your sentences and marks what it finds. Point at a mark to see "
                "how sure it is and which experts found it. A dashed outline says less than even "
                "odds. The most doubtful sentences come first, because there a correction teaches "
                "most."
            ),
            mark(
                "Whatever you do is saved at once and can be undone, also tomorrow. If a sentence is "
                "right, accept it; if you cannot tell, skip it: skipped sentences count as unknown. "
                "When two people change one sentence, both see it, and neither version is lost."
            ),
            mark(
                "From some twenty corrected sentences on, let the model *learn*. It is judged on "
                "sentences that it has not learned from, so the figures before and after are what "
                "you can expect of new texts. Keep the result or discard it; both can be undone."
            ),
        ),
    ),
    "share": Topic(
        title=mark("Taking it home"),
        short=mark("The model is a small file that runs without SaM; the recipe makes it again."),
        body=(
            mark(
                "The *model* is the merged thin layer with a card that says what it is made of and "
                "under which licences. It needs the same language model to run, which anybody can load."
            ),
            mark(
                "The *annotations* are your texts with everything that was found, with exact "
                "positions, to go on with in a spreadsheet or another program."
            ),
            mark(
                "The *recipe* names experts, weights and method. Whoever has the same experts can make "
                "the same model from it."
            ),
            mark(
                "A *link* lets others see or change this session, as you choose. You can take a link "
                "back at any time."
            ),
        ),
    ),
    "keys": Topic(
        title=mark("Keyboard"),
        short=mark("Everything can be reached without a mouse."),
        body=(
            mark(
                "Everything that can be clicked can be reached with Tab and used with the keyboard."
            ),
        ),
        points=(
            (mark("Tab, Shift + Tab"), mark("to the next or the previous control")),
            (mark("Enter or Space"), mark("press a button, switch an expert on or off")),
            (mark("Arrow keys"), mark("move a slider, go through tabs")),
            (mark("Esc"), mark("close this help")),
            ("?", mark("open the help")),
        ),
    ),
    "review-keys": Topic(
        title=mark("Keys of Review"),
        short=mark("A sentence is corrected and accepted without leaving the keyboard."),
        body=(
            mark(
                "These keys work on the screen Review wherever you are not typing. With the mouse: "
                "drag over words or double-click one, then choose a type; click a mark to change it. "
                "Hold Shift while dragging to choose single letters."
            ),
        ),
        points=(
            (mark("Enter"), mark("accept the sentence and go on to the next")),
            (mark("S, N, P"), mark("skip; next; previous sentence")),
            (mark("1–9, 0"), mark("mark what is chosen as this type; with Shift types 11 to 20")),
            (mark("← →"), mark("choose the word before or after; with Shift add or drop one")),
            (mark("↑ ↓"), mark("choose the mark before or after")),
            (mark("[ ]"), mark("end of the mark one word back or on; with Alt one letter")),
            (mark("{ }"), mark("beginning of the mark one word back or on; with Alt one letter")),
            (mark("Delete or X"), mark("remove the mark; Shift + X removes all of them")),
            (mark("/ and J"), mark("split the mark; join it with the next one")),
            (mark("A"), mark("mark the same words everywhere")),
            (mark("Ctrl + Z"), mark("undo; Ctrl + Shift + Z does it again")),
            (mark("Esc"), mark("choose nothing")),
        ),
    ),
}

LABELS: dict[str, Any] = {
    "texts": mark("your texts"),
    "types": mark("ship, harbour"),
    "experts": mark("experts"),
    "model": mark("your model"),
    "ships": mark("ships"),
    "recipes": mark("recipes"),
    "stars": mark("stars"),
    "you": mark("you"),
    "near": mark("near: 0.71"),
    "far": mark("far: 0.18"),
    "sentence": (
        mark("The"),
        mark("Active"),
        mark("left"),
        mark("Leith"),
        mark("at"),
        mark("dawn"),
    ),
    "found": (
        ("Active", "Leith"),
        ("Active", "Leith"),
        ("Active", "dawn"),
    ),
    "scores": (mark("F1 1.00"), mark("F1 1.00"), mark("F1 0.50")),
    "expert": mark("expert"),
    "base": mark("language model"),
    "mix": ("× 0.5", "× 0.3", "× 0.2"),
    "merged": mark("one layer"),
}
"""Words in the pictures; "found" are those of "sentence" that each of three experts finds."""
