"""Attribution methods by name: qloc's own, registered ones, and functions of a user's module."""

import sys
from types import ModuleType

import numpy as np
import pytest

import qloc
from qloc import methods
from qloc.errors import InputError


@pytest.fixture
def registry(monkeypatch):
    """Give each test a registry of its own: another test of the process may have registered more."""
    monkeypatch.setattr(methods, "_REGISTERED", {method.name: method for method in methods.BUILT_IN})


def test_the_own_methods_and_what_their_scores_add_up_to(registry):
    assert methods.registered() == ("ig", "ig_mean", "amig", "amig_mean_path", "sig", "grad_x_act")
    complete = [name for name in methods.registered() if methods.method(name).complete]
    assert complete == ["ig", "ig_mean", "amig", "sig"]

    class Path:
        activation, gradient = np.array([2.0, -1.0]), np.array([3.0, 5.0])
        mean_gradient, step = np.array([0.5, 0.25]), np.array([1.0, 4.0])

    scores = {name: methods.method(name).score(Path).tolist() for name in methods.registered()}
    assert scores == {
        "ig": [0.5, 1.0],
        "ig_mean": [0.5, 1.0],
        "amig": [0.5, 1.0],
        "amig_mean_path": [1.0, -0.25],
        "sig": [0.5, 1.0],
        "grad_x_act": [6.0, -5.0],
    }


def test_a_registered_method_can_be_asked_for_and_has_a_digest(registry):
    made = methods.register("doubled", lambda path: 2 * path.activation, complete=False)
    assert methods.method("doubled") is made
    assert methods.sources(["ig", "doubled"]) == {"doubled": made.source}
    other = methods.register("tripled", lambda path: 3 * path.activation)
    assert other.source != made.source


def test_a_function_of_a_module_is_imported_with_its_options(registry, monkeypatch):
    mine = ModuleType("mine_of_this_test")

    class Positive:
        path, normalized = "mean", True

        def __call__(self, path):
            return path.activation

    monkeypatch.setattr(mine, "positive", Positive(), raising=False)
    monkeypatch.setitem(sys.modules, mine.__name__, mine)
    made = methods.method("mine_of_this_test:positive")
    assert (made.path, made.normalized, made.complete) == ("mean", True, False)


def test_names_that_are_none_are_refused_with_those_that_are(registry):
    names = "ig, ig_mean, amig, amig_mean_path, sig, grad_x_act"
    with pytest.raises(InputError) as caught:
        methods.method("igg")
    assert str(caught.value) == (
        f"attribution method is 'igg'; expected {names}, or module:function of your own. At methods. "
        "Choose one, or register it."
    )
    with pytest.raises(InputError) as caught:
        methods.method("amig_as_coded")
    assert str(caught.value) == (
        "attribution method is 'amig_as_coded'; expected amig_mean_path, as amig_as_coded is called now. At "
        "methods. Choose one, or register it."
    )
    with pytest.raises(
        InputError, match=r"^attribution method is 'none_such:f'; expected module:function that"
    ):
        methods.method("none_such:f")
    with pytest.raises(InputError) as caught:
        methods.register("ig", lambda path: path.activation)
    assert str(caught.value) == (
        "attribution method is 'ig'; expected another name than those of qloc's own methods. "
        "At qloc.methods.register. Rename it."
    )


def test_a_module_of_the_current_folder_is_found(registry, tmp_path, monkeypatch):
    """As from the console script, on whose path only its own folder is."""
    (tmp_path / "my_methods_of_a_test.py").write_text("def positive(found):\n    return found.gradient\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder not in ("", str(tmp_path))])
    assert qloc.methods.rule_broken_by("my_methods_of_a_test:positive") == ""
    assert "my_methods_of_a_test:positive" in qloc.methods.registered()
    assert "(" in qloc.methods.rule_broken_by("my_methods_of_a_test:negative")
