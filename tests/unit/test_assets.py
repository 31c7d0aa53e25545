from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from experts import assets
from experts.errors import SamError

ROOT = Path(__file__).resolve().parents[2]


def test_assets_of_the_checkout() -> None:
    assert assets.assets_dir() == ROOT / "assets"
    assert (assets.assets_dir() / "samples").is_dir()


def test_assets_of_an_installed_wheel_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assets, "__file__", str(tmp_path / "experts" / "assets.py"))
    (tmp_path / "assets").mkdir()  # somebody else's package
    (tmp_path / "sam_assets").mkdir()
    assert assets.assets_dir() == tmp_path.resolve() / "sam_assets"


def test_missing_assets_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "__file__", str(tmp_path / "experts" / "assets.py"))
    with pytest.raises(SamError, match=r"own files .* are missing"):
        assets.assets_dir()


def test_wheel_carries_assets_and_migrations(tmp_path: Path) -> None:
    """Build a wheel from a copy, unpack it and ask the unpacked package for its files."""
    source = tmp_path / "source"
    ignore = shutil.ignore_patterns("__pycache__", "*.safetensors")
    for folder in ("experts", "db", "sam_ui", "assets"):
        shutil.copytree(ROOT / folder, source / folder, ignore=ignore)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source)
    marker = source / "assets" / "experts" / "somebody" / "card.json"
    marker.parent.mkdir(parents=True)
    marker.write_text("{}", "utf-8")

    build = "from setuptools.build_meta import build_wheel; build_wheel('.')"
    made = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    (wheel,) = source.glob("sam_ui-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")

    shipped = [
        path.relative_to(source).as_posix()
        for folder in ("experts", "db", "sam_ui")
        for path in (source / folder).rglob("*")
        if path.suffix in {".py", ".js", ".css", ".mako", ".typed"}
    ]
    assert set(shipped) - names == set()
    assert not any(name.startswith(("tests/", "benchmarks/", "assets/")) for name in names)

    ask = "from experts.assets import assets_dir; print(assets_dir())"
    ran = subprocess.run(
        [sys.executable, "-c", ask],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    )
    folder = Path(ran.stdout.strip())
    assert folder == (tmp_path / "site" / "sam_assets").resolve()
    assert (folder / "experts" / "somebody" / "card.json").read_text("utf-8") == "{}"
