"""Makes fixtures/synth: a few glyphs of Noto Color Emoji and their CLDR names, so that tests of emoji world need neither.

    pip install fonttools
    npm pack cldr-annotations-full cldr-annotations-derived-full   # then unpack each into a folder of ANNOTATIONS
    python synth.py NotoColorEmoji.ttf ANNOTATIONS
"""

import json
import pathlib
import subprocess
import sys

SHOWN = "🐱 🍕 🚲 🌵 🎸 🚀 🦋 ☂ 🍓 🐙 🏰 🔑 🔴 🟠 🟢 🔵 🟥 🟦 🧑‍🚒 👩‍🚒 👩🏽‍🚒 👨🏿‍🚒".split()
LANGUAGES = "en de fr es it pt tr pl ru uk ar fa hi zh ja ko".split()
FOLDER = pathlib.Path(__file__).parent / "fixtures" / "synth"


def excerpt(annotations: pathlib.Path, package: str, outer: str, language: str) -> None:
    source = annotations / package / outer / language / "annotations.json"
    names = json.loads(source.read_text())[outer]["annotations"]
    # One name is left out on purpose: a test looks for it in the list of missing ones.
    kept = {emoji: names[emoji] for emoji in SHOWN if emoji in names and (language, emoji) != ("ko", "🔑")}
    target = FOLDER / outer / language / "annotations.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({outer: {"identity": {"language": language}, "annotations": kept}}, ensure_ascii=False, indent=0))


def main() -> None:
    font, annotations = sys.argv[1], pathlib.Path(sys.argv[2])
    FOLDER.mkdir(parents=True, exist_ok=True)
    for language in LANGUAGES:
        excerpt(annotations, "cldr-annotations-full", "annotations", language)
        excerpt(annotations, "cldr-annotations-derived-full", "annotationsDerived", language)
    text = "".join(SHOWN).replace("🧑‍🚒", "🧑🚒‍")
    output = FOLDER / "emoji-subset.ttf"
    subprocess.run(["pyftsubset", font, f"--text={text}", f"--output-file={output}", "--layout-features=*"], check=True)


if __name__ == "__main__":
    main()
