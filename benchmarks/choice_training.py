"""The truth of the benchmark of choice: a head trained on frozen features, and the whole network fine-tuned from that head.

The recipe is the same for all candidates and tasks and was fixed before the benchmark was run (its learning rate on the ten shapes of
the scenes, which are no task of the benchmark). Fine-tuning begins with the trained head, after Kumar et al. 2022, arXiv:2202.10054.
The statistics of batch norms stay as they are, since some real networks have theirs folded into the weights.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.choice_candidates import Features, classifier_of, feature_reader
from benchmarks.choice_tasks import Split
from microtome.specimen import Specimen

Values = np.ndarray[Any, Any]
EPOCHS, BATCH, RATE, DECAY, WARMUP = 4, 16, 5e-4, 0.01, 0.1
STRENGTHS = (0.001, 0.01, 0.1, 1.0)  # of the head's regularisation (C of scikit-learn), chosen by cross-validation
RECIPE = (
    f"AdamW, learning rate {RATE:g} (linear warm-up over {WARMUP:.0%} of the steps, then half a cosine), weight decay {DECAY:g}, "
    f"{EPOCHS} epochs, batches of {BATCH}, gradients clipped at norm 1, no augmentation, statistics of batch norms unchanged"
)


class Truth(NamedTuple):
    """Fractions of the test images that are right: with a head on frozen features, and fine-tuned."""

    head: float
    finetuned: float


class Head(NamedTuple):
    """A linear head with the standardisation of its input: scores are ((x - mean) / std) @ weight + bias."""

    mean: Values
    std: Values
    weight: Values
    bias: Values

    def scores(self, features: Values) -> Values:
        return (features - self.mean) / self.std @ self.weight + self.bias


def train_head(features: Values, labels: Values) -> Head:
    """Logistic regression on standardised features (image, feature), its strength chosen by five-fold cross-validation."""
    mean, std = features.mean(0), features.std(0)
    std = np.where(std > 1e-6 * max(float(std.max()), 1e-12), std, np.inf)  # a constant feature says nothing
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    search = GridSearchCV(LogisticRegression(max_iter=300, tol=1e-3), {"C": STRENGTHS}, cv=folds)
    search.fit((features - mean) / std, labels)
    best: Any = search.best_estimator_
    weight, bias = best.coef_.T, best.intercept_
    if weight.shape[1] == 1:  # two classes have one row
        weight, bias = np.concatenate([-weight / 2, weight / 2], 1), np.concatenate([-bias / 2, bias / 2])
    return Head(mean, std, weight, bias)


def measure_truth(specimen: Specimen, training: Split, test: Split, seed: int = 0) -> Truth:
    """Both accuracies of one network on one task; the network is left as it was."""
    net = specimen.net
    kept = {name: value.clone() for name, value in net.state_dict().items()}
    x, y = (_inputs(specimen, split) for split in (training, test))
    try:
        with feature_reader(net, classifier_of(net, x[:1])) as features, torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = train_head(_frozen(features, x), training.labels)
            frozen = float((head.scores(_frozen(features, y)).argmax(1) == test.labels).mean())
            layer = HeadLayer(head)
            fine_tune(net, features, layer, x, torch.from_numpy(training.labels), seed)
            with torch.inference_mode():
                answers = torch.cat([layer(features(part)).argmax(1) for part in y.split(64)])
    finally:
        net.load_state_dict(kept)
        net.eval().requires_grad_(False)
    return Truth(frozen, float((answers.numpy() == test.labels).mean()))


def _inputs(specimen: Specimen, split: Split) -> Tensor:
    images = split.images(tuple(map(str, range(int(split.labels.max()) + 1))))
    return specimen.recipe.normalise(torch.from_numpy(images.inputs(specimen.recipe, range(len(split.labels)))))


def _frozen(features: Features, x: Tensor) -> Values:
    with torch.inference_mode():
        return torch.cat([features(part) for part in x.split(64)]).double().numpy()


class HeadLayer(nn.Module):
    """The head as a layer that is given features as they are; its standardisation is not trained."""

    mean: Tensor
    gain: Tensor

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(head.mean).float())
        self.register_buffer("gain", torch.from_numpy(1 / head.std).float())
        self.linear = nn.Linear(*head.weight.shape)
        with torch.no_grad():
            self.linear.weight.copy_(torch.from_numpy(head.weight.T))
            self.linear.bias.copy_(torch.from_numpy(head.bias))

    def forward(self, features: Tensor) -> Tensor:
        return self.linear((features - self.mean) * self.gain)


def fine_tune(net: nn.Module, features: Features, layer: HeadLayer, x: Tensor, labels: Tensor, seed: int) -> None:
    """Train all parameters of `net` and `layer` in place by the recipe."""
    net.eval().requires_grad_(True)
    parameters = [*net.parameters(), *layer.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=DECAY)
    steps = EPOCHS * math.ceil(len(x) / BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate(step / steps))
    generator = torch.Generator().manual_seed(seed)
    for _ in range(EPOCHS):
        for places in torch.randperm(len(x), generator=generator).split(BATCH):
            loss = cross_entropy(layer(features(x[places])).float(), labels[places])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_([each for each in parameters if each.grad is not None], 1.0)
            optimizer.step()
            schedule.step()


def learning_rate(part: float) -> float:
    """The learning rate after that fraction of all steps, 1 at its peak."""
    if part < WARMUP:
        return 0.1 + 0.9 * part / WARMUP
    return 0.5 * (1 + math.cos(math.pi * (part - WARMUP) / (1 - WARMUP)))
