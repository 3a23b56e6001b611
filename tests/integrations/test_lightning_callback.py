"""The callback audits what Lightning trains, logs what the audit says, and touches nothing."""

import contextlib
import copy
import json
import operator
import pickle
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from canonize import (
    C,
    Fields,
    Image,
    Index,
    LawError,
    Point,
    Rows,
    Scalar,
    Symmetry,
    SymmetryError,
    accuracy,
    audit,
    symmetrize,
)

lightning = pytest.importorskip("lightning", reason="lightning is not installed")

from canonize.integrations import lightning as integration  # noqa: E402  # the library comes first
from canonize.integrations.lightning import AuditCallback  # noqa: E402

# Lightning advises against few workers and small data sets, which is all that a test has.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*(not have many workers|number of training batches|no .*dataloader|LeafSpec|eval mode at the start).*"
)
TURNS = Symmetry(C(4), Image(), Scalar())


class Tiny(lightning.LightningModule):
    """A classifier whose numbers depend on everything that a callback could disturb: modes, random states, statistics."""

    def __init__(self, upright=False, noisy=False):
        super().__init__()
        net = torch.nn.Sequential(
            torch.nn.Flatten(),
            torch.nn.Linear(16, 8),
            torch.nn.BatchNorm1d(8),
            torch.nn.Dropout(),
            torch.nn.Linear(8, 3),
        )
        self.net = symmetrize(net, TURNS) if upright else net
        self.noisy = noisy

    def forward(self, x):
        # A model that draws when it is asked: whoever asks must put the random states back.
        noise = 1 + 1e-9 * (torch.rand(()) + random.random() + np.random.rand()) if self.noisy else 1  # noqa: NPY002
        return self.net(x) * noise

    def training_step(self, batch, index):
        x, y = batch
        return F.cross_entropy(self.net(x + random.random() + np.random.rand()), y)  # noqa: NPY002  # the global states

    def validation_step(self, batch, index):
        self.log("val_loss", F.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def data(count=32, size=8, shuffle=False):
    draw = torch.Generator().manual_seed(7)
    images = torch.rand(count, 1, 4, 4, generator=draw)
    return DataLoader(TensorDataset(images, torch.arange(count) % 3), batch_size=size, shuffle=shuffle)


def trainer(folder, *callbacks, epochs=2, **settings):
    usual = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
        "devices": 1,
    }
    return lightning.Trainer(default_root_dir=folder, max_epochs=epochs, callbacks=list(callbacks), **usual | settings)


def trained(folder, *callbacks, **settings):
    """A model after training, and what drives it."""
    lightning.seed_everything(3, verbose=False)
    model = Tiny(noisy=True)
    drive = trainer(folder, *callbacks, **settings)
    drive.fit(model, data(shuffle=True), data(20))
    return model, drive


def same(one, two):
    return all(torch.equal(value, two.state_dict()[name]) for name, value in one.state_dict().items())


def test_training_is_bit_for_bit_what_it_is_without_the_callback(tmp_path, monkeypatch):
    plain, _ = trained(tmp_path)
    watched, _ = trained(
        tmp_path, AuditCallback(TURNS, seed=5), AuditCallback(TURNS, data(8).dataset[:8][0], prefix="own")
    )
    assert same(plain, watched)
    # The law can tell: an audit that leaves the random states where they are changes the weights.
    monkeypatch.setattr(integration, "isolate_rng", lambda **_: contextlib.nullcontext())
    disturbed, _ = trained(tmp_path, AuditCallback(TURNS))
    assert not same(plain, disturbed)


def test_the_numbers_are_the_audits(tmp_path):
    watch = AuditCallback(TURNS, samples=17)
    model, drive = trained(tmp_path, watch, epochs=1)
    model.eval().noisy = False
    images, labels = data(20).dataset[:17]
    found = audit(model, TURNS, images, targets=labels, metric=accuracy, cost=False)
    told = {name: float(value) for name, value in drive.callback_metrics.items()}
    assert found.error.max > 0.01
    assert told["audit/error_max"] == pytest.approx(found.error.max, rel=1e-5)
    assert told["audit/error_median"] == pytest.approx(found.error.median, rel=1e-5)
    assert told["audit/accuracy_mean"] == pytest.approx(found.metric.mean)
    assert told["audit/accuracy_upright"] == pytest.approx(found.metric.upright)
    assert told["audit/accuracy_worst"] == pytest.approx(found.metric.worst_element)
    assert told["audit/agreement"] == pytest.approx(found.agreement)
    assert told["audit/verdict"] == -1
    assert "audit/floor_median" not in told
    assert "val_loss" in told
    (row,) = watch.history
    assert (row["epoch"], row["verdict"], watch.last.samples) == (0, "fail", 17)


