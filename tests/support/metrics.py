"""Read a whole metrics page with prometheus_client, which is slow but not ours: the judge of what our parser reads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class MetricsPage:
    """types: family -> type; samples: sample name -> labels -> value."""

    types: Mapping[str, str]
    samples: Mapping[str, Mapping[Labels, float]]

    def total(self, name: str, **labels: str) -> float:
        """Sum of the samples of `name` that carry `labels`; 0 when there is none."""
        wanted = labels.items()
        return sum(value for found, value in self.samples.get(name, {}).items() if wanted <= set(found))

    def label_names(self, name: str) -> frozenset[str]:
        return frozenset(key for labels in self.samples.get(name, {}) for key, _ in labels)

    def label_values(self, name: str, label: str) -> frozenset[str]:
        return frozenset(value for labels in self.samples.get(name, {}) for key, value in labels if key == label)


def parse_page(text: str) -> MetricsPage:
    """Raises ValueError for a page that is not in the text format."""
    types: dict[str, str] = {}
    samples: defaultdict[str, dict[Labels, float]] = defaultdict(dict)
    for family in text_string_to_metric_families(text):
        types[family.name] = family.type
        for sample in family.samples:
            labels = frozenset(sample.labels.items())
            if labels in samples[sample.name]:
                raise ValueError(f"{sample.name} {dict(labels)} occurs twice")
            samples[sample.name][labels] = sample.value
    return MetricsPage(types, dict(samples))


def rise(before: MetricsPage, after: MetricsPage, name: str, **labels: str) -> float:
    """How much a counter grew between two pages."""
    return after.total(name, **labels) - before.total(name, **labels)
