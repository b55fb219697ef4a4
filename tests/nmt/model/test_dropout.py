import pytest
import torch

from nmt.model.config import named_config
from nmt.model.dropout import dropout, replace_dropout
from nmt.model.translator import create_model


@pytest.mark.parametrize("p", [0.05, 0.1, 0.5, 0.9])
def test_share_p_is_dropped_and_the_rest_scaled_to_the_same_mean(p: float) -> None:
    torch.manual_seed(0)
    values = torch.ones(1000, 333, requires_grad=True)
    dropped = dropout(values, p, True)
    share = float((dropped == 0).float().mean())
    assert share == pytest.approx(p, abs=4 * (p * (1 - p) / values.numel()) ** 0.5 + 1e-5)
    assert torch.unique(dropped).tolist() == [0, pytest.approx(1 / (1 - p), rel=2e-4)]
    dropped.sum().backward()
    assert torch.equal(values.grad, dropped.detach())  # type: ignore[arg-type]


def test_what_is_dropped_follows_torchs_seed_and_state() -> None:
    values = torch.ones(64, 5)
    torch.manual_seed(1)
    first = dropout(values, 0.5, True)
    state = torch.get_rng_state()
    second = dropout(values, 0.5, True)
    assert not torch.equal(first, second)
    torch.set_rng_state(state)
    assert torch.equal(second, dropout(values, 0.5, True))
    torch.manual_seed(1)
    assert torch.equal(first, dropout(values, 0.5, True))


def test_nothing_is_dropped_at_evaluation_or_with_probability_zero() -> None:
    values = torch.ones(3)
    assert dropout(values, 0.5, False) is values
    assert dropout(values, 0.0, True) is values


def test_a_model_has_this_dropout_everywhere() -> None:
    model = create_model(named_config("small"))
    assert not [one for one in model.modules() if type(one) is torch.nn.Dropout]
    replace_dropout(model)  # twice changes nothing
    assert [type(one).__module__ for one in model.modules() if isinstance(one, torch.nn.Dropout)]