def test_a_symmetrized_model_passes_and_is_seen_through_an_attribute(tmp_path):
    watch = AuditCallback(
        Symmetry(C(8), Image(), Scalar()), model=operator.attrgetter("net"), prefix="turns", metric=None, elements=4
    )
    drive = trainer(tmp_path, watch, epochs=1)
    drive.validate(Tiny(upright=True), data(24), verbose=False)
    assert watch.last.frame == "Average"
    assert float(drive.callback_metrics["turns/floor_median"]) > 0
    assert not [name for name in drive.callback_metrics if "accuracy" in name]


def test_modes_are_put_back(tmp_path):
    seen = []

    class Watch(lightning.Callback):
        def on_train_epoch_end(self, trainer, module):
            seen.append([part.training for part in module.modules()])

    model = Tiny()
    model.net[2].eval()
    # Without validation the module is in train mode when it is audited.
    watch = AuditCallback(TURNS, torch.rand(24, 1, 4, 4))
    lightning.seed_everything(0, verbose=False)
    trainer(tmp_path, watch, Watch(), epochs=1, limit_val_batches=0).fit(model, data())
    assert len(watch.history) == 1
    assert seen[0].count(False) == 1


def test_each_nth_epoch_and_no_sanity_check(tmp_path):
    watch = AuditCallback(TURNS, every_n_epochs=2)
    trained(tmp_path, watch, epochs=5, num_sanity_val_steps=2)
    assert [row["epoch"] for row in watch.history] == [1, 3]


def test_the_history_goes_on_after_a_resume(tmp_path):
    whole, first, second = AuditCallback(TURNS), AuditCallback(TURNS), AuditCallback(TURNS)
    lightning.seed_everything(3, verbose=False)
    model = Tiny()
    begun = copy.deepcopy(model)
    trainer(tmp_path, whole, epochs=2).fit(model, data(), data(20))
    lightning.seed_everything(3, verbose=False)
    Tiny()
    half = trainer(tmp_path, first, epochs=1)
    half.fit(begun, data(), data(20))
    half.save_checkpoint(tmp_path / "half.ckpt")
    torch.load(tmp_path / "half.ckpt", weights_only=True)
    trainer(tmp_path, second, epochs=2).fit(Tiny(), data(), data(20), ckpt_path=tmp_path / "half.ckpt")
    assert len(second.history) == 2
    assert second.history[0] == first.history[0] == whole.history[0]
    assert [row["step"] for row in second.history] == [row["step"] for row in whole.history]
    assert AuditCallback(TURNS, prefix="other").state_key != first.state_key


