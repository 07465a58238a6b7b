"""`overread --help` answers at once, and the clinic's half of the package never needs the training framework."""

import subprocess
import sys

HEAVY = (
    "keras",
    "tensorflow",
    "onnxruntime",
    "sklearn",
    "scipy",
    "matplotlib",
    "pydicom",
    "highdicom",
    "starlette",
    "PIL",
    "numpy",
)


def loaded(code: str, among: tuple[str, ...] = HEAVY) -> set[str]:
    told = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr
    return set(told.stdout.split()) & set(among)


def test_the_command_line_and_the_package_load_nothing_heavy():
    assert loaded("import overread, overread.cli; overread.cli.parser()") == set()


def test_the_check_can_fail():
    assert "numpy" in loaded("import overread; overread.predict")


SLOW = ("scipy.stats", "scipy.ndimage", "sklearn", "nibabel", "highdicom", "matplotlib", "keras", "onnx")
"""What an answer does not use: loading these took longer than answering."""


def test_a_prediction_loads_nothing_that_it_does_not_use():
    assert loaded("import overread; overread.predict", SLOW) == set()


def test_the_check_of_a_prediction_can_fail():
    assert "highdicom" in loaded("import overread.formats.evidence", SLOW)


BLOCKED = """
import sys
for name in ("keras", "tensorflow", "tf2onnx", "onnx"):
    sys.modules[name] = None  # importing it now fails, as if it were not installed
import overread as ov
"""


def test_predict_explain_and_export_need_no_training_framework(run, pictures, tmp_path):
    code = BLOCKED + (
        f"ov.predict({str(run)!r}, {str(pictures)!r}, out={str(tmp_path / 'p')!r}, progress=False)\n"
        f"ov.explain({str(run)!r}, {str(pictures / 'film000.png')!r}, out={str(tmp_path / 'e')!r}, progress=False)\n"
        f"ov.export({str(run)!r}, out={str(tmp_path / 'm.onnx')!r})\n"
        "import overread.serve.app\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr


def test_training_without_the_framework_says_what_to_install(archive, tmp_path):
    words = ["train", str(archive), "--label", "blob", "--out", str(tmp_path / "r")]
    code = BLOCKED + f"from overread.cli import main; sys.exit(main({words!r}))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert told.returncode == 1
    assert 'pip install "overread[train]"' in told.stderr
