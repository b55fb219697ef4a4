"""Files that are damaged, ambiguous or made to harm: the message names file and line."""

import gzip
import json
import lzma
import zipfile
from pathlib import Path

import pytest

from corpus.bitext import BitextReader, bitext_paths, direction_of
from corpus.bitext.jsonl import JsonLinesFormat
from corpus.bitext.places import Place
from corpus.errors import DataError, UserError
from corpus.languages import Direction
from corpus.records import bitext_files, read_bitext

EN_FR = Direction("eng_Latn", "fra_Latn")
HEAD = '<?xml version="1.0"?>\n'
UNIT = '<tu><tuv xml:lang="en"><seg>a</seg></tuv><tuv xml:lang="fr"><seg>b</seg></tuv></tu>\n'
MANY = '<tuv lang="en"><seg>a</seg></tuv>' * 300


def tmx(units: str, head: str = HEAD) -> bytes:
    return f'{head}<tmx version="1.4"><header/><body>\n{units}</body></tmx>'.encode()


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def moses(folder: Path, source: bytes, target: bytes) -> Path:
    write(folder / "a.en-fr.fr", target)
    return write(folder / "a.en-fr.en", source)


def test_unequal_numbers_of_lines_are_an_error_with_both(tmp_path: Path) -> None:
    path = moses(tmp_path, b"a\n" * 20_001, b"b\n" * 20_000)
    both = r"a\.en-fr\.en has 20,001 lines, .*a\.en-fr\.fr has 20,000 lines"
    for use in (read_bitext, lambda path: BitextReader(path).count()):
        with pytest.raises(DataError, match=both):
            use(path)
    with pytest.raises(DataError, match=r"has 1 lines, .* has 3 lines"):
        read_bitext(moses(tmp_path, b"a", b"b\nc\nd"))
    write(tmp_path / "a.en-fr.scores", b"1\n2\nx\n")
    with pytest.raises(DataError, match=r"a\.en-fr\.scores:3: column `score` holds what is not"):
        read_bitext(moses(tmp_path, b"a\nb\nc\n", b"b\nc\nd"))


def test_other_side_that_is_missing_or_unclear_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.en-fr.en", b"a\n")
    for use in (read_bitext, bitext_paths, lambda path: bitext_files(path.parent)):
        with pytest.raises(UserError, match=r"a\.en-fr\.en .*the other side"):
            use(path)
    write(tmp_path / "a.en-fr.en.gz", gzip.compress(b"a\n"))
    with pytest.raises(UserError, match=r"a\.en-fr\.en and a\.en-fr\.en\.gz are one side"):
        bitext_files(tmp_path)
    for code in ("en", "fr", "de"):
        write(tmp_path / "many" / f"x.{code}", b"a\n")
    path = tmp_path / "many" / "x.en"
    with pytest.raises(UserError, match="more than two languages; give the direction"):
        read_bitext(path)
    assert read_bitext(path, direction=EN_FR).num_rows == 1
    assert list(map(str, bitext_files(path.parent))) == [
        "deu_Latn-eng_Latn", "deu_Latn-fra_Latn", "eng_Latn-fra_Latn",
    ]  # fmt: skip
    with pytest.raises(UserError, match="not one file each of eng_Latn-hin_Deva"):
        read_bitext(path, direction=Direction("eng_Latn", "hin_Deva"))