def test_a_broken_claim_stops_the_training(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(integration, "write", lambda found, folder: written.append((found, folder)))
    watch = AuditCallback(TURNS, fail=True, report=tmp_path)
    with pytest.raises(LawError, match=r"breaks the claim[\s\S]*after epoch 0[\s\S]*symmetrize"):
        trained(tmp_path, watch, epochs=3)
    assert len(watch.history) == 1
    assert written == [([watch.last], tmp_path)]


def test_a_claim_that_holds_ends_in_a_report(tmp_path):
    watch = AuditCallback(TURNS, fail=True, report=tmp_path / "audits")
    drive = trainer(tmp_path, watch, epochs=2)
    drive.fit(Tiny(upright=True), data(), data(24))
    assert [row["verdict"] for row in watch.history] == ["pass", "pass"]
    assert drive.callback_metrics["audit/verdict"] == 1
    assert (tmp_path / "audits" / "report.html").stat().st_size > 1000
    told = json.loads((tmp_path / "audits" / "report.json").read_text())["audits"]
    assert [one["name"] for one in told] == ["Tiny, epoch 0", "Tiny, epoch 1"]
    assert json.loads((tmp_path / "audits" / "history.json").read_text()) == watch.history


class Named(Tiny):
    """Batches are dicts."""

    def validation_step(self, batch, index):
        self.log("val_loss", F.cross_entropy(self.net(batch["image"]), batch["label"]))


class Energies(lightning.LightningModule):
    """Forces that are differentiated inside, on ragged batches."""

    def forward(self, batch):
        pos = batch["pos"].detach().requires_grad_()
        return torch.autograd.grad((pos.square().sum(1) * torch.exp(pos[:, 0])).sum(), pos)[0]

    def validation_step(self, batch, index):
        pass


def test_ragged_batches_and_gradients(tmp_path):
    batches = [
        {"pos": torch.randn(6, 2), "batch": torch.tensor([0, 0, 0, 1, 1, 2])},
        {"pos": torch.randn(2, 2), "batch": torch.tensor([0, 1])},
    ]
    claim = Symmetry(C(4), Fields(pos=Rows(Point()), batch=Index()), Rows(Point()))
    watch = AuditCallback(claim, gradients=True, samples=30)
    drive = trainer(tmp_path, watch)
    drive.validate(Energies(), DataLoader(batches, batch_size=None), verbose=False)
    found = audit(Energies().eval(), claim, batches[0], gradients=True, cost=False)
    assert watch.last.samples == 3
    assert watch.last.error == found.error


def test_it_pickles():
    watch = AuditCallback(TURNS, model=operator.attrgetter("net"), report="audits", elements=4)
    other = pickle.loads(pickle.dumps(watch))
    assert (other.symmetry, other.report, other.settings) == (TURNS, "audits", {"elements": 4})


def test_wrong_usage_is_told(tmp_path):
    with pytest.raises(SymmetryError, match="needs the claim"):
        AuditCallback(C(4))
    with pytest.raises(SymmetryError, match="bad every_n_epochs"):
        AuditCallback(TURNS, every_n_epochs=0)
    with pytest.raises(SymmetryError, match="targets belong to inputs"):
        AuditCallback(TURNS, targets=torch.zeros(3))
    three = DataLoader(TensorDataset(torch.rand(4, 1, 4, 4), torch.zeros(4).long(), torch.zeros(4)), batch_size=4)
    with pytest.raises(SymmetryError, match=r"cannot tell inputs from targets[\s\S]*AuditCallback[\s\S]*batch 0"):
        trainer(tmp_path, AuditCallback(TURNS)).validate(Tiny(), three, verbose=False)
    named = DataLoader([{"image": torch.rand(1, 4, 4), "label": 0}] * 4, batch_size=4)
    with pytest.raises(SymmetryError, match=r"do not fit the claim[\s\S]*unpack="):
        trainer(tmp_path, AuditCallback(TURNS)).validate(Named(), named, verbose=False)
    with pytest.raises(SymmetryError, match="nothing to audit"):
        trainer(tmp_path, AuditCallback(TURNS, fail=True), limit_val_batches=0).fit(Tiny(), data())
    drive = trainer(tmp_path, AuditCallback(TURNS, unpack=lambda batch: (batch[0], None)))
    drive.validate(Tiny(), three, verbose=False)
    assert "audit/error_max" in drive.callback_metrics
    with pytest.raises(SymmetryError, match="in the first process alone"):
        AuditCallback(TURNS).setup(SimpleNamespace(strategy="sharded"), Tiny(), "fit")


SCRIPT = """
import json, sys, torch, lightning
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from test_lightning_callback import AuditCallback, TURNS, Tiny, data, trainer


class Told(lightning.Callback):
    def on_validation_end(self, trainer, module):
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        told = {"logged": logged, "row": watch.history[-1], "has": watch.last is not None}
        Path(sys.argv[2], f"{trainer.global_rank}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    torch.set_num_threads(1)
    lightning.seed_everything(0, verbose=False)
    watch = AuditCallback(TURNS, samples=8)
    drive = trainer(sys.argv[2], watch, Told(), devices=2, strategy="ddp_fork")
    drive.validate(Tiny(), data(24), verbose=False)
"""


def test_two_processes_log_what_the_first_one_found(tmp_path):
    (tmp_path / "two.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "two.py"), str(Path(__file__).parent), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert first["row"] == second["row"]
    assert (first["has"], second["has"]) == (True, False)
    for told in (first, second):
        assert told["logged"]["audit/error_max"] == pytest.approx(first["row"]["audit/error_max"], rel=1e-6)
