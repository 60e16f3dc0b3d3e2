"""Global settings hold inside a block only, whatever happens there."""

from __future__ import annotations

import logging as levels

import pytest
import torch
from transformers.utils import logging

from qloc.extract.models.torch_settings import quiet, threads


def test_the_number_of_threads_comes_back_after_an_exception() -> None:
    before = torch.get_num_threads()

    def check_and_fail() -> None:
        assert torch.get_num_threads() == before + 1
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), threads(before + 1):
        check_and_fail()
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("bars", [True, False])
def test_transformers_is_quiet_inside_and_as_before_outside(bars: bool) -> None:
    level, shown = logging.get_verbosity(), logging.is_progress_bar_enabled()

    def check_and_fail() -> None:
        assert logging.get_verbosity() == levels.ERROR
        assert not logging.is_progress_bar_enabled()
        raise ZeroDivisionError

    try:
        logging.set_verbosity_info()
        (logging.enable_progress_bar if bars else logging.disable_progress_bar)()
        with pytest.raises(ZeroDivisionError), quiet():
            check_and_fail()
        assert logging.get_verbosity() == levels.INFO
        assert logging.is_progress_bar_enabled() == bars
    finally:
        logging.set_verbosity(level)
        (logging.enable_progress_bar if shown else logging.disable_progress_bar)()
