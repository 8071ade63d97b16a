"""The page: sections in the order in which one asks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from data_miner_worker.report.charts import funnel, histogram
from data_miner_worker.report.content import Cluster, Content, Member, Picture, ShownImage
from data_miner_worker.report.markup import Markup, join, tag
from data_miner_worker.report.words import clock, count, duration, plain, several, share, size

_COLOURS: Final = 8
_EXAMPLE_LENGTH: Final = 200
_SPLIT_COLOURS: Final = {"train": "var(--accent)", "val": "var(--c4)", "test": "var(--c3)"}
_REJECTED: Final = {
    "positive": "not over the positive threshold",
    "negative": "not under the negative threshold",
    "negative_margin": "too close to a negative prompt",
    "junk": "not under the junk threshold",
    "junk_margin": "too close to a junk prompt",
}
# Nothing may be loaded and nothing may run, whatever a title of a stranger's video tries.
_POLICY: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(content: Content) -> bytes:
    """One self-contained HTML file."""
    style = Markup(Path(__file__).with_name("style.css").read_text(encoding="utf-8"))
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{content.project} · data-miner"),
        tag("style", style),
    )
    sections = (
        ("funnel", "From video to image", _funnel(content)),
        ("images", "Images", _sheet(content)),
        ("scores", "Scores", _scores(content)),
        ("duplicates", "Near-duplicates", _clusters(content)),
        ("labels", "Labels", _labels(content)),
        ("failures", "Failures and costs", _failures(content)),
        ("recipe", "Recipe", _recipe(content)),
        ("videos", "Videos", _videos(content)),
    )
    there = [(name, title, body) for name, title, body in sections if body is not None]
    links = tag("nav", *(tag("a", title, href=f"#{name}") for name, title, _ in there))
    bodies = [tag("section", tag("h2", title), body, id=name) for name, title, body in there]
    body = tag("body", tag("main", _header(content, links), *bodies))
    return ("<!doctype html>\n" + tag("html", head, body, lang="en") + "\n").encode()


def _header(content: Content, links: Markup) -> Markup:
    wave = "" if content.wave is None else f" · after wave {content.wave}"
    tiles = [
        (count(content.image_count), "images"),
        (count(content.box_count), "boxes in " + several(len(content.classes), "class", "classes")),
        (count(content.video_count), "videos"),
        (size(content.bytes), "of images"),
    ]
    if not content.classes:
        del tiles[1]
    return tag(
        "header",
        tag("div", "dataset report", class_="eyebrow"),
        tag("h1", content.project),
        tag("p", "Version ", tag("code", content.digest[:16]), wave, class_="quiet"),
        tag(
            "div",
            *(tag("div", tag("b", big), tag("span", label), class_="tile") for big, label in tiles),
            class_="tiles",
        ),
        _split_bar(content.splits, content.empty_splits),
        links,
    )


def _split_bar(splits: Mapping[str, int], empty: tuple[str, ...]) -> Markup:
    total = sum(splits.values())
    there = [(name, number) for name, number in splits.items() if number]
    bar = [
        tag("i", style=f"flex:{number};background:{_SPLIT_COLOURS[name]}") for name, number in there
    ]
    key = [
        tag(
            "span",
            tag("i", style=f"background:{_SPLIT_COLOURS[name]}"),
            f"{name} {count(number)} ({share(number, total) or '0 %'})",
        )
        for name, number in splits.items()
    ]
    why = empty and tag(
        "p",
        f"No images for {' and '.join(empty)}: videos that look alike are never divided, "
        "and there were too few that do not.",
        class_="quiet",
        style="margin-top:10px",
    )
    bar_and_key = [tag("div", *bar, class_="splitbar"), tag("div", *key, class_="key")]
    return join([*bar_and_key, why or None])


def _funnel(content: Content) -> Markup:
    note = "What was left after each step, and its share of the step before."
    rejected = content.rejected and tag(
        "p",
        "The filter dropped ",
        "; ".join(
            f"{several(n, 'frame')} {_REJECTED.get(why, plain(why))}"
            for why, n in content.rejected.items()
        ),
        ".",
        style="margin-top:18px",
    )
    return join(
        [tag("p", note), tag("div", funnel(content.steps), class_="card"), rejected or None]
    )


def _sheet(content: Content) -> Markup:
    shown, total = len(content.shown), content.image_count
    note = f"All {count(total)}." if shown == total else f"{count(shown)} of {count(total)}."
    cards = [_image(image, content.classes) for image in content.shown]
    return join([tag("p", note), tag("div", *cards, class_="sheet")])


def _image(image: ShownImage, classes: tuple[str, ...]) -> Markup:
    labels = [
        tag(
            "span",
            tag("i", class_="dot", style=f"background:{_colour(box.class_index)}"),
            f"{classes[box.class_index]} {box.score:.2f}",
            f", {box.agreement} agree" if box.agreement > 1 else None,
        )
        for box in image.boxes
    ]
    scores = " · ".join(f"{kind} {value:.2f}" for kind, value in image.scores.items())
    stands_for = f"stands for {several(image.duplicates + 1, 'frame')}"
    prompt = image.best_prompt and f"“{image.best_prompt}”"
    lines = [
        " · ".join(filter(None, (clock(image.seconds), stands_for if image.duplicates else None))),
        " · ".join(filter(None, (prompt, scores))),
    ]
    return tag(
        "figure",
        _frame(image.picture, _boxes(image), tag("span", image.split, class_="split")),
        tag(
            "figcaption",
            tag("span", *labels, class_="labels") if labels else None,
            image.name,
            *([tag("br"), line] for line in lines if line),
        ),
    )


def _frame(picture: Picture, *over: Markup | None) -> Markup:
    img = tag("img", src=picture.uri, alt="", loading="lazy")
    return tag("span", img, *over, class_="frame", style=f"aspect-ratio:{picture.aspect:.4f}")


def _boxes(image: ShownImage) -> Markup | None:
    if not image.boxes:
        return None
    rects = []
    for box in image.boxes:
        place = {
            "x": f"{100 * box.x:.2f}",
            "y": f"{100 * box.y:.2f}",
            "width": f"{100 * box.width:.2f}",
            "height": f"{100 * box.height:.2f}",
        }
        rects.append(tag("rect", **place, class_="halo"))
        rects.append(tag("rect", **place, style=f"stroke:{_colour(box.class_index)}"))
    return tag("svg", *rects, viewBox="0 0 100 100", preserveAspectRatio="none")


def _colour(class_index: int) -> str:
    return f"var(--c{class_index % _COLOURS})"


def _scores(content: Content) -> Markup | None:
    if not content.histograms:
        return None
    note = (
        "Every frame that was looked at, by its best score in each list of prompts. "
        "Coloured ones were kept; heights are logarithmic."
    )
    charts = [histogram(one) for one in content.histograms]
    return join([tag("p", note), tag("div", *charts, class_="histograms")])


def _clusters(content: Content) -> Markup | None:
    if not content.cluster_count:
        return None
    shown = len(content.clusters)
    which = "All of them." if shown == content.cluster_count else f"The {shown} largest."
    note = (
        f"{several(content.cluster_count, 'image')} of this dataset "
        f"{'stands' if content.cluster_count == 1 else 'stand'} for others that look alike. "
        f"{which} The kept frame comes first."
    )
    return join([tag("p", note), *(_cluster(one) for one in content.clusters)])


def _cluster(one: Cluster) -> Markup:
    hidden = one.size - len(one.members)
    return tag(
        "div",
        *(_member(member) for member in one.members),
        tag("span", f"and {count(hidden)} more", class_="more") if hidden else None,
        class_="cluster",
    )


def _member(member: Member) -> Markup:
    if member.picture is None:
        frame = tag("span", "not kept", class_="frame gone", style="aspect-ratio:16/9")
    else:
        frame = _frame(member.picture)
    kept = member.cosine is None
    # A cosine just below 1 must not read as 1.
    how_near = tag("span", "kept", class_="badge") if kept else f"cosine {_floored(member.cosine)}"
    where = f"{member.video_id} · {clock(member.seconds)}"
    caption = tag("figcaption", how_near, tag("br"), where)
    return tag("figure", frame, caption, class_="kept" if kept else None)


def _floored(cosine: float | None) -> str:
    return f"{int((cosine or 0) * 1000) / 1000:.3f}"


def _labels(content: Content) -> Markup | None:
    if not content.classes:
        return None
    splits = list(content.splits)
    rows = []
    for number, name in enumerate(content.classes):
        boxes = content.boxes_by_class.get(name, {})
        dot = tag("i", class_="dot", style=f"background:{_colour(number)}")
        numbers = [boxes.get(split, 0) for split in splits]
        rows.append([join([dot, name]), *map(count, numbers), count(sum(numbers))])
    return tag("div", _table(["Class", *splits, "all"], rows), class_="card")


def _failures(content: Content) -> Markup:
    troubles = [
        [
            join([tag("b", plain(t.reason)), f" in {t.stage}", None if t.failed else " (skipped)"]),
            tag("span", t.example[:_EXAMPLE_LENGTH], class_="quiet"),
            count(t.count),
        ]
        for t in content.troubles
    ]
    troubles += [
        [
            tag("b", plain(name)),
            tag("span", "kept frames without an image", class_="quiet"),
            count(n),
        ]
        for name, n in content.left_out.items()
    ]
    failures = (
        _table(["What failed or was passed over", "For example", "Number"], troubles, numbers=1)
        if troubles
        else tag("p", "Nothing failed.", class_="none")
    )
    rows = [
        [plain(name), _cost(name, total), _cost(name, total / max(1, content.image_count))]
        for name, total in content.costs.items()
    ]
    costs = (
        _table(["Cost", "in all", "per image"], rows)
        if rows
        else tag("p", "No costs were recorded.", class_="none")
    )
    return tag(
        "div",
        tag("div", failures, class_="card"),
        tag("div", costs, class_="card"),
        class_="stack",
    )


def _cost(name: str, value: float) -> str:
    if name.startswith("bytes") or name.endswith("bytes"):
        return size(value)
    if "seconds" in name:
        return duration(value)
    return count(value) if value >= 100 or value == int(value) else f"{value:.3g}"


def _recipe(content: Content) -> Markup:
    prompts = [
        join(
            [
                tag("h3", f"{kind} prompts"),
                tag("ul", *(tag("li", t) for t in texts), class_="prompts"),
            ]
        )
        for kind, texts in content.prompts.items()
        if texts
    ]
    facts = [*content.models.items(), ("digest", content.digest)]
    listed = tag("dl", *(join([tag("dt", k), tag("dd", tag("code", v))]) for k, v in facts))
    return tag("div", *prompts, tag("h3", "models and version"), listed, class_="card")


def _videos(content: Content) -> Markup | None:
    if not content.videos:
        return None
    rows = [
        [
            join([v.title or v.video_id, tag("br"), tag("code", v.video_id, class_="quiet")]),
            v.licence,
            v.split,
            count(v.images),
        ]
        for v in content.videos
    ]
    rest = content.video_count - len(content.videos)
    note = (
        tag("p", f"The {len(rows)} that gave most images; {count(rest)} more.")
        if rest > 0
        else None
    )
    table = _table(["Video", "Licence", "Split", "Images"], rows, numbers=1)
    return join([note, tag("div", table, class_="card")])


def _table(
    head: list[str], rows: list[list[Markup | str]] | list[list[str]], numbers: int | None = None
) -> Markup:
    """A table whose last columns are numbers; all but the first unless `numbers` says how many."""
    first_number = 1 if numbers is None else len(head) - numbers

    def cell(name: str, at: int, value: str) -> Markup:
        return tag(name, value, class_="n" if at >= first_number else None)

    return tag(
        "table",
        tag("tr", *(cell("th", at, value) for at, value in enumerate(head))),
        *(tag("tr", *(cell("td", at, v) for at, v in enumerate(row))) for row in rows),
    )