def test_lines_of_moses_files_are_taken_as_they_stand(tmp_path: Path) -> None:
    long = "x" * 3_000_000
    source = f"\ufefftab\there\r\n\0\r\n{long}\r\n".encode() + b"\xff\n"
    table = read_bitext(moses(tmp_path, source, b"1\n2\n3\n4"))
    assert table["source"].to_pylist() == ["tab\there", "\0", long, "\ufffd"]
    with pytest.raises(DataError, match=r"a\.en-fr\.en is UTF-16; convert it to UTF-8"):
        read_bitext(moses(tmp_path, "a\nb\n".encode("utf-16"), b"1\n2\n"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (tmx(UNIT * 3)[:-40], r"x\.tmx:5: not well-formed XML: .*truncated"),
        (tmx(UNIT)[:60], r"x\.tmx:3: not well-formed XML: .*truncated"),
        (tmx(UNIT.replace(">a<", ">a&<")), r"x\.tmx:3: not well-formed XML: not well-formed"),
        (tmx(UNIT.replace(">a<", ">\x01<")), r"x\.tmx:3: not well-formed"),
        (tmx(UNIT).replace(b">a<", b">\xff<"), r"x\.tmx:3: not well-formed"),
        (tmx(UNIT.replace("a<", "&nbsp;<")), r"x\.tmx:3: not well-formed XML: undefined entity"),
        (tmx(UNIT.replace(' xml:lang="en"', "")), r"x\.tmx:3: a `tuv` has no `xml:lang`"),
        (tmx(UNIT.replace("<seg>a", f"<seg>{'<g>' * 99}a")), r"x\.tmx:3: elements .*64 deep"),
        (tmx(UNIT.replace("<tu>", "<tu>" + MANY)), r"than 256 variants"),
        (tmx(f"<!-- {' ' * 1_300_000} -->"), r"a tag or comment has more than 1,048,576 bytes"),
        (tmx(f'<tu x="{" " * 1_300_000}">'), r"a tag or comment has more than 1,048,576 bytes"),
        (tmx(UNIT, '<?xml version="1.0" encoding="EBCDIC-9"?>'), r"x\.tmx:1: .*ncoding"),
        (b"<html><body>Not found</body></html>", r"x\.tmx:1: the first element is `html`"),
        (b"en\tfr\n", r"x\.tmx:1: not XML; it begins with b'en"),
        (b"", r"x\.tmx:1: not XML"),
        (b"PK\x03\x04", r"x\.tmx:1: not XML"),
    ],
)
def test_damaged_tmx_is_named_by_its_line(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_bitext(write(tmp_path / "x.tmx", data), direction=EN_FR)


@pytest.mark.parametrize(
    "declared",
    [
        '<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">',
        '<!ENTITY a SYSTEM "file:///etc/passwd">',
        '<!ENTITY % a SYSTEM "http://127.0.0.1:9/x.dtd"> %a;',
    ],
)
def test_entities_of_a_tmx_are_refused(tmp_path: Path, declared: str) -> None:
    text = tmx(UNIT.replace(">a<", ">&a;<"), f"{HEAD}<!DOCTYPE tmx [{declared}]>")
    with pytest.raises(DataError, match=r"x\.tmx:2: it declares the entity `a`; entities are not"):
        read_bitext(write(tmp_path / "x.tmx", text), direction=EN_FR)


def test_same_language_on_both_sides_of_a_tmx_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tmx", tmx(UNIT.replace('"en"', '"zh"')))
    with pytest.raises(DataError, match=r"x\.tmx:3: the language `zh` may be either side"):
        read_bitext(path, direction=Direction("zho_Hans", "zho_Hant"))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"src": "a", "tgt": "b"}', "{"], r"x\.jsonl:2: not valid JSON"),
        (['{"src": "a"', '"tgt": "b"}'], r"x\.jsonl:1: not valid JSON"),
        (['{"src": "a", "tgt": "b"}, {}'], r"x\.jsonl:1: not valid JSON"),
        (['{"src": "a", "tgt": "b"}', "[1]"], r"x\.jsonl:2: a line of JSON is an object"),
        (['{"src": "a", "tgt": "b"}', '{"src": "a"}'], r"x\.jsonl:2: there is no `tgt`"),
        (['{"src": "a", "tgt": "b"}', '{"src": 5, "tgt": "b"}'], r":2: `src` holds 5, not text"),
        (['{"src": "a", "tgt": "b"}', f'{{"x": {"[" * 9999}'], r"x\.jsonl:2: .*nested too"),
        (['{"src": "a", "tgt": "b"}', f'{{"x": {"1" * 9999}}}'], r"x\.jsonl:2: not valid JSON"),
        (["[", '{"src": "a", "tgt": "b"}', "]"], "one JSON value over many lines"),
        (['{"one": "a", "other": "b"}'], r"no keys are known to be source .* one, other\. Let"),
        (['{"src": "a", "tgt": "b", "score": "x"}'], r"x\.jsonl:1: column `score` holds what is"),
    ],
)
def test_damaged_json_lines_are_named(tmp_path: Path, lines: list[str], message: str) -> None:
    data = "".join(f"{line}\n" for line in lines).encode()
    with pytest.raises(DataError, match=message):
        read_bitext(write(tmp_path / "x.jsonl", data), direction=EN_FR)


def test_object_of_json_that_is_huge_is_refused(tmp_path: Path) -> None:
    row = json.dumps({"src": "a" * (9 << 20), "tgt": "b"})
    with pytest.raises(DataError, match=r"x\.jsonl:1: an object of 9,437,20\d characters"):
        read_bitext(write(tmp_path / "x.jsonl", row.encode()), direction=EN_FR)


