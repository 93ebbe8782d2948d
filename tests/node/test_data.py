"""Prepared data: what does not match its manifest is never used."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from nodes import text, write_data

from autoresearch.errors import DataError
from autoresearch.experiment import Split
from autoresearch.node import kernel
from autoresearch.node.data import Prepared, manifest_id


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write_data(tmp_path / "data", {"train": 3000, "validation": 500, "test": 400})
    return tmp_path / "data"


def test_what_was_written_is_read(directory: Path) -> None:
    prepared = Prepared.open(directory)
    assert prepared.id == manifest_id(directory)
    assert prepared.vocabulary == len(prepared.token_bytes()) == 32
    assert (prepared.tokens(Split.validation) == text(500, 1)).all()
    assert (prepared.tokens(Split.test) == text(400, 2)).all()


def test_training_tokens_lie_sealed_in_memory(directory: Path) -> None:
    descriptor = Prepared.open(directory).seal_training_tokens()
    assert kernel.is_sealed(descriptor)
    data = os.pread(descriptor, 10_000, 0)
    assert (np.frombuffer(data, dtype="<u2") == text(3000, 0)).all()
    os.close(descriptor)


def test_several_files_are_one_stream(directory: Path) -> None:
    manifest = json.loads((directory / "manifest.json").read_text())
    manifest["splits"]["train"]["files"] = ["train-00000.bin", "test-00000.bin"]
    (directory / "manifest.json").write_text(json.dumps(manifest))
    descriptor = Prepared.open(directory).seal_training_tokens()
    assert os.fstat(descriptor).st_size == 2 * 3400
    os.close(descriptor)


def test_no_data_names_the_cure(tmp_path: Path) -> None:
    for read in (manifest_id, Prepared.open):
        with pytest.raises(DataError, match="run `autoresearch prepare`"):
            read(tmp_path)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [("", "no manifest"), ("[]", "no manifest"), ("{}", "no manifest"), ('{"schema": 9}', "has 9")],
)
def test_a_manifest_of_another_kind_is_refused(
    directory: Path, content: str, complaint: str
) -> None:
    (directory / "manifest.json").write_text(content)
    with pytest.raises(DataError, match=complaint):
        Prepared.open(directory)


def read_all(prepared: Prepared) -> None:
    os.close(prepared.seal_training_tokens())
    prepared.tokens(Split.validation)
    prepared.token_bytes()


@pytest.mark.parametrize("damage", ["flip", "cut", "grow", "remove"])
@pytest.mark.parametrize("name", ["train-00000.bin", "validation-00000.bin", "token_bytes.bin"])
def test_damage_is_noticed_and_named(directory: Path, name: str, damage: str) -> None:
    path = directory / name
    data = path.read_bytes()
    changed = {"flip": bytes([data[0] ^ 1]) + data[1:], "cut": data[:-2], "grow": data + b"\0\0"}
    path.unlink()
    if damage != "remove":
        path.write_bytes(changed[damage])
    with pytest.raises(DataError, match=name):
        read_all(Prepared.open(directory))


def test_a_damaged_test_split_disturbs_nobody_who_does_not_ask(directory: Path) -> None:
    (directory / "test-00000.bin").write_bytes(b"")
    prepared = Prepared.open(directory)
    assert len(prepared.tokens(Split.validation)) == 500
    with pytest.raises(DataError, match=r"test-00000\.bin"):
        prepared.tokens(Split.test)
