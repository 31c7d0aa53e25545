"""What pyproject.toml cannot say: a wheel carries assets/ as the folder `sam_assets`.

`experts.assets.assets_dir` finds the files in a checkout and in an installed wheel.
"""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py


class BuildWithAssets(build_py):
    """Copies assets/ into the wheel; an editable install reads them where they are."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "sam_assets")
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree("assets", target, ignore=shutil.ignore_patterns("__pycache__", ".*"))


setup(
    packages=find_packages(include=["experts", "experts.*", "db", "db.*", "sam_ui", "sam_ui.*"]),
    package_dir={"": "."},
    package_data={
        # Alembic reads its migrations as files; they are not imported as a package.
        "db": ["migrations/**/*", "*.ini", "py.typed"],
        "experts": ["py.typed"],
        "sam_ui": ["**/*.css", "**/*.js", "**/*.svg", "**/*.html"],
    },
    exclude_package_data={"": ["**/__pycache__/*"]},
    cmdclass={"build_py": BuildWithAssets},
)
