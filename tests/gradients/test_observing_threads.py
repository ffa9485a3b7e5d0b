"""Other threads of the loop that use the observed model, also while observe runs it on its own."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from batchscope.gradients import observe
from tests.gradients.loops import DATA, SIZE, Recurrent, both, check, cross_entropy, net, plain, truth

pytestmark = pytest.mark.filterwarnings("ignore::batchscope.gradients.ObserveWarning")
SEVERAL = "several threads"


def in_another_thread(function, *arguments):
    other = threading.Thread(target=function, args=arguments)
    other.start()
    other.join()


def test_several_threads_share_gradients():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with observe(model, optimizer=optimizer) as observed:
        for k in range(2):
            plain(model, *DATA[0])
            if k == 0:
                in_another_thread(plain, model, *DATA[1])
            optimizer.step()
            optimizer.zero_grad()
    assert list(observed.history) == [1]
    assert SEVERAL in observed.notes[0].reason


def test_an_evaluation_in_another_thread_does_not_end_the_observed_call():
    class Waiting(nn.Module):
        """While it trains, another thread evaluates it."""

        def __init__(self):
            super().__init__()
            self.net = net()

        def forward(self, x):
            if torch.is_grad_enabled() and self.training and len(x) == SIZE:
                in_another_thread(self.evaluate, x[:2])
            return self.net(x)

        @torch.no_grad()
        def evaluate(self, x):
            self(x)

    assert not both(Waiting).notes


class Visited(nn.Module):
    """Another thread acts as soon as a batch of another size comes, as in passes of observe's own."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.visit = inner(), lambda: None

    def forward(self, x):
        if len(x) != SIZE:
            self.visit()
        return self.inner(x)


class Visits:
    """The step of a loop in which another thread acts once in every step: while observe runs the model, if it does."""

    def __init__(self, act):
        self._act, self._left = act, 0
        self.inside = 0  # how often it was then

    def __call__(self, model, x, y):
        self._left = 1
        model.visit = lambda: self._visit(model, x, y)
        plain(model, x, y)
        if self._left:
            self._left = 0
            in_another_thread(self._act, model, x, y)

    def _visit(self, model, x, y):
        if self._left:
            self._left, self.inside = 0, self.inside + 1
            in_another_thread(self._act, model, x, y)


@pytest.mark.parametrize("build", [net, Recurrent], ids=["inside", "second pass"])
def test_a_second_worker_while_observe_runs_the_model_is_no_part_of_it_and_is_said(build):
    """What it adds to `.grad` stays there; a rehearsal is in the first step, second passes of batches of one in all."""
    visits = Visits(plain)
    observed = both(lambda: Visited(build), visits, one=None, audit_every=1)
    assert visits.inside
    assert not observed.history
    assert SEVERAL in observed.notes[0].reason


def test_a_second_worker_in_the_rehearsal_alone_costs_that_step_alone():
    visits = Visits(plain)
    model = Visited(net)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    right = {}
    with observe(model, optimizer=optimizer) as observed:
        for k, (x, y) in enumerate(DATA):
            if k:
                right[k] = truth(model, cross_entropy, x, y)
            (plain if k else visits)(model, x, y)
            optimizer.step()
            optimizer.zero_grad()
    assert visits.inside == 1
    check(observed, right)
    assert [SEVERAL in note.reason for note in observed.notes] == [True]


def test_an_evaluation_while_observe_runs_the_model_changes_nothing():
    @torch.no_grad()
    def evaluate(model, x, y):
        model(x)

    visits = Visits(evaluate)
    assert not both(lambda: Visited(net), visits, audit_every=1).notes
    assert visits.inside


def test_a_backward_pass_of_another_thread_in_a_later_step_is_said():
    """A worker that runs behind: its call of one step has its backward pass in a later one."""
    model = nn.Linear(5, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    right = truth(model, cross_entropy, *DATA[0])
    with ThreadPoolExecutor(1) as worker, observe(model, optimizer=optimizer) as observed:
        for k in range(4):
            plain(model, *DATA[0])
            if k == 0:
                loss = worker.submit(cross_entropy, model, *DATA[1]).result()
            if k == 2:
                worker.submit(loss.backward).result()
            optimizer.step()
            optimizer.zero_grad()
    check(observed, {1: right, 3: right})
    assert [(SEVERAL in note.reason, note.times) for note in observed.notes] == [(True, 2)]


def test_steps_that_run_in_one_thread_each_and_loaders_with_threads_are_observed():
    """Who runs a step is no matter while it is one thread; a loader's threads do not call the model."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    right = {}

    def step(x, y):
        plain(model, x, y)
        optimizer.step()
        optimizer.zero_grad()

    data = TensorDataset(torch.cat([x for x, _ in DATA]), torch.cat([y for _, y in DATA]))
    with observe(model, optimizer=optimizer) as observed:
        for k, (x, y) in enumerate(DataLoader(data, SIZE, num_workers=1)):
            right[k] = truth(model, cross_entropy, x, y)
            in_another_thread(step, x, y)
    check(observed, right)
    assert not observed.notes
