"""Import targets: where user code is found, and what a wrong path says."""

from __future__ import annotations

import sys
import textwrap

import pytest

from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import ConfigErrors, UserError
from cvtrainer.core.locate import import_target


@pytest.fixture
def project(tmp_path, monkeypatch):
    """apps/<name>/model.py in a fresh root, and the import state put back afterwards."""
    path, modules = list(sys.path), dict(sys.modules)
    folder = tmp_path / "apps" / "my_project"
    folder.mkdir(parents=True)
    (folder / "model.py").write_text("class MyModel:\n    class Inner:\n        pass\n")
    (folder / "train.yaml").write_text("stages: []\n")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - set(modules):
        del sys.modules[name]


@pytest.mark.parametrize("inside", [".", "apps", "apps/my_project"])
@pytest.mark.seed("S0-14", "S0-20", "S0-110")
def test_user_code_is_found_from_the_root_and_from_inside(project, monkeypatch, inside):
    monkeypatch.chdir(project / inside)
    found = import_target("apps.my_project.model.MyModel")
    assert found.__name__ == "MyModel"
    assert sys.modules[found.__module__].__file__ == str(project / "apps/my_project/model.py")


@pytest.mark.seed("S0-14")
def test_user_code_is_found_beside_a_config_that_lies_elsewhere(
    project, tmp_path_factory, monkeypatch
):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    config = project / "apps/my_project/train.yaml"
    assert import_target("apps.my_project.model:MyModel", near=config).__name__ == "MyModel"


def test_two_projects_of_one_name_do_not_mix(project, tmp_path_factory, monkeypatch):
    first = import_target("apps.my_project.model.MyModel")
    other = tmp_path_factory.mktemp("other")
    (other / "apps/my_project").mkdir(parents=True)
    (other / "apps/my_project/model.py").write_text("class MyModel:\n    other = True\n")
    monkeypatch.chdir(other)
    second = import_target("apps.my_project.model.MyModel")
    assert second is not first
    assert second.other


def test_all_three_spellings_and_nested_attributes(project):
    dotted = import_target("apps.my_project.model.MyModel")
    assert import_target("apps.my_project.model:MyModel") is dotted
    assert import_target("apps.my_project.model:MyModel.Inner") is dotted.Inner
    from_file = import_target("apps/my_project/model.py:MyModel")
    assert from_file.__name__ == "MyModel"
    assert import_target("apps/my_project/model.py:MyModel") is from_file
    assert import_target("os.path.join") is __import__("os").path.join


def test_files_of_one_name_are_different_modules(project):
    (project / "a").mkdir()
    (project / "b").mkdir()
    (project / "a/net.py").write_text("KIND = 'a'\nclass Net: kind = KIND\n")
    (project / "b/net.py").write_text("KIND = 'b'\nclass Net: kind = KIND\n")
    assert import_target("a/net.py:Net").kind == "a"
    assert import_target("b/net.py:Net").kind == "b"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("apps.my_project.modle.MyModel", ["modle", "apps.my_project", "model"]),
        ("apps.my_project.model.MyModle", ["apps.my_project.model", "MyModle", "MyModel"]),
        ("nowhere_at_all.x.Y", ["nowhere_at_all"]),
        ("missing.py:Net", ["missing.py"]),
        ("apps..Model", ["no import path"]),
    ],
)
@pytest.mark.seed("S0-20")
def test_a_wrong_path_names_module_and_attribute(project, text, parts):
    with pytest.raises(UserError) as caught:
        import_target(text)
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


def test_a_failing_import_of_user_code_keeps_its_traceback(project):
    (project / "apps/my_project/broken.py").write_text("def f():\n    return 1 / 0\n\nf()\n")
    with pytest.raises(ZeroDivisionError) as caught:
        import_target("apps.my_project.broken.Model")
    assert any(str(entry.path).endswith("broken.py") for entry in caught.traceback)


def test_a_missing_package_inside_user_code_is_not_blamed_on_the_path(project):
    (project / "apps/my_project/needs.py").write_text("import not_installed_anywhere\n")
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        import_target("apps.my_project.needs.Model")


@pytest.mark.seed("S0-20")
def test_the_check_says_the_same_without_importing(project):
    config = project / "apps/my_project/train.yaml"
    config.write_text(
        textwrap.dedent("""
        model: apps.my_projct.model.MyModel
        optimizer: SGD
        dataloader: {train: {dataset: {data_path: x}}}
        """)
    )
    with pytest.raises(ConfigErrors) as caught:
        compile_config(config)
    (problem,) = caught.value.problems
    assert problem.suggestion == "apps.my_project.model.MyModel"
    assert problem.mark.line == 2
    assert "my_projct" in problem.what