def test_half_a_surrogate_of_json_is_a_damaged_character(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", b'{"src": "a\\ud83d", "tgt": "\\ud83d\\ude00"}\n')
    reader = JsonLinesFormat(Place(path), 10, {}, EN_FR)
    assert next(reader.tables()).to_pydict() == {"source": ["a\ufffd"], "target": ["😀"]}


def test_damaged_archives_and_compressed_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "en-fr.zip"
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("a.en", "a\n" * 50)
        opened.writestr("a.fr", "b\n" * 50)
    whole = path.read_bytes()
    assert read_bitext(path).num_rows == 50
    with pytest.raises(DataError, match=r"en-fr\.zip is a damaged archive"):
        read_bitext(write(path, whole[:-20]))
    changed = whole.replace(b"a\na\n", b"a\nx\n", 1)
    with pytest.raises(DataError, match=r"en-fr\.zip/a\.en cannot be read: Bad CRC-32"):
        read_bitext(write(path, changed))
    with pytest.raises(DataError, match=r"en-fr\.tgz is a damaged archive"):
        read_bitext(write(tmp_path / "en-fr.tgz", gzip.compress(b"x" * 2000)))
    packed = gzip.compress(tmx(UNIT * 2000), mtime=0)
    with pytest.raises(DataError, match=r"x\.tmx\.gz cannot be read"):
        read_bitext(write(tmp_path / "x.tmx.gz", packed[: len(packed) // 2]), direction=EN_FR)


def test_archive_without_or_with_too_much_bitext_says_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("README", "x")
        opened.writestr("a.en", "a\n")
    with pytest.raises(DataError, match=r"x\.zip holds no bitext .*It holds README, a\.en"):
        read_bitext(path)
    with zipfile.ZipFile(path, "a") as opened:
        for name in ("a.fr", "b.en", "b.fr"):
            opened.writestr(name, "a\n")
    with pytest.raises(UserError, match=r"x\.zip holds 2 times bitext.*: a\.en, b\.en; unpack"):
        read_bitext(path, direction=EN_FR)


def test_line_that_unpacks_to_too_much_is_refused_before_it_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corpus.files.MAX_LINE_BYTES", 1 << 16)
    data = b"a\n" + b"a " * (1 << 20)
    (tmp_path / "a.en.gz").write_bytes(gzip.compress(data))
    (tmp_path / "a.fr.xz").write_bytes(lzma.compress(data))
    for name in ("a.en.gz", "a.fr.xz"):
        with pytest.raises(DataError, match=rf"{name}:2: the line is longer than 65,536 bytes"):
            list(Place(tmp_path / name).lines())


def test_names_that_may_mean_several_languages_are_listed_with_the_choices(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "en-fr.tsv", b"a\tb\n")
    for name in ("en-sr.jsonl", "x.zh", "x.en", "notes.pdf", "stats.json"):
        write(tmp_path / name, b"{}\n")
    assert list(bitext_files(tmp_path)) == [EN_FR]
    message = caplog.records[-1].getMessage()
    for shown in (
        "en-sr.jsonl (eng_Latn-srp_Cyrl.jsonl or eng_Latn-srp_Latn.jsonl?)",
        "x.zh (zho_Hans or zho_Hant?)", "notes.pdf", "stats.json",
    ):  # fmt: skip
        assert shown in message
    with pytest.raises(UserError, match=r"en-sr\.jsonl: `sr` may mean .*data convert --source"):
        direction_of(tmp_path / "en-sr.jsonl")


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("train.en-fr.en", "eng_Latn-fra_Latn"),
        ("europarl-v7.fr-en.en.gz", "fra_Latn-eng_Latn"),
        ("Statmt-news_commentary-16-eng-fra.fra", "eng_Latn-fra_Latn"),
        ("data.en_US-pt_BR.pt_BR.txt.xz", "eng_Latn-por_Latn"),
        ("WikiMatrix.en-ha.tsv.gz", "eng_Latn-hau_Latn"),
        ("en-fr.tmx.gz", "eng_Latn-fra_Latn"),
        ("Tatoeba.rus-tyv.jsonl", "rus_Cyrl-tyv_Cyrl"),
        ("eng_Latn-twi_Latn_asan1239.parquet", "eng_Latn-twi_Latn_asan1239"),
        ("en-fr/train.jsonl", "eng_Latn-fra_Latn"),
        ("eng_Latn-mos_Latn.gz", "eng_Latn-mos_Latn"),
        ("pairs.tsv", None), ("readme.txt", None), ("model.bin", None), ("x.log.gz", None),
    ],
)  # fmt: skip
def test_direction_is_told_by_names_of_others(name: str, direction: str | None) -> None:
    found = direction_of(Path("somewhere") / name)
    assert (None if found is None else str(found)) == direction


LATIN = "été\tcafé\nnaïve\tcoûter\nforêt\tâge\n".encode("latin-1")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("en-fr.tsv", LATIN, "no UTF-8: 3 of the first 3 lines"),
        ("en-fr.tsv", b"a b\tc d\re f\tg h\r", "end in carriage returns alone"),
        (
            "en-fr.tsv",
            gzip.compress(b"a\tb\n"),
            r"is no text but gzip; unpack it, or let its name end in \.gz",
        ),
        ("en-fr.jsonl", lzma.compress(b"{}\n"), "is no text but xz"),
        ("en-fr.jsonl", b'{"source": "a", "source": "b", "target": "c"}\n', ":1: .*`source` twice"),
        ("en-fr.tmx", tmx(UNIT.replace('"fr"', '"xx"')), "none of its units has fra_Latn.*en, xx"),
        (
            "en-fr.tmx",
            tmx(UNIT.replace(">b<", ">&xxe;<"), f'{HEAD}<!DOCTYPE tmx SYSTEM "file:///etc/hosts">'),
            "entity `&xxe;` is not declared",
        ),
    ],
)
def test_text_of_other_encodings_and_kinds_is_named(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_bitext(write(tmp_path / name, data), direction=EN_FR)


def test_one_invalid_line_among_others_is_read_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "en-fr.tsv", b"a b\tcaf\xe9\n" + "é é\tà là\n".encode() * 9)
    assert read_bitext(path).num_rows == 10
    assert [record.message for record in caplog.records] == [
        f"{path}: 1 lines are not valid UTF-8; their invalid bytes were read as U+FFFD"
    ]
