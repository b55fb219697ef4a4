"""The same pairs from every format, and what each format has of its own."""

import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import escape

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.bitext import BitextReader, bitext_paths, bitext_writer, count_pairs, direction_of
from corpus.bitext import copy_first_pairs as copy_pairs
from corpus.errors import DataError, UserError
from corpus.languages import Direction
from corpus.records import bitext_files, read_bitext

EN_FR = Direction("eng_Latn", "fra_Latn")
Pairs = list[tuple[str, str]]
SOME: Pairs = [("Good day.", "Bonjour."), ("", "Vide"), ("a\u2028b \x85 c", "नमस्ते ا"), ("x", "")]


def lines(texts: list[str], end: str = "\n") -> bytes:
    return "".join(f"{text}{end}" for text in texts).encode()


def moses(folder: Path, pairs: Pairs, stem: str = "train.en-fr", codes: str = "en fr") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    first, second = codes.split()
    (folder / f"{stem}.{first}").write_bytes(lines([source for source, _ in pairs]))
    (folder / f"{stem}.{second}").write_bytes(lines([target for _, target in pairs], "\r\n"))
    return folder / f"{stem}.{first}"


def write(path: Path, data: bytes) -> Path:
    pack: dict[str, Callable[[bytes], bytes]] = {
        ".gz": gzip.compress, ".xz": lzma.compress, ".zst": zstandard.ZstdCompressor().compress,
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pack.get(path.suffix, bytes)(data))
    return path


def json_lines(rows: list[object]) -> bytes:
    return lines([json.dumps(row, ensure_ascii=index % 2 == 0) for index, row in enumerate(rows)])


def tmx_text(pairs: Pairs, encoding: str = "utf-8") -> str:
    units = "".join(
        f'<tu><tuv xml:lang="EN-us"><seg>{escape(source)}</seg></tuv>\n'
        f'<tuv lang="fr"><seg>{escape(target)}</seg></tuv></tu>\n'
        for source, target in pairs
    )
    return (
        f'<?xml version="1.0" encoding="{encoding}"?>\n<!DOCTYPE tmx SYSTEM "tmx14.dtd">\n'
        f'<tmx version="1.4"><header srclang="en"/><body>{units}</body></tmx>\n'
    )


