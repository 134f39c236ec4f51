"""Whether a concept, given by example images, pushes the score of a class up.

At each layer a linear classifier separates the examples from a counterpart set, a random sample of the user's other images. The
normal of its boundary is the concept vector. The TCAV score is the fraction of the images of the class whose score rises along that
vector; the alignment is the mean cosine of the vector and the gradient of the score. Both are means over several counterpart sets.

Random concepts go through the same code: sets of as many images, drawn from the user's other images. A concept is above or below them
where its alignment is no further draw of theirs (Student's prediction of one value, Holm's correction over all layers, concepts
and classes), and the TCAV score lies on the same side of theirs. There is no verdict where the concept vector separates
images that it was not fitted to no better than random concepts do.

The test of the paper compares the scores against several counterpart sets with those of random sets. All of a concept's scores share
its examples, so it called 38% to 57% of random sets of scenes significant at a level of 5% (docs/decisions/0027); its p value is
shown, and decides nothing. Where the score is linear in the layer (at a pooled last layer) every concept scores 0% or 100%; the alignment
tells them apart.

Source: Kim et al. 2018, arXiv:1711.11279, eq. 1 and 2, sec. 3.2 to 3.5. The alignment, the test against random concepts, the fixed
penalty of the classifier and the halves are ours.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

import numpy as np
import torch

from microtome.analyses.concepts import wording
from microtome.analyses.concepts.arrays import ConceptResult, concept_arrays, twin_arrays
from microtome.analyses.concepts.examples import (
    ConceptExamples,
    counterpart_pool,
    find_examples,
    folder_digests,
    how_to_name_a_concept,
    in_content_order,
)
from microtome.analyses.concepts.products import LayerProducts, is_pooled, layer_products
from microtome.analyses.concepts.scores import ConceptQuestion, score_examples, score_random_concepts
from microtome.analysis import Analysis, Measurement, Needs, option
from microtome.errors import MicrotomeError, Unmeasurable
from microtome.finding import Finding
from microtome.images import Images
from microtome.instruments.class_matching import match_classes, named_outputs, why_no_scores
from microtome.instruments.shown_images import output_name
from microtome.instruments.untrained_twins import over_twins, untrained_twins
from microtome.key_numbers import KeyNumber
from microtome.panels import Panel, Question
from microtome.scan import Pace, batches
from microtome.specimen import Specimen
from microtome.workload import Workload


@final
class Concepts(Analysis):
    """TCAV scores of concepts, against random concepts."""

    needs: ClassVar[Needs] = "images"
    question: ClassVar[Question] = "understand"
    title: ClassVar[str] = "Concepts"
    rank: ClassVar[int] = 36
    with_twin: ClassVar[bool] = True

    concept: tuple[str, ...] = option(
        (), "folders of example images, one for each concept, or class:NAME, a class of the images"
    )
    classes: tuple[str, ...] = option(
        (), "target classes, by name or output number; empty: the class predicted for most images"
    )
    at: tuple[str, ...] = option("shallow,middle,deep", "layers to measure: names, globs or aliases")
    counterparts: int = option(10, "random counterpart sets of each concept", low=2, high=500, quick=5, full=20)
    randoms: int = option(20, "random concepts that a concept is compared with", low=5, high=500, quick=10, full=50)
    count: int = option(100, "images of each class at most", low=1, high=10000, quick=50, full=500)
    seed: int = option(0, "seed of the counterpart sets and the random concepts", low=0)

    def refusal(self, specimen: Specimen, images: Images | None) -> str:
        if reason := Analysis.refusal(self, specimen, images) or why_no_scores(specimen, images):
            return reason
        if not self.concept:
            return f"it needs example images of a concept; {how_to_name_a_concept()}"
        assert images is not None  # `Analysis.refusal` has refused before
        try:
            find_examples(self.concept, images)
            named_outputs(self.name(), specimen, self.classes, int(specimen.classes or 0))
        except MicrotomeError as error:
            return str(error).removeprefix(f"{self.name()}: ").removesuffix(".")
        return ""

    def extra_key(self) -> str:
        try:
            return folder_digests(self.concept)
        except MicrotomeError:  # `refusal` says what is wrong with the folder
            return ""

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        shown, networks = len(images or ()), 1 + specimen.twin_count
        fits = len(self.concept) * 3 * self.counterparts * (self.randoms + networks) * max(1, len(self.classes))
        return Workload(
            forward=shown + networks * shown,
            backward=networks * min(self.count, shown),
            twins=specimen.twin_count,
            seconds=0.01 * fits,
        )

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Measurement:
        assert images is not None  # `refusal` has refused before
        names = specimen.distinct(self.at)
        pace = pace.fit_to(specimen, gradients=True)
        concepts = find_examples(self.concept, images)
        members, how = self._members(specimen, images, pace)
        sets, questions = self._questions(specimen, images, concepts, members)
        shown = {output: images.take(places[: self.count]) for output, places in members.items()}
        products = layer_products(specimen, names, sets, shown, pace)
        for name in names:
            if not any(lengths.any() for lengths in products[name].lengths.values()):
                raise Unmeasurable(
                    f"no class score depends on {name}, so no concept can be measured there; name another layer."
                )
        rows = {title: [self._result(products[name], question) for name in names] for title, question in questions.items()}
        runs = []
        for twin in untrained_twins(specimen, images):
            given = layer_products(twin, names, sets, shown, pace)
            runs.append(twin_arrays(
                {title: [score_examples(given[name], question) for name in names] for title, question in questions.items()}, names
            ))  # fmt: skip
        facts = {
            "labels": how, "pooled": [name for name in names if is_pooled(specimen, name)],
            "examples": {examples.name: examples.count for examples in concepts},
            "class_images": {output_name(specimen, output): len(some) for output, some in shown.items()},
            "pool": {title: len(question.pool) for title, question in questions.items()},
        }  # fmt: skip
        return Measurement(concept_arrays(rows, names) | over_twins(runs), facts)

    def _result(self, products: LayerProducts, question: ConceptQuestion) -> ConceptResult:
        return ConceptResult(score_examples(products, question), list(score_random_concepts(products, question, self.randoms)))

    def _members(self, specimen: Specimen, images: Images, pace: Pace) -> tuple[Mapping[int, np.ndarray[Any, Any]], str]:
        """The places of the images of each target class, in content order, and how the labels were matched.

        An image is of the class of its label; where no label is known or the network has not its class, of the class predicted.
        """
        truth, how = np.full(len(images), -1, dtype=np.int64), ""
        try:
            match = match_classes(specimen, images, int(specimen.outputs or 0))
            truth, how = match.targets(np.asarray(images.labels)), match.how
        except Unmeasurable:  # a caveat says so: the predicted class stands in
            pass
        wanted = named_outputs(self.name(), specimen, self.classes, int(specimen.classes or 0))
        if (truth < 0).any() or not wanted:
            predicted = np.full(len(images), -1, dtype=np.int64)
            with torch.no_grad():
                for batch in batches(specimen, images, pace):
                    predicted[batch.index] = specimen.logits(batch.x).argmax(1).cpu().numpy()
            truth = np.where(truth < 0, predicted, truth)
            wanted = wanted or [int(np.bincount(predicted).argmax())]
        members = {output: in_content_order(images, np.flatnonzero(truth == output)) for output in wanted}
        for output, places in members.items():
            if not len(places):
                raise Unmeasurable(
                    f"no image is of the class '{output_name(specimen, output)}', so there is no score to differentiate; add some, or "
                    "name another class."
                )
        return members, how

    def _questions(
        self,
        specimen: Specimen,
        images: Images,
        concepts: Sequence[ConceptExamples],
        members: Mapping[int, np.ndarray[Any, Any]],
    ) -> tuple[list[Images], dict[str, ConceptQuestion]]:
        """The sets whose activations are needed, and each concept's question about each class, by rows of those sets."""
        pools = {
            (examples.name, output): counterpart_pool(images, examples, places, output_name(specimen, output))
            for examples in concepts
            for output, places in members.items()
        }
        own = in_content_order(images, np.concatenate([*pools.values(), *(examples.inside for examples in concepts)]))
        row = {int(place): number for number, place in enumerate(own)}
        sets, end = [images.take(own)], len(own)
        questions: dict[str, ConceptQuestion] = {}
        for examples in concepts:
            rows = np.array([row[int(place)] for place in examples.inside], dtype=np.int64)
            if examples.outside is not None:
                sets.append(examples.outside)
                rows, end = np.arange(end, end + examples.count), end + examples.count
            for output in members:
                name = output_name(specimen, output)
                title = f"{examples.name} for {name}" if len(members) > 1 else examples.name
                pool = np.array([row[int(place)] for place in pools[examples.name, output]], dtype=np.int64)
                questions[title] = ConceptQuestion(rows, pool, output, self.counterparts, self.seed)
        return sets, questions

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        return wording.concept_numbers(finding)

    def headline(self, finding: Finding) -> str:
        return wording.concept_headline(finding)

    def panels(self, finding: Finding) -> Sequence[Panel]:
        return wording.concept_panels()

    def caveats(self, finding: Finding) -> Sequence[str]:
        return wording.concept_caveats(finding)