def archive(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
            for name, data in files.items():
                opened.writestr(name, data)
        return path
    with tarfile.open(path, "w:gz" if path.suffix in (".tgz", ".gz") else "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def sides(pairs: Pairs) -> tuple[list[str], list[str]]:
    return [source for source, _ in pairs], [target for _, target in pairs]


def translation(pairs: Pairs) -> list[object]:
    return [{"id": i, "translation": {"en": s, "fr": t}} for i, (s, t) in enumerate(pairs)]


def flat_parquet(path: Path, pairs: Pairs, names: tuple[str, str]) -> Path:
    source, target = sides(pairs)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({names[1]: target, names[0]: source}), path)
    return path


def opus(pairs: Pairs, stem: str = "GNOME.en-fr") -> dict[str, bytes]:
    source, target = sides(pairs)
    return {"README": b"x", f"{stem}.en": lines(source), f"{stem}.fr": lines(target)}


def struct_parquet(path: Path, pairs: Pairs) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    column = pa.array(
        [{"en": source, "fr": target} for source, target in pairs],
        pa.struct({"en": pa.string(), "fr": pa.string()}),
    )
    pq.write_table(pa.table({"translation": column}), path)
    return path


WRITERS: dict[str, Callable[[Path, Pairs], Path]] = {
    "Moses, pair in the stem": lambda d, p: moses(d, p),
    "Moses, twins": lambda d, p: moses(d, p, "X"),
    "mtdata": lambda d, p: moses(d, p, "Statmt-news-16-eng-fra", "eng fra"),
    "Moses, gz": lambda d, p: (
        write(d / "a.en.gz", lines(sides(p)[0])), write(d / "a.fr", lines(sides(p)[1])),
    )[0],
    "Moses, txt": lambda d, p: (
        write(d / "a.en.txt", lines(sides(p)[0])), write(d / "a.fr.txt", lines(sides(p)[1])),
    )[0],
    "JSON lines, translation": lambda d, p: write(d / "x.jsonl", json_lines(translation(p))),
    "JSON lines, source": lambda d, p: write(
        d / "en-fr.json.xz", json_lines([{"source": s, "target": t} for s, t in p])
    ),
    "JSON lines, src": lambda d, p: write(
        d / "en-fr.jsonl.gz", json_lines([{"tgt": t, "src": s} for s, t in p])
    ),
    "JSON lines, sentence_": lambda d, p: write(
        d / "x.en-fr.ndjson.zst",
        json_lines([{"sentence_fra_Latn": t, "sentence_eng_Latn": s} for s, t in p]),
    ),
    "TMX": lambda d, p: write(d / "a.tmx", tmx_text(p).encode()),
    "TMX, gz, UTF-16": lambda d, p: write(
        d / "en-fr.tmx.gz", tmx_text(p, "UTF-16").encode("utf-16")
    ),
    "zip of OPUS": lambda d, p: archive(d / "en-fr.txt.zip", opus(p)),
    "zip of TMX": lambda d, p: archive(d / "en-fr.zip", {"a/b.tmx": tmx_text(p).encode()}),
    "tar": lambda d, p: archive(d / "x.tar", opus(p, "training/europarl-v7.en-fr")),
    "tgz": lambda d, p: archive(d / "x.tgz", {**opus(p), "dev.en-fr.en": b"", "dev.en-fr.fr": b""}),
    "Parquet, structure": lambda d, p: struct_parquet(d / "en-fr" / "train.parquet", p),
    "Parquet, sentence_": lambda d, p: flat_parquet(
        d / "en-fr.parquet", p, ("sentence_eng_Latn", "sentence_fra_Latn")
    ),
    "NLLB": lambda d, p: write(
        d / "eng_Latn-fra_Latn.gz",
        lines([f"{s}\t{t}\t1.07\t0.99\t1\tcc\thttp://a\tcc\thttp://b" for s, t in p]),
    ),
}  # fmt: skip

TEXT = st.text(
    st.characters(exclude_characters="\n\t\r\0", exclude_categories=["Cs", "Cc"]), max_size=12
).map(str.strip)


@settings(max_examples=5)
@pytest.mark.parametrize("name", WRITERS)
@given(pairs=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5))
def test_same_pairs_are_read_from_every_format(
    name: str, pairs: Pairs, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = WRITERS[name](tmp_path_factory.mktemp("x"), pairs)
    for rows in (2, 100):
        reader = BitextReader(path, rows, direction=EN_FR)
        for _ in range(2):  # it may be read again
            tables = list(reader)
            assert all(t.schema == reader.schema and 0 < t.num_rows <= rows for t in tables)
            read = pa.concat_tables(tables)
            assert (read["source"].to_pylist(), read["target"].to_pylist()) == sides(pairs)
        assert reader.count() == len(pairs)


@pytest.mark.parametrize("name", WRITERS)
def test_direction_is_told_and_a_copy_of_the_first_pairs_is_read_back(
    name: str, tmp_path: Path
) -> None:
    path = WRITERS[name](tmp_path / "in", SOME * 60)
    assert direction_of(path) == EN_FR
    assert copy_pairs(path, tmp_path / "copy", EN_FR, 7) == 7
    (copy,) = bitext_files(tmp_path / "copy").values()
    table = read_bitext(copy, direction=EN_FR)
    assert [table[side].to_pylist() for side in ("source", "target")] == [
        list(side[:7]) for side in sides(SOME * 2)
    ]
    assert set(bitext_paths(path)) <= set(path.parent.iterdir())


def test_scores_and_documents_of_others_are_ours(tmp_path: Path) -> None:
    files = opus(SOME)
    files["GNOME.en-fr.ids"] = lines([f"en/{i}.xml\tfr/{i}.xml\t1 2\t3" for i in range(4)])
    files["GNOME.en-fr.scores"] = lines(["1.5", "", "0.25", "1"])
    table = read_bitext(archive(tmp_path / "en-fr.txt.zip", files))
    assert table["score"].to_pylist() == [1.5, None, 0.25, 1.0]
    assert table["source_document"].to_pylist()[0] == "en/0.xml"
    assert table["target_document"].to_pylist()[3] == "fr/3.xml"
    nllb = read_bitext(WRITERS["NLLB"](tmp_path, SOME))
    assert nllb.column_names[:5] == ["source", "target", "score", *nllb.column_names[3:5]]
    assert nllb["score"].to_pylist() == [pytest.approx(1.07)] * 4
    assert nllb["source_document"].to_pylist() == ["http://a"] * 4
    assert nllb["target_lid_score"].to_pylist() == ["1"] * 4


@pytest.mark.parametrize("suffix", ["tmx", "tmx.gz"])
def test_tmx_is_read_back_as_written(tmp_path: Path, suffix: str) -> None:
    table = pa.table(
        {
            "score": pa.array([0.1, None], pa.float32()),
            "source": ["a & <b> \x01", "c"],
            "target": ["ß", "ա\u2028 ]]>"],
            "source_document": ["http://a?b&c", ""],
            "target_document": ["", "d"],
        }
    )
    path = tmp_path / f"eng_Latn-zho_Hans.{suffix}"
    with bitext_writer(path, table.schema) as write_rows:
        write_rows(table)
    expected = table.to_pydict() | {"source": ["a & <b>", "c"]}
    assert read_bitext(path).to_pydict() == expected
    with pytest.raises(UserError, match=r"pairs\.tmx: a TMX names its languages"):
        bitext_writer(tmp_path / "pairs.tmx", table.schema).__enter__()


def test_units_of_many_languages_give_the_pairs_of_a_direction(tmp_path: Path) -> None:
    unit = (
        '<tu><prop type="x-score">0.5</prop>'
        '<tuv xml:lang="en"><prop type="source-document">http://a</prop><seg>one</seg></tuv>'
        '<tuv xml:lang="de-AT"><seg>eins</seg></tuv><tuv xml:lang="fr-CA"><seg>un</seg></tuv>'
        '<tuv xml:lang="fr"><seg>une</seg></tuv></tu><tu><tuv xml:lang="fr"><seg>x</seg></tuv></tu>'
    )
    text = f'<tmx version="1.4"><header srclang="en"/><body>{unit}</body></tmx>'
    path = write(tmp_path / "a.tmx", text.encode())
    assert [str(one) for one in bitext_files(tmp_path)] == [
        "eng_Latn-deu_Latn",
        "eng_Latn-fra_Latn",
    ]
    reader = BitextReader(path, direction=EN_FR)
    assert next(iter(reader)).to_pydict() == {
        "score": [0.5, 0.5],
        "source": ["one", "one"],
        "target": ["un", "une"],
        "source_document": ["http://a", "http://a"],
        "target_document": ["", ""],
    }
    assert reader.left_out == {"units_without_both_languages": 1}
    with pytest.raises(UserError, match="does not tell which two languages"):
        BitextReader(path)


def test_native_codes_of_a_segment_are_left_out_and_its_text_stays(tmp_path: Path) -> None:
    seg = (
        'Press <bpt i="1">&lt;b&gt;<sub>no</sub></bpt><hi type="x">OK</hi><ept i="1">&lt;/b&gt;'
        '</ept><ph/>\n      now<it pos="begin">[i]</it> <![CDATA[& go]]>'
    )
    text = tmx_text([("S", "cible")]).replace(">S<", f">{seg}<")
    table = read_bitext(write(tmp_path / "en-fr.tmx", text.encode()))
    assert table["source"].to_pylist() == ["Press OK now & go"]


def test_other_keys_of_json_lines_are_columns(tmp_path: Path) -> None:
    rows = [
        {"src": "a", "tgt": "b", "score": 1, "meta": {"url": "http://x", "n": [1]}},
        {"src": None, "tgt": "d", "score": 0.5, "meta": None},
    ]
    table = read_bitext(write(tmp_path / "en-fr.jsonl", b"\xef\xbb\xbf" + json_lines(rows)))
    assert table.to_pydict() == {
        "source": ["a", ""],
        "target": ["b", "d"],
        "score": [1.0, 0.5],
        "meta.url": ["http://x", ""],
        "meta.n": ["[1]", ""],
    }
    given = {"source": "meta.url", "target": "tgt"}
    with pytest.raises(DataError, match=r"en-fr\.jsonl:2: there is no `meta\.url`"):
        read_bitext(tmp_path / "en-fr.jsonl", given)


def test_parts_of_a_parquet_file_are_one_bitext(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "en-fr"
    for number in range(2):
        struct_parquet(folder / f"train-{number:05}-of-00002.parquet", [(f"s{number}", "t")])
    struct_parquet(folder / "validation-00000-of-00001.parquet", [("held", "out")])
    ((direction, path),) = bitext_files(tmp_path / "data").items()
    assert (direction, count_pairs(path), len(bitext_paths(path))) == (EN_FR, 2, 2)
    assert read_bitext(path)["source"].to_pylist() == ["s0", "s1"]
    flat_parquet(folder / "train-00001-of-00002.parquet", [("a", "b")], ("en", "fr"))
    with pytest.raises(DataError, match="of which it is a part, has"):
        read_bitext(path)
    (folder / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(DataError, match=r"train-00001-of-00002\.parquet is missing"):
        read_bitext(path)
